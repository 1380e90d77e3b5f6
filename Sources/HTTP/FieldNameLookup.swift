public import Bytes

extension FieldName {
    /// The flags that every line with this name has.
    public var flags: FieldFlags { FieldFlags(rawValue: FieldNameTable.flags[Int(rawValue)]) }

    /// The token for a name, and the flags of a line that bears it. `range` must hold token characters only.
    ///
    /// A name that is another spelling of a known one, because a backend may fold `_` or `.` to `-` (rules H1, H2),
    /// is `other` with that name's flags and `alias`. So is every name that starts as those families do that claim
    /// forwarding or client certificates.
    public static func lookUp(_ bytes: Span<UInt8>, _ range: ByteRange) -> (
        name: FieldName, flags: FieldFlags
    ) {
        let words = FieldNameWords(bytes, range)
        let name = words.name
        if name != .other { return (name, name.flags) }
        return (.other, flagsOfUnknown(bytes, range, words))
    }

    /// Reads the name that starts at `start`: which it is, with the flags of a line that bears it, and where it ends,
    /// at the first byte that is no token character, or at the count.
    ///
    /// A known name is found without a look at each of its bytes: what equals one consists of token characters, and of
    /// the zeros that the table pads with, which is why a name that ends with a zero byte takes the long way.
    public static func scan(_ bytes: Span<UInt8>, from start: Int) -> ScannedName {
        if start <= bytes.count &- 24 {
            var words = FieldNameWords()
            let count = words.take(untilColon: bytes, start)
            let name = count > 0 && bytes[start &+ count &- 1] != 0 ? words.name : .other
            if name != .other { return ScannedName(name: name, flags: name.flags, end: start &+ count) }
        }
        let range = ByteRange(from: start, to: ASCII.endOfToken(bytes, from: start))
        guard !range.isEmpty else { return ScannedName(name: .other, flags: [], end: start) }
        let known = lookUp(bytes, range)
        return ScannedName(name: known.name, flags: known.flags, end: range.end)
    }

    /// The flags of a name that is not in the table.
    private static func flagsOfUnknown(
        _ bytes: Span<UInt8>, _ range: ByteRange, _ words: FieldNameWords
    ) -> FieldFlags {
        var folded = words
        var isFolded = false
        var index = ASCII.endOfLettersAndHyphens(bytes, from: Int(range.start), to: range.end)
        while index < range.end {
            if !isPlain(bytes[index]) {
                folded.fold(index &- Int(range.start))
                isFolded = true
            }
            index &+= 1
        }
        let family = folded.familyFlags
        guard isFolded else { return family }
        let flags = folded.name.flags.union(family)
        return flags.isEmpty ? [] : flags.union(.alias)
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        byte == 0x2D || ASCIISet.alphanumeric.contains(byte)
    }
}

/// A name that was read where a field line starts.
public struct ScannedName: Sendable, BitwiseCopyable {
    /// The interned name.
    public let name: FieldName
    /// The flags of a line that bears it.
    public let flags: FieldFlags
    /// The offset behind it; where it started, if there is no name.
    public let end: Int
}

/// A field name as four little-endian words: lower-cased, padded with zeros. A longer name keeps its first 32 bytes
/// and matches no known one, only families.
struct FieldNameWords {
    private var first: UInt64 = 0
    private var second: UInt64 = 0
    private var third: UInt64 = 0
    private var fourth: UInt64 = 0
    private let isLong: Bool

    /// No name.
    @inline(__always)
    init() { isLong = false }

    /// Takes the bytes before the first colon among the 24 from `start`, which must be there: how many, or 0 where
    /// there is no colon. They may be any bytes.
    @inline(__always)
    mutating func take(untilColon bytes: Span<UInt8>, _ start: Int) -> Int {
        first = ASCII.loweredWord(bytes, at: start)
        let inFirst = Self.beforeColon(first)
        if inFirst < 8 {
            first &= ASCII.mask(inFirst)
            return inFirst
        }
        second = ASCII.loweredWord(bytes, at: start &+ 8)
        let inSecond = Self.beforeColon(second)
        if inSecond < 8 {
            second &= ASCII.mask(inSecond)
            return 8 &+ inSecond
        }
        third = ASCII.loweredWord(bytes, at: start &+ 16)
        let inThird = Self.beforeColon(third)
        third &= ASCII.mask(inThird)
        return inThird < 8 ? 16 &+ inThird : 0
    }

