/// Base64 with padding (RFC 4648 §4), for what others read; tokens have `Base64URL`.
public enum Base64 {
    /// The number of characters for `count` bytes.
    public static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Encodes `bytes` into the front of `output`, which has room for `encodedCount` characters.
    public static func encode(_ bytes: Span<UInt8>, into output: inout MutableSpan<UInt8>) {
        var place = 0
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let (first, second) = (bytes[index], left > 1 ? bytes[index + 1] : 0)
            let third = left > 2 ? bytes[index + 2] : 0
            output[place] = character(first >> 2)
            output[place + 1] = character((first & 3) << 4 | second >> 4)
            output[place + 2] = left > 1 ? character((second & 15) << 2 | third >> 6) : padding
            output[place + 3] = left > 2 ? character(third & 63) : padding
            index += 3
            place += 4
        }
    }

    /// The text of the bytes. It allocates.
    public static func encode(_ bytes: Span<UInt8>) -> [UInt8] {
        var text = [UInt8](repeating: 0, count: encodedCount(bytes.count))
        var room = text.mutableSpan
        encode(bytes, into: &room)
        return text
    }

    private static var padding: UInt8 { UInt8(ascii: "=") }

    /// The character for six bits.
    private static func character(_ bits: UInt8) -> UInt8 {
        switch bits {
        case 0..<26: bits + UInt8(ascii: "A")
        case 26..<52: bits - 26 + UInt8(ascii: "a")
        case 52..<62: bits - 52 + UInt8(ascii: "0")
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }
}
