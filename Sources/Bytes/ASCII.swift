/// What a byte may stand for in HTTP, and the scans over bytes that parsers live on.
///
/// Classes are bit sets in two words, so that a test is a shift and a mask without a table in memory; scans read
/// sixteen bytes at a time.
public enum ASCII {
    /// Horizontal tab.
    @inlinable public static var tab: UInt8 { 0x09 }
    /// Line feed.
    @inlinable public static var lineFeed: UInt8 { 0x0A }
    /// Carriage return.
    @inlinable public static var carriageReturn: UInt8 { 0x0D }
    /// Space.
    @inlinable public static var space: UInt8 { 0x20 }
}

/// A set of ASCII characters: one bit for each of the 128, so that membership costs a shift and a mask.
public struct ASCIISet: Sendable, BitwiseCopyable {
    /// Bytes 0 to 63.
    @usableFromInline let low: UInt64
    /// Bytes 64 to 127.
    @usableFromInline let high: UInt64

    /// The set with these bits: bit n of `low` stands for byte n, bit n of `high` for byte 64 + n.
    @inlinable @inline(__always)
    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// True where the byte is in the set; never for a byte above 127.
    @inlinable @inline(__always)
    public func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word >> UInt64(byte & 63)) & 1 == 1
    }

    /// `tchar` of RFC 9110 §5.6.2: what tokens, hence field names and methods, are made of.
    @inlinable public static var token: ASCIISet {
        ASCIISet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    }

    /// `unreserved` of RFC 3986 §2.3: letters, digits, `-`, `.`, `_`, `~`.
    @inlinable public static var unreserved: ASCIISet {
        ASCIISet(low: 0x03FF_6000_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    }

    /// Letters and digits.
    @inlinable public static var alphanumeric: ASCIISet {
        ASCIISet(low: 0x03FF_0000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
    }
}

extension ASCII {
    /// True for `0` to `9`.
    @inlinable @inline(__always)
    public static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// True for `tchar` of RFC 9110 §5.6.2.
    @inlinable @inline(__always)
    public static func isToken(_ byte: UInt8) -> Bool { ASCIISet.token.contains(byte) }

    /// True for VCHAR of RFC 5234: a visible ASCII character.
    @inlinable @inline(__always)
    public static func isVisible(_ byte: UInt8) -> Bool { byte &- 0x21 < 0x5E }

    /// True for space and horizontal tab, the only whitespace that HTTP knows (OWS, RFC 9110 §5.6.3).
    @inlinable @inline(__always)
    public static func isWhitespace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// True where the byte may stand in a field value: VCHAR, obs-text, space, tab (RFC 9110 §5.5).
    @inlinable @inline(__always)
    public static func isFieldValue(_ byte: UInt8) -> Bool { (byte >= 0x20 && byte != 0x7F) || byte == 0x09 }

    /// The value of a hexadecimal digit of either case, or nil.
    @inlinable @inline(__always)
    public static func hexadecimalValue(_ byte: UInt8) -> UInt8? {
        if byte &- 0x30 < 10 { return byte &- 0x30 }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    /// The byte, with `A` to `Z` made lower case.
    @inlinable @inline(__always)
    public static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// True where both are the same bytes, but for the case of ASCII letters.
    public static func equalsIgnoringCase(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in left.indices where lowercased(left[index]) != lowercased(right[index]) { return false }
        return true
    }

    /// True where the bytes are `lowercase`, but for the case of ASCII letters. The literal must be lower case.
    public static func equalsIgnoringCase(_ bytes: Span<UInt8>, _ lowercase: StaticString) -> Bool {
        guard bytes.count == lowercase.utf8CodeUnitCount else { return false }
        // SAFETY: a StaticString of text points at constant memory of that size.
        let text = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: lowercase.utf8Start, count: bytes.count))
        for index in bytes.indices where lowercased(bytes[index]) != text[index] { return false }
        return true
    }

    /// True where both are the same bytes.
    public static func equals(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in left.indices where left[index] != right[index] { return false }
        return true
    }

    /// True where the bytes are exactly the text of the literal.
    public static func equals(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        // SAFETY: a StaticString of text points at constant memory of that size.
        let text = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: text.utf8Start, count: bytes.count))
        for index in bytes.indices where bytes[index] != text[index] { return false }
        return true
    }
}

