public import Bytes

/// The head of a response: ranges of the bytes that were parsed, and what the message rules make of them.
///
/// Used again for response after response, as `RequestHead` is.
public struct ResponseHead: ~Copyable {
    /// The status, 100 to 599.
    public internal(set) var status: UInt16 = 0
    /// The version of the response.
    public internal(set) var version: HTTPVersion = .http11
    /// The reason phrase, maybe empty.
    public internal(set) var reason: ByteRange = .empty
    /// The field lines in order.
    public internal(set) var fields: FieldTable
    /// How the end of the body is known, the request's method considered.
    public internal(set) var framing: BodyFraming = .none
    /// The value of Content-Length, also where no body follows (HEAD, 304).
    public internal(set) var contentLength: UInt64?
    /// True where the connection may be used again after this response (RFC 9112 §9.3).
    public internal(set) var isPersistent = true
    /// The size of the head in bytes; the body starts there.
    public internal(set) var byteCount = 0
    /// The index of the Upgrade line, or -1.
    public internal(set) var upgradeIndex: Int32 = -1

    /// True for 1xx but 101: another response follows.
    public var isInformational: Bool { status < 200 && status != 101 }
    /// True for 101 (Switching Protocols): what follows is no longer HTTP.
    public var isUpgrade: Bool { status == 101 }

    /// Scratch for heads of at most `fieldCapacity` lines.
    public init(fieldCapacity: Int) {
        fields = FieldTable(capacity: fieldCapacity)
    }

    /// Forgets the response.
    public mutating func reset() {}

    /// Takes the status line.
    public mutating func begin(status: UInt16, reason: ByteRange, version: HTTPVersion) -> MessageFault? {
        nil
    }

    /// Takes one field line whose syntax has been checked; nil, or what is wrong with it.
    public mutating func add(
        _ bytes: Span<UInt8>, name: ByteRange, value: ByteRange, line: ByteRange
    ) -> MessageFault? { nil }

    /// Draws the conclusions, when all lines are there: framing, persistence, nominations.
    public mutating func finish(
        _ bytes: Span<UInt8>, requestMethod: Method, byteCount: Int
    ) -> MessageFault? { nil }
}
