internal import Bytes
internal import Crypto
internal import HTTP

/// The key that a WebSocket handshake of HTTP/1.1 has and one of HTTP/2 has not (RFC 6455 §4.1, RFC 8441 §5).
enum WebSocketKey {
    /// The length of a key: 16 bytes in base64.
    private static let characterCount = 24

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

    /// The one key of a handshake; nil where there is none, or more than one, or none of that length.
    static func range(in head: borrowing RequestHead) -> ByteRange? {
        var found: ByteRange?
        for index in 0..<head.fields.count where head.fields[index].name == .secWebSocketKey {
            guard found == nil else { return nil }
            found = head.fields[index].valueRange
        }
        return found?.count == Int32(characterCount) ? found : nil
    }

    /// Adds the line that proves to the client that its key was read (RFC 6455 §4.2.2): base64 of the SHA-1 of the key and
    /// a constant. False where there is no room, or no SHA-1.
    static func appendProof(of key: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        var text = ByteArray()
        text.append(key)
        text.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        guard let digest = SHA1.hash(text.span), buffer.append("Sec-WebSocket-Accept: ") else { return false }
        // 20 bytes are 26 characters of six bits and one that holds the four bits left.
        var fits = true
        for place in 0..<27 {
            let byte = place * 6 / 8
            let pair = UInt64(digest[byte]) << 8 | (byte < 19 ? UInt64(digest[byte + 1]) : 0)
            fits = buffer.append(character(pair >> UInt64(10 - place * 6 % 8) & 63)) && fits
        }
        return fits && buffer.append("=\r\n")
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