extension ASCII {
    /// The eight bytes from `offset` as a little-endian word: the first byte is the lowest. `offset + 8` must not
    /// exceed the count.
    @inlinable @inline(__always)
    public static func word(_ bytes: Span<UInt8>, at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= bytes.count &- 8)
        // SAFETY: the bounds were checked, and every bit pattern is a UInt64.
        let raw = unsafe bytes.bytes.unsafeLoadUnaligned(
            fromUncheckedByteOffset: offset, as: UInt64.self)
        return UInt64(littleEndian: raw)
    }

    /// Up to eight bytes from `offset` as a little-endian word, the bytes beyond them zero. `count` is 0 to 8.
    @inlinable @inline(__always)
    public static func word(_ bytes: Span<UInt8>, at offset: Int, count: Int) -> UInt64 {
        if offset <= bytes.count &- 8 { return word(bytes, at: offset) & mask(count) }
        var value: UInt64 = 0
        var index = count
        while index > 0 {
            index &-= 1
            value = value &<< 8 | UInt64(bytes[offset &+ index])
        }
        return value
    }

    /// As above, with bit 5 of each byte set: letters in lower case, and digits and hyphens as they are.
    @inlinable @inline(__always)
    public static func loweredWord(_ bytes: Span<UInt8>, at offset: Int, count: Int) -> UInt64 {
        word(bytes, at: offset, count: count) | (0x2020_2020_2020_2020 & mask(count))
    }

    /// The lowest `count` bytes of a word, 0 to 8.
    @inlinable @inline(__always)
    static func mask(_ count: Int) -> UInt64 {
        count == 0 ? 0 : ~0 &>> UInt64(truncatingIfNeeded: 64 &- count &* 8)
    }

    /// The first offset at or behind `start` whose byte is not a `tchar`, or the count.
    public static func endOfToken(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index <= bytes.count &- 16 {
            // Field names are letters and hyphens, nearly always: other token characters go one by one.
            let block = block(bytes, at: index)
            let letters = ((block | 0x20) &- 0x61) .< 26
            let place = firstSet(.!(letters .| (block .== 0x2D)))
            index &+= place
            if place == 16 { continue }
            guard isToken(bytes[index]) else { return index }
            index &+= 1
        }
        while index < bytes.count, isToken(bytes[index]) { index &+= 1 }
        return index
    }

    /// The first offset at or behind `start` whose byte is no visible ASCII character, or the count.
    public static func endOfVisible(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index <= bytes.count &- 16 {
            let place = firstSet((block(bytes, at: index) &- 0x21) .>= 0x5E)
            index &+= place
            if place < 16 { return index }
        }
        while index < bytes.count, isVisible(bytes[index]) { index &+= 1 }
        return index
    }

    /// The first offset at or behind `start` whose byte may not stand in a field value (RFC 9110 §5.5), or the count.
    public static func endOfFieldValue(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index <= bytes.count &- 16 {
            let block = block(bytes, at: index)
            let place = firstSet(((block .< 0x20) .& (block .!= 0x09)) .| (block .== 0x7F))
            index &+= place
            if place < 16 { return index }
        }
        while index < bytes.count, isFieldValue(bytes[index]) { index &+= 1 }
        return index
    }

    /// The sixteen bytes from `offset`. `offset + 16` must not exceed the count.
    @inlinable @inline(__always)
    public static func block(_ bytes: Span<UInt8>, at offset: Int) -> SIMD16<UInt8> {
        precondition(offset >= 0 && offset <= bytes.count &- 16)
        // SAFETY: the bounds were checked, and every bit pattern is a vector of bytes.
        return unsafe bytes.bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: SIMD16<UInt8>.self)
    }

    /// The place of the first lane that is set, or 16.
    @inline(__always)
    private static func firstSet(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
        // SAFETY: a mask is sixteen bytes, each all ones or all zeros.
        let words = unsafe unsafeBitCast(mask, to: SIMD2<UInt64>.self)
        if words[0] != 0 { return UInt64(littleEndian: words[0]).trailingZeroBitCount >> 3 }
        // Without a set bit this is 64, so that the sum is 16.
        return 8 &+ UInt64(littleEndian: words[1]).trailingZeroBitCount >> 3
    }

    /// The first offset in `start..<end` that holds `byte`, or `end`.
    public static func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int, to end: Int) -> Int
    {
        precondition(end <= bytes.count)
        let pattern = UInt64(byte) &* 0x0101_0101_0101_0101
        var index = start
        while index <= end &- 8 {
            let word = word(bytes, at: index) ^ pattern
            let flags = (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
            if flags != 0 { return index &+ flags.trailingZeroBitCount >> 3 }
            index &+= 8
        }
        while index < end, bytes[index] != byte { index &+= 1 }
        return index
    }
}

extension Span where Element == UInt8 {
    /// The bytes of a range that was parsed out of this span; the range must lie in it.
    @inlinable @inline(__always)
    @_lifetime(copy self)
    public func slice(_ range: ByteRange) -> Span<UInt8> {
        extracting(range.bounds)
    }
}
