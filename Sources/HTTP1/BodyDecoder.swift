public import Bytes
public import HTTP

/// What a body decoder finds next in its input.
public enum BodyEvent: Equatable, Sendable, BitwiseCopyable {
    /// Content: a range of the input, never empty.
    case data(ByteRange)
    /// The input is used up, but for a trailer section that is not complete: bytes from `offset` on must be kept, and
    /// given again with more behind them. They are never more than `HeadLimits.trailerBytes`.
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
    /// Bytes that are still to come, of a body of known length.
    private var remaining: UInt64 = 0
    private var chunked = ChunkedDecoder()
    private var isClosed = false

    /// A decoder at the start of a body.
    public init(_ framing: BodyFraming) {
        self.framing = framing
        if case .length(let length) = framing { remaining = length }
    }

    /// True when the body is complete. One without content is so from the start.
    public var isComplete: Bool {
        switch framing {
        case .none: true
        case .length: remaining == 0
        case .chunked: chunked.isComplete
        case .untilClose: isClosed
        }
    }

    /// The next event of the input from `offset`, which moves behind the bytes that the event used up. Call again
    /// until it says `needMore`, `end` or `malformed`.
    public mutating func next(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent {
        let event: BodyEvent =
            switch framing {
            case .none: .end(trailers: .empty)
            case .length: remaining == 0 ? .end(trailers: .empty) : counted(input, &offset)
            case .chunked: chunked.next(input, &offset)
            case .untilClose: isClosed ? .end(trailers: .empty) : rest(input, &offset)
            }
        if case .data(let range) = event { received += UInt64(range.count) }
        return event
    }

    /// What it means that the peer sends no more: `end` for a body that is complete or ends with the connection, else
    /// `malformed` with `truncated` (RFC 9112 §8).
    public mutating func endOfInput() -> BodyEvent {
        if framing == .untilClose { isClosed = true }
        return isComplete ? .end(trailers: .empty) : .malformed(.truncated)
    }

    private mutating func counted(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent {
        let count = Int(min(remaining, UInt64(input.count - offset)))
        guard count > 0 else { return .needMore }
        remaining -= UInt64(count)
        offset += count
        return .data(ByteRange(start: offset - count, count: count))
    }

    private func rest(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent {
        guard offset < input.count else { return .needMore }
        let range = ByteRange(from: offset, to: input.count)
        offset = input.count
        return .data(range)
    }
}
