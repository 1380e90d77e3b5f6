internal import Bytes
internal import HTTP

/// A path as routes are matched against it: what spelling a backend may undo before it routes.
struct RoutedPath: BitwiseCopyable {
    /// Some segment is percent-encoded somewhere: compare with that undone.
    let hasEscapes: Bool
    /// Some segment has a parameter (`;`, or `%3B`), as RFC 3986 §3.3 describes them.
    let hasParameters: Bool
    private let cutsParameters: Bool

    init(_ target: CanonicalTarget, _ bytes: Span<UInt8>) {
        let path = target.path
        hasEscapes = ASCII.firstIndex(of: 0x25, in: bytes, from: Int(path.start), to: path.end) < path.end
        hasParameters = Self.parameter(bytes, path, hasEscapes: hasEscapes) < path.end
        cutsParameters = false
    }

    private init(cutting path: RoutedPath) {
        hasEscapes = path.hasEscapes
        hasParameters = false
        cutsParameters = true
    }

    /// The path as a backend sees it that cuts parameters off; nil where a segment would be empty, which such backends
    /// skip, or take for the root.
    func withoutParameters(_ target: CanonicalTarget, _ bytes: Span<UInt8>) -> RoutedPath? {
        let bare = RoutedPath(cutting: self)
        for index in 0..<target.segmentCount where bare.segment(index, target, bytes).isEmpty { return nil }
        return bare
    }

    /// The range of a segment, without its parameters where they are cut off.
    @inline(__always)
    func segment(_ index: Int, _ target: CanonicalTarget, _ bytes: Span<UInt8>) -> ByteRange {
        let whole = target.segment(index)
        guard cutsParameters else { return whole }
        return ByteRange(from: Int(whole.start), to: Self.parameter(bytes, whole, hasEscapes: hasEscapes))
    }

    /// True where the segment, percent-encoding undone, is the literal.
    @inline(__always)
    func equals(_ segment: Span<UInt8>, _ literal: Span<UInt8>) -> Bool {
        hasEscapes ? Self.equals(decoded: segment, literal) : ASCII.equals(segment, literal)
    }

    /// True where the segment, percent-encoding undone, is the literal but for the case of letters. Literals are ASCII, but in
    /// Unicode four letters beyond it are the other case of one.
    func equalsIgnoringCase(_ segment: Span<UInt8>, _ literal: Span<UInt8>) -> Bool {
        var index = 0
        var offset = 0
        while index < segment.count {
            guard offset < literal.count,
                Self.lowerCase(segment, &index) == ASCII.lowercased(literal[offset])
            else { return false }
            offset &+= 1
        }
        return offset == literal.count
    }

    /// The character at `index`, which moves behind it, as a letter of ASCII in lower case where regular expressions of Python
    /// and comparisons of Java and JavaScript may take it for one: U+0130, U+0131, U+017F and U+212A. Else an octet.
    private static func lowerCase(_ segment: Span<UInt8>, _ index: inout Int) -> UInt8 {
        let first = octet(segment, &index)
        guard first >= 0x80, index < segment.count else { return ASCII.lowercased(first) }
        var next = index
        let letter: UInt8
        switch (first, octet(segment, &next)) {
        case (0xC4, 0xB0), (0xC4, 0xB1): letter = UInt8(ascii: "i")
        case (0xC5, 0xBF): letter = UInt8(ascii: "s")
        case (0xE2, 0x84) where next < segment.count && octet(segment, &next) == 0xAA:
            letter = UInt8(ascii: "k")
        default: return first
        }
        index = next
        return letter
    }

    @inline(__always)
    private static func equals(decoded segment: Span<UInt8>, _ literal: Span<UInt8>) -> Bool {
        var index = 0
        var offset = 0
        while index < segment.count {
            guard offset < literal.count, octet(segment, &index) == literal[offset] else { return false }
            offset &+= 1
        }
        return offset == literal.count
    }

    /// The octet at `index`, which moves behind it.
    static func octet(_ segment: Span<UInt8>, _ index: inout Int) -> UInt8 {
        let byte = segment[index]
        index &+= 1
        guard byte == UInt8(ascii: "%"), index &+ 1 < segment.count,
            let high = ASCII.hexadecimalValue(segment[index]),
            let low = ASCII.hexadecimalValue(segment[index &+ 1])
        else { return byte }
        index &+= 2
        return high << 4 | low
    }

    /// Where the first parameter of the range begins, or its end.
    private static func parameter(_ bytes: Span<UInt8>, _ range: ByteRange, hasEscapes: Bool) -> Int {
        let plain = ASCII.firstIndex(of: 0x3B, in: bytes, from: Int(range.start), to: range.end)
        guard hasEscapes else { return plain }
        var index = Int(range.start)
        while index < plain {
            let start = index
            if octet(bytes.extracting(0..<plain), &index) == 0x3B { return start }
        }
        return plain
    }
}
