public import Bytes
public import HTTP

/// Writing HTTP/1.1 messages. Each function gives false where the buffer lacks room; then part may have been written.
extension Buffer {
    /// A number in decimal digits.
    public mutating func appendDecimal(_ value: UInt64) -> Bool { false }

    /// A number in lower-case hexadecimal digits, without leading zeros.
    public mutating func appendHexadecimal(_ value: UInt64) -> Bool { false }

    /// The line before a chunk of `count` bytes, 1 or more (RFC 9112 §7.1). Its data and `appendChunkEnd` follow.
    public mutating func appendChunkHeader(_ count: Int) -> Bool { false }

    /// The CRLF behind the data of a chunk.
    public mutating func appendChunkEnd() -> Bool { append("\r\n") }

    /// The last chunk and an empty trailer section.
    public mutating func appendLastChunk() -> Bool { append("0\r\n\r\n") }

    /// The last chunk, before trailer lines and a CRLF that the caller adds.
    public mutating func appendLastChunkBeforeTrailers() -> Bool { append("0\r\n") }

    /// The request line in HTTP/1.1 and origin-form, or `*`. `bytes` are those of the request's head.
    public mutating func appendRequestLine(
        _ bytes: Span<UInt8>, method: ByteRange, target: CanonicalTarget
    ) -> Bool { false }

    /// The status line in HTTP/1.1 with the reason phrase that came. `bytes` are those of the response's head.
    public mutating func appendStatusLine(_ bytes: Span<UInt8>, status: UInt16, reason: ByteRange) -> Bool {
        false
    }

    /// The status line in HTTP/1.1 with the registered reason phrase.
    public mutating func appendStatusLine(_ status: UInt16) -> Bool { false }

    /// A field line in one canonical form: `name: value` CRLF.
    public mutating func appendFieldLine(_ bytes: Span<UInt8>, _ line: FieldLine) -> Bool { false }
}

/// The lines of a trailer section (RFC 9112 §7.1.2).
public enum TrailerSection {
    /// Reads the lines in `range`, as `BodyEvent.end` gives it, into `fields`, whose former content is forgotten.
    /// Leave out lines with flags of `FieldFlags.removedFromTrailers`, and what the policy strips.
    public static func parse(
        _ bytes: Span<UInt8>, _ range: ByteRange, into fields: inout FieldTable
    ) -> MessageFault? { nil }
}