    /// How many bytes stand before the first colon, or 8.
    @inline(__always)
    private static func beforeColon(_ word: UInt64) -> Int {
        let other = word ^ 0x3A3A_3A3A_3A3A_3A3A
        let colons = (other &- 0x0101_0101_0101_0101) & ~other & 0x8080_8080_8080_8080
        return colons.trailingZeroBitCount &>> 3
    }

    @inline(__always)
    init(_ bytes: Span<UInt8>, _ range: ByteRange) {
        isLong = range.count > 32
        let start = Int(range.start)
        let count = min(Int(range.count), 32)
        if count <= 8 {
            first = ASCII.loweredWord(bytes, at: start, count: count)
            return
        }
        first = ASCII.loweredWord(bytes, at: start)
        if count <= 16 {
            second = ASCII.loweredWord(bytes, at: start &+ 8, count: count &- 8)
            return
        }
        second = ASCII.loweredWord(bytes, at: start &+ 8)
        third = ASCII.loweredWord(bytes, at: start &+ 16, count: min(count &- 16, 8))
        if count > 24 { fourth = ASCII.loweredWord(bytes, at: start &+ 24, count: count &- 24) }
    }

    /// The known name with these words, or `other`.
    @inline(__always)
    var name: FieldName {
        guard !isLong else { return .other }
        let multipliers = FieldNameTable.multipliers
        let mixed = first ^ second &* multipliers.1 ^ third &* multipliers.2 ^ fourth &* multipliers.3
        let slot = FieldNameTable.slots[Int((mixed &* multipliers.0) &>> FieldNameTable.shift)]
        let entry = Int(slot) * 4
        guard FieldNameTable.words[entry] == first, FieldNameTable.words[entry + 1] == second,
            FieldNameTable.words[entry + 2] == third, FieldNameTable.words[entry + 3] == fourth
        else { return .other }
        return FieldName(rawValue: slot) ?? .other
    }

    /// Makes the byte at `index` a hyphen.
    mutating func fold(_ index: Int) {
        let shift = UInt64(index & 7) * 8
        let keep: UInt64 = ~(0xFF << shift)
        let hyphen: UInt64 = 0x2D << shift
        switch index >> 3 {
        case 0: first = first & keep | hyphen
        case 1: second = second & keep | hyphen
        case 2: third = third & keep | hyphen
        case 3: fourth = fourth & keep | hyphen
        default: break
        }
    }

    /// The flags of the families of names that are known by their start alone.
    var familyFlags: FieldFlags {
        switch first {
        // x-forwar|ded-
        case 0x7261_7772_6F66_2D78 where second & 0xFFFF_FFFF == 0x2D64_6564:
            [.forwarding, .forbiddenInTrailers]
        // x-ssl-cl|ient-
        case 0x6C63_2D6C_7373_2D78 where second & 0xFF_FFFF_FFFF == 0x2D_746E_6569: Self.certificate
        // ssl-clie|nt-
        case 0x6569_6C63_2D6C_7373 where second & 0xFF_FFFF == 0x2D_746E: Self.certificate
        // x-tls-cl|ient-
        case 0x6C63_2D73_6C74_2D78 where second & 0xFF_FFFF_FFFF == 0x2D_746E_6569: Self.certificate
        // x-client|-cert
        case 0x746E_6569_6C63_2D78 where second & 0xFF_FFFF_FFFF == 0x74_7265_632D: Self.certificate
        // xfcc
        case 0x6363_6678 where second == 0: Self.certificate
        default: []
        }
    }

    private static var certificate: FieldFlags { [.clientCertificate, .forbiddenInTrailers] }
}
