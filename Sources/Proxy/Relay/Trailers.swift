internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy

/// How the trailer section of a chunked body is passed on: the last chunk, the lines that may pass, the empty line.
enum Trailers {
    /// The client's, for the upstream: never an identity, a framing or a routing field.
    static func appendRequest(
        _ lines: ByteRange, of input: inout Buffer, _ fields: inout FieldTable,
        _ policy: borrowing PolicySnapshot, to output: inout Buffer
    ) -> Bool {
        let bytes = input.bytes
        return TrailerSection.parse(bytes, lines, into: &fields) == nil
            && output.appendLastChunkBeforeTrailers()
            && policy.appendUpstreamTrailers(fields, bytes: bytes, to: &output)
            && output.append("\r\n")
    }

    /// The client's, for an upstream that speaks HTTP/2: the lines alone.
    static func appendRequestLines(
        _ lines: ByteRange, of input: inout Buffer, _ fields: inout FieldTable,
        _ policy: borrowing PolicySnapshot, to output: inout Buffer
    ) -> Bool {
        let bytes = input.bytes
        return TrailerSection.parse(bytes, lines, into: &fields) == nil
            && policy.appendUpstreamTrailers(fields, bytes: bytes, to: &output)
    }

    /// The backend's, for a client that speaks HTTP/2: the lines alone.
    static func appendLines(
        _ lines: ByteRange, of input: inout Buffer, _ fields: inout FieldTable, to output: inout Buffer
    ) -> Bool {
        let bytes = input.bytes
        return TrailerSection.parse(bytes, lines, into: &fields) == nil
            && ResponseFields.appendTrailers(fields, bytes: bytes, to: &output)
    }

    /// The backend's, for the client.
    static func appendResponse(
        _ lines: ByteRange, of input: inout Buffer, _ fields: inout FieldTable, to output: inout Buffer
    ) -> Bool {
        let bytes = input.bytes
        return TrailerSection.parse(bytes, lines, into: &fields) == nil
            && output.appendLastChunkBeforeTrailers()
            && ResponseFields.appendTrailers(fields, bytes: bytes, to: &output)
            && output.append("\r\n")
    }
}
