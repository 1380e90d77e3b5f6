public import Bytes

/// The form of a request target (RFC 9112 §3.2).
public enum TargetForm: UInt8, Sendable, BitwiseCopyable {
    /// `/path?query`
    case origin
    /// `http://authority/path?query`
    case absolute
    /// `*`, of OPTIONS alone
    case asterisk
}

/// The head of a request: ranges of the bytes that were parsed, and what the message rules make of them.
///
/// One value is used again for request after request (`reset`). The parser of either version calls `begin`, `add` for
/// each field and `finish`; from then on it is read-only. All ranges are offsets in the span that was parsed.
public struct RequestHead: ~Copyable {
    /// The method; its text is in `methodRange`.
    public internal(set) var method: Method = .other
    /// The version of the request.
    public internal(set) var version: HTTPVersion = .http11
    /// The method's text.
    public internal(set) var methodRange: ByteRange = .empty
    /// The target as it came.
    public internal(set) var target: ByteRange = .empty
    /// The form of the target.
    public internal(set) var targetForm: TargetForm = .origin
    /// The path of the target; empty where an absolute target has none, which means `/`.
    public internal(set) var path: ByteRange = .empty
    /// The query without its `?`.
    public internal(set) var query: ByteRange = .empty
    /// True where the target has a `?`, though the query may be empty.
    public internal(set) var hasQuery = false
    /// The authority of an absolute target, with its port; else empty.
    public internal(set) var targetAuthority: ByteRange = .empty
    /// What the Host of the forwarded request is: the absolute target's authority (RFC 9112 §3.2.2), else the value of
    /// Host; empty only for HTTP/1.0 without one.
    public internal(set) var host: ByteRange = .empty
    /// The parts of `host`, for routing.
    public internal(set) var authority: Authority = .none
    /// The field lines in order.
    public internal(set) var fields: FieldTable
    /// How the end of the body is known; never `untilClose`.
    public internal(set) var framing: BodyFraming = .none
    /// True where the connection may be used again after this request (RFC 9112 §9.3).
    public internal(set) var isPersistent = true
    /// True where the client waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1).
    public internal(set) var expectsContinue = false
    /// True for HTTP/1.1 with `Connection: upgrade` and an Upgrade field (RFC 9110 §7.8).
    public internal(set) var wantsUpgrade = false
    /// True where the client accepts trailers: `TE: trailers`.
    public internal(set) var acceptsTrailers = false
    /// The size of the head in bytes, empty lines before it included; the body starts there.
    public internal(set) var byteCount = 0
    /// The index of the first Authorization line, or -1.
    public internal(set) var authorizationIndex: Int32 = -1
    /// How many Authorization lines there are (rule H7: more than one are refused).
    public internal(set) var authorizationCount: Int32 = 0
    /// The index of the first Cookie line, or -1.
    public internal(set) var cookieIndex: Int32 = -1
    /// How many Cookie lines there are.
    public internal(set) var cookieCount: Int32 = 0
    /// The index of the Upgrade line, or -1.
    public internal(set) var upgradeIndex: Int32 = -1
    /// The index of the Origin line, or -1.
    public internal(set) var originIndex: Int32 = -1
    /// The index of the first X-Request-Id line, or -1.
    public internal(set) var requestIDIndex: Int32 = -1

    /// Scratch for heads of at most `fieldCapacity` lines.
    public init(fieldCapacity: Int) {
        fields = FieldTable(capacity: fieldCapacity)
    }

    /// Forgets the request.
    public mutating func reset() {}

    /// Takes the request line. `target` must hold visible ASCII only.
    public mutating func begin(
        _ bytes: Span<UInt8>, method: ByteRange, target: ByteRange, version: HTTPVersion
    ) -> MessageFault? { nil }

    /// Takes one field line whose syntax has been checked; nil, or what is wrong with it.
    public mutating func add(
        _ bytes: Span<UInt8>, name: ByteRange, value: ByteRange, line: ByteRange
    ) -> MessageFault? { nil }

    /// Draws the conclusions, when all lines are there: framing, persistence, host, nominations.
    public mutating func finish(_ bytes: Span<UInt8>, byteCount: Int) -> MessageFault? { nil }
}
