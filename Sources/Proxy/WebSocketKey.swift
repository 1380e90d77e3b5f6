internal import Bytes
internal import Crypto

/// The key that a WebSocket handshake of HTTP/1.1 has and one of HTTP/2 has not (RFC 6455 §4.1, RFC 8441 §5).
enum WebSocketKey {

    /// Adds a line with 16 random bytes in base64; false where there is no room, or no randomness.
    static func appendLine(to buffer: inout Buffer) -> Bool {
        guard let high = Random.uint64(), let low = Random.uint64(),
            buffer.append("Sec-WebSocket-Key: ")
        else { return false }
        // 16 bytes are 21 characters of six bits and one that holds the two bits left.
        var fits = true
        for place in 0..<21 {
            let bits = place < 10 ? high >> UInt64(place * 6) : low >> UInt64((place - 10) * 6)
            fits = buffer.append(character(bits & 63)) && fits
        }
        return fits && buffer.append(character(((high >> 60) & 3) << 4)) && buffer.append("==\r\n")
    }

    private static func character(_ value: UInt64) -> UInt8 {
        switch value {
        case ..<26: UInt8(ascii: "A") + UInt8(value)
        case ..<52: UInt8(ascii: "a") + UInt8(value - 26)
        case ..<62: UInt8(ascii: "0") + UInt8(value - 52)
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }
}
