/// Base64url without padding (RFC 4648 §5, as RFC 7515 §2 uses it), strictly: one text for each byte string.
///
/// Padding, `+`, `/`, white space and trailing bits that are not zero are refused (rule J8), so that a token has
/// exactly one spelling.
public enum Base64URL {
    /// The number of bytes that `count` characters decode to, or nil where no byte string has such a text.
    @inlinable
    public static func decodedCount(_ count: Int) -> Int? {
        count & 3 == 1 ? nil : (count >> 2) * 3 + max(0, (count & 3) - 1)
    }

    /// The number of characters for `count` bytes.
    @inlinable
    public static func encodedCount(_ count: Int) -> Int {
        (count * 4 + 2) / 3
    }

    /// Decodes `text` into the front of `output`; the number of bytes written, or nil where the text is not
    /// strict base64url or does not fit. What was written is meaningless then.
    public static func decode(_ text: Span<UInt8>, into output: inout MutableSpan<UInt8>) -> Int? {
        guard let total = decodedCount(text.count), total <= output.count else { return nil }
        let whole = text.count & ~3
        let isGood = unsafe text.withUnsafeBytes { input in
            // SAFETY: `whole` characters lie in the text and make 3/4 as many bytes, for which there is room.
            unsafe output.withUnsafeMutableBytes { room in unsafe decodeGroups(input, whole, room) }
        }
        guard isGood else { return nil }
        return decodeTail(text, from: whole, into: &output, at: (whole >> 2) * 3)
    }

    /// Decodes groups of four characters; false where one is outside the alphabet.
    @inline(__always)
    private static func decodeGroups(
        _ input: UnsafeRawBufferPointer, _ count: Int, _ output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard count > 0, let source = input.baseAddress, let target = output.baseAddress else { return true }
        // Characters outside the alphabet set bits above the low six; they are looked at once, at the end.
        var seen: UInt8 = 0
        var index = 0
        var written = 0
        // SAFETY: index < count and written < count * 3 / 4; the caller checked both sizes.
        while index < count {
            let a = unsafe value(source.load(fromByteOffset: index, as: UInt8.self))
            let b = unsafe value(source.load(fromByteOffset: index &+ 1, as: UInt8.self))
            let c = unsafe value(source.load(fromByteOffset: index &+ 2, as: UInt8.self))
            let d = unsafe value(source.load(fromByteOffset: index &+ 3, as: UInt8.self))
            seen |= a | b | c | d
            unsafe target.storeBytes(of: a &<< 2 | b &>> 4, toByteOffset: written, as: UInt8.self)
            unsafe target.storeBytes(of: b &<< 4 | c &>> 2, toByteOffset: written &+ 1, as: UInt8.self)
            unsafe target.storeBytes(of: c &<< 6 | d, toByteOffset: written &+ 2, as: UInt8.self)
            index &+= 4
            written &+= 3
        }
        return seen < 64
    }

    /// Encodes `bytes` into `output` from `start` on; the number of characters, or nil where they do not fit.
    public static func encode(
        _ bytes: Span<UInt8>, into output: inout MutableSpan<UInt8>, at start: Int = 0
    ) -> Int? {
        let total = encodedCount(bytes.count)
        guard start >= 0, total <= output.count - start else { return nil }
        var index = 0
        var written = start
        while index &+ 2 < bytes.count {
            let (a, b, c) = (bytes[index], bytes[index &+ 1], bytes[index &+ 2])
            output[written] = character(a >> 2)
            output[written &+ 1] = character((a & 3) << 4 | b >> 4)
            output[written &+ 2] = character((b & 15) << 2 | c >> 6)
            output[written &+ 3] = character(c & 63)
            index &+= 3
            written &+= 4
        }
        if index < bytes.count {
            let a = bytes[index]
            let b = index &+ 1 < bytes.count ? bytes[index &+ 1] : 0
            output[written] = character(a >> 2)
            output[written &+ 1] = character((a & 3) << 4 | b >> 4)
            if index &+ 1 < bytes.count { output[written &+ 2] = character((b & 15) << 2) }
        }
        return total
    }

    /// The last two or three characters, whose unused bits must be zero.
    @inline(__always)
    private static func decodeTail(
        _ text: Span<UInt8>, from index: Int, into output: inout MutableSpan<UInt8>, at written: Int
    ) -> Int? {
        switch text.count &- index {
        case 0:
            return written
        case 2:
            let a = value(text[index])
            let b = value(text[index &+ 1])
            guard a | b < 64, b & 15 == 0 else { return nil }
            output[written] = a << 2 | b >> 4
            return written &+ 1
        default:
            let a = value(text[index])
            let b = value(text[index &+ 1])
            let c = value(text[index &+ 2])
            guard a | b | c < 64, c & 3 == 0 else { return nil }
            output[written] = a << 2 | b >> 4
            output[written &+ 1] = b << 4 | c >> 2
            return written &+ 2
        }
    }

    /// The six bits that a character stands for, or 255 for one outside the alphabet.
    @inline(__always)
    private static func value(_ character: UInt8) -> UInt8 { values[Int(character)] }

    @inline(__always)
    private static func character(_ bits: UInt8) -> UInt8 { characters[Int(bits)] }

    private static let characters: [64 of UInt8] = [
        65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80,
        81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 97, 98, 99, 100, 101, 102,
        103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118,
        119, 120, 121, 122, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 45, 95,
    ]

    private static let values: [256 of UInt8] = [
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 62, 255, 255,
        52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 255, 255, 255, 255, 255, 255,
        255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
        15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 255, 255, 255, 255, 63,
        255, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
        41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    ]
}
