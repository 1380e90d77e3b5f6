public import Bytes
public import HTTP

/// What a body decoder finds next in its input.
public enum BodyEvent: Equatable, Sendable, BitwiseCopyable {
    /// Content: a range of the input, never empty.
    case data(ByteRange)
    /// The input is used up, but for a trailer section that is not complete: bytes from `offset` on must be kept, and
    /// given again with more behind them.
    case needMore
    /// The body is complete; what follows belongs to the next message. `trailers` holds the lines of the trailer
    /// section without the empty line, checked for syntax, and is mostly empty.
    case end(trailers: ByteRange)
    /// The body breaks a rule; the connection closes.
    case malformed(MessageFault)
}

/// Finds the content of a body, however it is framed (RFC 9112 §6.3), in input that is split anywhere.
public struct BodyDecoder: Sendable, BitwiseCopyable {
    /// How the body is framed.
    public let framing: BodyFraming
    /// How many bytes of content were found.
    public private(set) var received: UInt64 = 0
    /// True when `end` was given.
    public private(set) var isComplete = false

    /// A decoder at the start of a body.
    public init(_ framing: BodyFraming) { self.framing = framing }

    /// The next event of the input from `offset`, which moves behind the bytes that the event used up. Call again
    /// until it says `needMore`, `end` or `malformed`.
    public mutating func next(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent { .needMore }

    /// What it means that the peer sends no more: `end` for a body that ends with the connection, else `malformed`
    /// with `truncated`.
    public mutating func endOfInput() -> BodyEvent { .malformed(.truncated) }
}
