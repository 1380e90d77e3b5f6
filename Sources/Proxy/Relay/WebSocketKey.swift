internal import Bytes
internal import Crypto
internal import HTTP

/// The key that a WebSocket handshake of HTTP/1.1 has and one of HTTP/2 has not (RFC 6455 §4.1, RFC 8441 §5).
enum WebSocketKey {
    /// The length of a key: 16 bytes in base64.
    private static let characterCount = 24

    /// Adds a line with 16 random bytes in base64; false where there is no room, or no randomness.
    static func appendLine(to buffer: inout Buffer) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 16)
        var room = bytes.mutableSpan
        guard Random.fill(&room), buffer.append("Sec-WebSocket-Key: ") else { return false }
        return buffer.append(Base64.encode(bytes.span).span) && buffer.append("\r\n")
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
        return buffer.append(Base64.encode(digest.span).span) && buffer.append("\r\n")
    }
}
