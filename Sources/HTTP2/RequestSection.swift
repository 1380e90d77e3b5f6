internal import Bytes
public import HTTP

/// The text of a request's header section as a session writes it: `METHOD target CRLF`, then canonical field lines, the
/// first of them `host`, then an empty line.
///
/// It is not HTTP/1: it has no version, and each value was checked before it became a line. Field lines can be copied
/// as they are into the request that goes upstream.
public enum RequestSection {
    /// Reads the section at the start of `bytes` into `head`, whose former content is forgotten; nil, or what is wrong.
    ///
    /// - Parameters:
    ///   - silent: how the body ends where no Content-Length says so.
    ///   - isWebSocket: the request was an extended CONNECT for WebSocket.
    public static func read(
        _ bytes: Span<UInt8>, into head: inout RequestHead, silent: BodyFraming, isWebSocket: Bool
    ) -> MessageFault? {
        let methodEnd = ASCII.firstIndex(of: 0x20, in: bytes, from: 0, to: bytes.count)
        let targetEnd = ASCII.firstIndex(of: 0x0D, in: bytes, from: methodEnd, to: bytes.count)
        precondition(targetEnd + 1 < bytes.count, "a session writes whole sections")
        let fault = head.begin(
            bytes, method: ByteRange(from: 0, to: methodEnd),
            target: ByteRange(from: methodEnd + 1, to: targetEnd), version: .http2)
        if let fault { return fault }
        var offset = targetEnd + 2
        while bytes[offset] != 0x0D {
            let field = line(bytes, at: offset)
            offset = field.lineRange.end
            if let fault = head.add(bytes, field) { return fault }
        }
        return head.finish(bytes, byteCount: offset + 2, silent: silent, isWebSocket: isWebSocket)
    }

    /// The line at that offset.
    private static func line(_ bytes: Span<UInt8>, at start: Int) -> FieldLine {
        let known = FieldName.scan(bytes, from: start)
        precondition(bytes[known.end] == 0x3A && bytes[known.end + 1] == 0x20, "a session writes whole lines")
        let valueStart = known.end + 2
        let valueEnd = ASCII.endOfFieldValue(bytes, from: valueStart)
        return FieldLine(
            bytes, known, name: ByteRange(from: start, to: known.end),
            value: ByteRange(from: valueStart, to: valueEnd),
            line: ByteRange(from: start, to: valueEnd + 2))
    }
}
