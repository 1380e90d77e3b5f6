internal import CBytes

/// What a byte may stand for in HTTP, and the scans over bytes that parsers live on.
///
/// Classes are bit sets in two words, so that a test is a shift and a mask without a table in memory; scans read
/// eight or sixteen bytes at a time.
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

    /// True where the bytes are `lowercase`, but for the case of ASCII letters. The literal must be of lower-case
    /// letters, digits, and marks below 64 such as `-`, `/` and `:`.
    public static func equalsIgnoringCase(_ bytes: Span<UInt8>, _ lowercase: StaticString) -> Bool {
        guard bytes.count == lowercase.utf8CodeUnitCount else { return false }
        // SAFETY: a StaticString of text points at constant memory of that size.
        let text = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: lowercase.utf8Start, count: bytes.count))
        var index = 0
        while index <= bytes.count &- 8 {
            guard loweredWord(bytes, at: index) == word(text, at: index) else { return false }
            index &+= 8
        }
        while index < bytes.count {
            guard lowercased(bytes[index]) == text[index] else { return false }
            index &+= 1
        }
        return true
    }

    /// True where both are the same bytes.
    public static func equals(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        var index = 0
        while index <= left.count &- 8 {
            guard word(left, at: index) == word(right, at: index) else { return false }
            index &+= 8
        }
        guard index < left.count else { return true }
        // The last eight bytes, some of which are known to be equal.
        if left.count >= 8 {
            return word(left, at: left.count &- 8) == word(right, at: left.count &- 8)
        }
        while index < left.count {
            guard left[index] == right[index] else { return false }
            index &+= 1
        }
        return true
    }

    /// True where the bytes are exactly the text of the literal.
    public static func equals(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        // SAFETY: a StaticString of text points at constant memory of that size.
        let text = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: text.utf8Start, count: bytes.count))
        return equals(bytes, text)
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
        return lastWord(bytes, at: offset, count: count)
    }

    /// The same where fewer than eight bytes are left.
    @usableFromInline
    static func lastWord(_ bytes: Span<UInt8>, at offset: Int, count: Int) -> UInt64 {
        var value: UInt64 = 0
        var index = count
        while index > 0 {
            index &-= 1
            value = value &<< 8 | UInt64(bytes[offset &+ index])
        }
        return value
    }

    /// As above, with letters in lower case: equal to a word of lower-case letters, digits and hyphens if the bytes
    /// are these but for the case, and only then. Some other characters become others.
    @inlinable @inline(__always)
    public static func loweredWord(_ bytes: Span<UInt8>, at offset: Int, count: Int) -> UInt64 {
        lowered(word(bytes, at: offset, count: count))
    }

    /// As above, of eight bytes that are there.
    @inlinable @inline(__always)
    public static func loweredWord(_ bytes: Span<UInt8>, at offset: Int) -> UInt64 {
        lowered(word(bytes, at: offset))
    }

    /// Sets bit 5 where bit 6 is set: that makes letters lower case, and digits, hyphens and control characters stay.
    @inlinable @inline(__always)
    static func lowered(_ word: UInt64) -> UInt64 { word | (word & 0x4040_4040_4040_4040) &>> 1 }

    /// The lowest `count` bytes of a word, 0 to 8.
    @inlinable @inline(__always)
    public static func mask(_ count: Int) -> UInt64 {
        count == 0 ? 0 : ~0 &>> UInt64(truncatingIfNeeded: 64 &- count &* 8)
    }

    /// The first offset at or behind `start` whose byte is not a `tchar`, or the count.
    public static func endOfToken(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index <= bytes.count &- 8 {
            // Field names are letters and hyphens, nearly always: other token characters go one by one.
            let others = lettersAndHyphens(word(bytes, at: index)) ^ highBits
            if others == 0 {
                index &+= 8
                continue
            }
            index &+= others.trailingZeroBitCount &>> 3
            guard isToken(bytes[index]) else { return index }
            index &+= 1
        }
        if index < bytes.count, bytes.count >= 8 {
            // The last eight bytes, without those before the index.
            let last = bytes.count &- 8
            let others = lettersAndHyphens(word(bytes, at: last)) ^ highBits
            let othersHere = others &>> UInt64(truncatingIfNeeded: (index &- last) &* 8)
            if othersHere == 0 { return bytes.count }
            index &+= othersHere.trailingZeroBitCount &>> 3
        }
        while index < bytes.count, isToken(bytes[index]) { index &+= 1 }
        return index
    }

    /// The first offset in `start..<end` whose byte is neither a letter nor a hyphen, or `end`; maybe one before it,
    /// near the end of the bytes: a start for a loop over the rest.
    @inlinable @inline(__always)
    public static func endOfLettersAndHyphens(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Int {
        var index = start
        while index < end, index <= bytes.count &- 8 {
            let others = lettersAndHyphens(word(bytes, at: index)) ^ highBits
            index &+= others.trailingZeroBitCount &>> 3
            if others != 0 { break }
        }
        return min(index, end)
    }

    /// The top bit of each byte.
    @inlinable
    static var highBits: UInt64 { 0x8080_8080_8080_8080 }

    /// The top bit of each byte that is a letter or a hyphen. No sum here carries into the next byte.
    @inlinable @inline(__always)
    static func lettersAndHyphens(_ word: UInt64) -> UInt64 {
        let lower = (word | 0x2020_2020_2020_2020) & 0x7F7F_7F7F_7F7F_7F7F
        let letters = (lower &+ 0x1F1F_1F1F_1F1F_1F1F) & ~(lower &+ 0x0505_0505_0505_0505)
        let hyphen = (word ^ 0x2D2D_2D2D_2D2D_2D2D) & 0x7F7F_7F7F_7F7F_7F7F
        let hyphens = ~(hyphen &+ 0x7F7F_7F7F_7F7F_7F7F)
        return (letters | hyphens) & ~word & highBits
    }

    /// The first offset at or behind `start` whose byte is no visible ASCII character, or the count.
    public static func endOfVisible(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index <= bytes.count &- 8 {
            let others = outside(0x2121_2121_2121_2121, word(bytes, at: index)) & highBits
            guard others == 0 else { return index &+ others.trailingZeroBitCount &>> 3 }
            index &+= 8
        }
        if index < bytes.count, bytes.count >= 8 {
            // Those of the last eight bytes that come before the index may spoil the bit of one behind them, but hide none.
            let last = bytes.count &- 8
            let others = outside(0x2121_2121_2121_2121, word(bytes, at: last)) & highBits
            if others &>> UInt64(truncatingIfNeeded: (index &- last) &* 8) == 0 { return bytes.count }
        }
        while index < bytes.count, isVisible(bytes[index]) { index &+= 1 }
        return index
    }

    /// Has the top bit of each byte below that of `first`, and of each from 127 on. The lowest of these bits is exact:
    /// borrows come only from a byte that is below, carries only from 255, and both have the bit themselves. With a
    /// `first` of 33 or less, bytes of 128 and more always have it.
    @inlinable @inline(__always)
    static func outside(_ first: UInt64, _ word: UInt64) -> UInt64 {
        (word &- first) | (word &+ 0x0101_0101_0101_0101) | word
    }

    /// The first offset at or behind `start` whose byte may not stand in a field value (RFC 9110 §5.5), or the count.
    @inlinable @inline(__always)
    public static func endOfFieldValue(_ bytes: Span<UInt8>, from start: Int) -> Int {
        // Most values are short: found here, without a call.
        if start <= bytes.count &- 16 {
            let low = outside(0x2020_2020_2020_2020, word(bytes, at: start)) & highBits
            let high = outside(0x2020_2020_2020_2020, word(bytes, at: start &+ 8)) & highBits
            if low | high != 0 {
                let place = low != 0 ? low.trailingZeroBitCount &>> 3 : 8 &+ high.trailingZeroBitCount &>> 3
                if bytes[start &+ place] == carriageReturn { return start &+ place }
            }
        }
        return endOfLongFieldValue(bytes, from: start)
    }

    @usableFromInline
    static func endOfLongFieldValue(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index <= bytes.count &- 16 {
            let unusual = unusualInFieldValue(bytes, at: index)
            if unusual == 0 {
                index &+= 16
                continue
            }
            index &+= unusual.trailingZeroBitCount
            // The end, a tab, or text beyond ASCII.
            guard isFieldValue(bytes[index]) else { return index }
            index &+= 1
        }
        if index < bytes.count, bytes.count >= 16 {
            // The last sixteen bytes, some of which were looked at before.
            let last = bytes.count &- 16
            let unusual = unusualInFieldValue(bytes, at: last) &>> UInt32(truncatingIfNeeded: index &- last)
            if unusual == 0 { return bytes.count }
            index &+= unusual.trailingZeroBitCount
        }
        while index < bytes.count, isFieldValue(bytes[index]) { index &+= 1 }
        return index
    }

    /// A bit for each of the sixteen bytes from `offset` that needs a closer look. They must be there.
    @inline(__always)
    private static func unusualInFieldValue(_ bytes: Span<UInt8>, at offset: Int) -> UInt32 {
        // SAFETY: the caller has seen that sixteen bytes are there.
        unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe bytes_unusual_in_field_value(bytes.baseAddress.unsafelyUnwrapped + offset)
        }
    }

    /// True where each byte may stand in a field value (RFC 9110 §5.5).
    @inlinable @inline(__always)
    public static func isFieldValue(_ bytes: Span<UInt8>) -> Bool {
        endOfLongFieldValue(bytes, from: 0) == bytes.count
    }

    /// The first offset in `start..<end` that holds `byte`, or `end`.
    public static func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int, to end: Int) -> Int
    {
        precondition(start >= 0 && end <= bytes.count)
        var index = start
        while index < end, end >= 16 {
            // The sixteen bytes from there, or the last sixteen without those before it.
            let first = min(index, end &- 16)
            // SAFETY: sixteen bytes are there.
            let equal = unsafe bytes.withUnsafeBufferPointer { bytes in
                unsafe bytes_equal_to(bytes.baseAddress.unsafelyUnwrapped + first, byte)
            }
            let equalHere = equal &>> UInt32(truncatingIfNeeded: index &- first)
            if equalHere != 0 { return index &+ equalHere.trailingZeroBitCount }
            index = first &+ 16
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
