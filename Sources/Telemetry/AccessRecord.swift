public import HTTP

/// One finished request, as the access log wants it: numbers, and spans of text that somebody else owns.
///
/// An empty span is written as `null`. The path must come without its query: a query may carry a token.
public struct AccessRecord: ~Escapable {
    /// The request's method, as it came.
    public var method: Span<UInt8>
    /// The request's path, as it came, without `?` and what follows; the log keeps its first 1 KiB.
    public var path: Span<UInt8>
    /// The user that was proven, or empty.
    public var user: Span<UInt8>
    /// The path template of the route that matched, or empty.
    public var route: Span<UInt8>
    /// What the request was called in `X-Request-Id`.
    public var requestID: Span<UInt8>
    /// The trace that the request belongs to, or empty.
    public var traceID: Span<UInt8>
    /// The client's address, as text.
    public var client: Span<UInt8>
    /// The upstream server that was asked, or empty.
    public var upstream: Span<UInt8>
    /// What exactly was wrong with a token, where that is why the request was refused, or empty.
    public var detail: Span<UInt8>
    /// The listener's name.
    public var listener: Span<UInt8>
    /// Where the client says that it came from, without query; kept for the combined form alone.
    public var referer: Span<UInt8>
    /// What the client says that it is; kept for the combined form alone.
    public var userAgent: Span<UInt8>
    /// The protocol of the request.
    public var protocolName: StaticString = "HTTP/1.1"
    /// Wall clock at the end of the request, in milliseconds since 1970-01-01 UTC.
    public var time: Int64 = 0
    /// Why the exchange ended as it did.
    public var reason: ReasonCode = .ok
    /// The status code sent to the client, or 0 where none was.
    public var status: Int = 0
    /// Bytes of the response body that were sent.
    public var responseBytes: Int64 = 0
    /// From the end of the request's head to the last byte of the response, in microseconds.
    public var duration: Int64 = 0
    /// From the request sent to the upstream server to its response head, in microseconds; below 0 where none was.
    public var upstreamDuration: Int64 = -1

    /// A record without any text or number.
    @_lifetime(immortal)
    public init() {
        let nothing = Span<UInt8>()
        method = nothing
        path = nothing
        user = nothing
        route = nothing
        requestID = nothing
        traceID = nothing
        client = nothing
        upstream = nothing
        listener = nothing
        detail = nothing
        referer = nothing
        userAgent = nothing
    }

}
