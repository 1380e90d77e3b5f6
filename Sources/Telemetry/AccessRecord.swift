/// One finished request, as the access log wants it: numbers, and spans of text that somebody else owns.
///
/// An empty span is written as `null`. The path must come without its query: a query may carry a token.
public struct AccessRecord: ~Escapable {
    /// The request's method, as it came.
    public var method: Span<UInt8>
    /// The request's path, as it came, without `?` and what follows; the log keeps its first 2 KiB.
    public var path: Span<UInt8>
    /// The user that was proven, or empty.
    public var user: Span<UInt8>
    /// The path template of the route that matched, or empty.
    public var route: Span<UInt8>
    /// The reason code where the proxy answered itself, or empty.
    public var reason: Span<UInt8>
    /// What the request was called in `X-Request-Id`.
    public var requestID: Span<UInt8>
    /// The client's address, as text.
    public var client: Span<UInt8>
    /// The upstream server that was asked, or empty.
    public var upstream: Span<UInt8>
    /// The listener's name.
    public var listener: Span<UInt8>
    /// Wall clock at the end of the request, in milliseconds since 1970-01-01 UTC.
    public var time: Int64 = 0
    /// The status code sent to the client, or 0 where none was.
    public var status: Int = 0
    /// Bytes of the response body that were sent.
    public var responseBytes: Int64 = 0
    /// From the first byte of the request to the last of the response, in microseconds.
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
        reason = nothing
        requestID = nothing
        client = nothing
        upstream = nothing
        listener = nothing
    }

    /// A record of these texts; it lives no longer than the shortest-lived of them.
    @_lifetime(
        copy method, copy path, copy user, copy route, copy reason, copy requestID, copy client,
        copy upstream,
        copy listener
    )
    public init(
        method: Span<UInt8>, path: Span<UInt8>, user: Span<UInt8>, route: Span<UInt8>, reason: Span<UInt8>,
        requestID: Span<UInt8>, client: Span<UInt8>, upstream: Span<UInt8>, listener: Span<UInt8>
    ) {
        self.method = method
        self.path = path
        self.user = user
        self.route = route
        self.reason = reason
        self.requestID = requestID
        self.client = client
        self.upstream = upstream
        self.listener = listener
    }
}
