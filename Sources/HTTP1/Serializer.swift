public import Bytes
public import HTTP

// Writing HTTP/1.1 messages. Each function gives false where the buffer lacks room; then part may have been written,
// so the caller sees to the room first or gives the message up.

extension Buffer {
    /// A number in decimal digits, 1 to 20 bytes.
    public mutating func appendDecimal(_ value: UInt64) -> Bool {
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = 20
        var rest = value
        repeat {
            first &-= 1
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            digits[first] = 0x30 &+ UInt8(truncatingIfNeeded: digit)
            rest = quotient
        } while rest > 0
        return append(digits.span.extracting(first..<20))
    }

    /// A number in lower-case hexadecimal digits, without leading zeros, 1 to 16 bytes.
    public mutating func appendHexadecimal(_ value: UInt64) -> Bool {
        var digits = InlineArray<16, UInt8>(repeating: 0)
        var first = 16
        var rest = value
        repeat {
            first -= 1
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            digits[first] = digit < 10 ? 0x30 + digit : 0x57 + digit
            rest >>= 4
        } while rest > 0
        return append(digits.span.extracting(first..<16))
    }

    /// The line before a chunk of `count` bytes, 1 or more (RFC 9112 §7.1), at most 18 bytes. Its data and
    /// `appendChunkEnd` follow.
    public mutating func appendChunkHeader(_ count: Int) -> Bool {
        precondition(count > 0, "a chunk of no bytes would end the body")
        return appendHexadecimal(UInt64(count)) && append("\r\n")
    }

    /// The CRLF behind the data of a chunk.
    public mutating func appendChunkEnd() -> Bool { append("\r\n") }

    /// The last chunk and an empty trailer section, 5 bytes.
    public mutating func appendLastChunk() -> Bool { append("0\r\n\r\n") }

    /// The last chunk, before trailer lines and a CRLF that the caller adds.
    public mutating func appendLastChunkBeforeTrailers() -> Bool { append("0\r\n") }

    /// The status line in HTTP/1.1 with the reason phrase that came (RFC 9112 §4). `bytes` are those of the response's
    /// head; `status` has three digits.
    public mutating func appendStatusLine(
        _ bytes: Span<UInt8>, status: UInt16, reason: ByteRange
    ) -> Bool {
        appendStatusCode(status) && append(bytes.slice(reason)) && append("\r\n")
    }

    /// The status line in HTTP/1.1 with the registered reason phrase, for an answer that the proxy makes.
    public mutating func appendStatusLine(_ status: UInt16) -> Bool {
        appendStatusCode(status) && append(ReasonCode.phrase(for: status)) && append("\r\n")
    }

    /// `HTTP/1.1`, the status, and the space that stands there even where no phrase follows.
    private mutating func appendStatusCode(_ status: UInt16) -> Bool {
        precondition(status >= 100 && status <= 999)
        let (hundreds, rest) = status.quotientAndRemainder(dividingBy: 100)
        let (tens, ones) = rest.quotientAndRemainder(dividingBy: 10)
        return append("HTTP/1.1 ") && append(0x30 + UInt8(hundreds)) && append(0x30 + UInt8(tens))
            && append(0x30 + UInt8(ones)) && append(0x20)
    }

    /// A field line in one canonical form: `name: value` CRLF. One that has it already is copied as it is.
    public mutating func appendFieldLine(_ bytes: Span<UInt8>, _ line: FieldLine) -> Bool {
        if line.isCanonical { return append(bytes.slice(line.lineRange)) }
        return append(bytes.slice(line.nameRange)) && append(": ") && append(bytes.slice(line.valueRange))
            && append("\r\n")
    }
}
