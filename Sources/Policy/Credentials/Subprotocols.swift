internal import Bytes
internal import HTTP

/// `Sec-WebSocket-Protocol` (RFC 6455 §11.3.4) as a carrier of tokens: `bearer, TOKEN, real…`.
enum Subprotocols {
    /// The next token in an offer, or nil where it holds no further one.
    static func nextToken(_ elements: inout ListElements, _ bytes: Span<UInt8>) -> ByteRange? {
        while let element = elements.next(bytes) {
            if ASCII.equals(bytes.slice(element), "bearer") { return elements.next(bytes) }
        }
        return nil
    }

    /// Adds the offer without `bearer` and the token behind it; no line where nothing is left. The line is longer
    /// than the client's by one space at most.
    static func append(_ value: ByteRange, _ bytes: Span<UInt8>, _ buffer: inout Buffer) {
        var elements = ListElements(value)
        var isFirst = true
        while let element = elements.next(bytes) {
            if ASCII.equals(bytes.slice(element), "bearer") {
                _ = elements.next(bytes)
                continue
            }
            HeaderWriter.put(isFirst ? "Sec-WebSocket-Protocol: " : ",", &buffer)
            HeaderWriter.put(bytes.slice(element), &buffer)
            isFirst = false
        }
        if !isFirst { HeaderWriter.put("\r\n", &buffer) }
    }
}
