public import HTTP
public import JOSE
public import Synchronization

/// What a worker counts, apart from status classes and reason codes. Every count only ever grows.
public enum Counter: UInt8, CaseIterable, Sendable {
    /// Connections that `accept` gave to the worker.
    case connectionsAccepted
    /// Accepted connections that are closed again; open ones are the difference.
    case connectionsClosed
    /// Connections closed at once because a limit was reached (file descriptors, `limits.connections`).
    case connectionsRefused
    /// Bytes read from clients.
    case bytesReceived
    /// Bytes written to clients.
    case bytesSent
    /// Connections opened to upstream servers.
    case upstreamConnects
    /// Attempts to open one that failed.
    case upstreamConnectFailures
    /// Requests sent a second time, because the pooled connection turned out to be closed.
    case upstreamRetries
    /// Tokens whose verdict was in the verified-token cache.
    case tokenCacheHits
    /// Tokens that had to be verified.
    case tokenCacheMisses
    /// TLS handshakes with clients that succeeded.
    case tlsHandshakes
    /// Those of them that took up an earlier session.
    case tlsResumptions
    /// TLS handshakes with clients that failed, or were too slow.
    case tlsHandshakeFailures
    /// Access log lines lost because the writer could not keep up.
    case accessLinesLost
    /// Tokens that were verified and found good.
    case tokensVerified
    /// Good tokens that made way for others in the verified-token cache.
    case tokensEvicted
    /// TLS handshakes with upstream servers that succeeded.
    case upstreamTLSHandshakes
    /// TLS handshakes with upstream servers that failed.
    case upstreamTLSHandshakeFailures
}

/// What a worker has right now.
public enum Gauge: UInt8, CaseIterable, Sendable {
    /// Requests that are under way, waiting ones and tunnels included.
    case requestsInFlight
    /// Bytes of the blocks that buffers hold.
    case bufferBytes
    /// Tokens in the verified-token cache.
    case cachedTokens
    /// What they take, in bytes.
    case cachedTokenBytes
}

/// The counts of one worker: written by that worker alone, read by the admin thread at any time.
///
/// A single writer needs no locked instruction: an addition is a plain load and a plain store. Readers see each
/// count whole, and several counts without a common instant, which is what a scrape expects.
public final class WorkerCounters: Sendable {
    // Rows of `Counter`; the size only has to reach its last case, which `init` checks.
    @usableFromInline let counts: InlineArray<32, Atomic<UInt64>>
    // By the first digit of the status; 0 is anything outside 1xx...5xx.
    @usableFromInline let statusClasses: InlineArray<6, Atomic<UInt64>>
    // By the raw value of the reason code.
    @usableFromInline let reasons: InlineArray<64, Atomic<UInt64>>
    // By the bucket of the duration.
    @usableFromInline let durations: InlineArray<96, Atomic<UInt64>>
    // By the row of the rate limit that was exceeded.
    private let rateLimits: InlineArray<64, Atomic<UInt64>>
    // By the bucket of the lag, and all microseconds of it together.
    private let lags: InlineArray<16, Atomic<UInt64>>
    private let lagMicroseconds = Atomic<UInt64>(0)
    // When the worker answered last, in microseconds of the monotonic clock.
    private let answeredAt = Atomic<Int64>(.min)
    // On a line of their own: written in every turn.
    @usableFromInline let gauges: InlineArray<8, Atomic<Int>>
    /// What is counted for each route.
    public let routes = RouteCounts()
    /// The last requests that were refused.
    public let refusals = RecentRefusals()
    // By the raw value of what is wrong with a token.
    private let tokenRefusals: InlineArray<64, Atomic<UInt64>>

    /// Counts that all stand at zero.
    public init() {
        precondition(Counter.allCases.count <= 32 && ReasonCode.allCases.count <= 64)
        precondition(TokenRefusal.allCases.count <= 64)
        counts = InlineArray { _ in Atomic(0) }
        statusClasses = InlineArray { _ in Atomic(0) }
        reasons = InlineArray { _ in Atomic(0) }
        durations = InlineArray { _ in Atomic(0) }
        rateLimits = InlineArray { _ in Atomic(0) }
        lags = InlineArray { _ in Atomic(0) }
        gauges = InlineArray { _ in Atomic(0) }
        precondition(Gauge.allCases.count <= 8 && LatencyBuckets.count == 16)
        tokenRefusals = InlineArray { _ in Atomic(0) }
    }

    /// Adds to a count. Only the worker that owns the counts may call this.
    @inlinable
    public func add(_ amount: Int, to counter: Counter) {
        Self.grow(counts[Int(counter.rawValue)], by: UInt64(truncatingIfNeeded: amount))
    }

    /// Counts one answered request by the class of its status code (RFC 9110 section 15). Owner only.
    @inlinable
    public func countResponse(status: Int) {
        let digit = status / 100
        Self.grow(statusClasses[digit >= 1 && digit <= 5 ? digit : 0], by: 1)
    }

    /// Counts one request by how long it took. Owner only.
    @inlinable
    public func countDuration(microseconds: Int64) {
        Self.grow(durations[DurationBuckets.index(microseconds: microseconds)], by: 1)
    }

    /// Requests whose duration is in that bucket; any thread.
    public func durations(bucket: Int) -> UInt64 {
        precondition(bucket >= 0 && bucket < DurationBuckets.count)
        return durations[bucket].load(ordering: .relaxed)
    }

    /// Counts one request by why it ended as it did. Owner only.
    @inlinable
    public func countEnd(reason: ReasonCode) {
        Self.grow(reasons[Int(reason.rawValue)], by: 1)
    }

    /// Counts an answered request for its route. Owner only.
    public func count(route row: UInt16, status: Int, microseconds: Int64) {
        routes.count(row: Int(row), status: status, microseconds: microseconds)
    }

    /// The most rate limits that are told apart, that on failed authentications included.
    public static var rateLimitRows: Int { 64 }

    /// Counts a request that a rate limit refused. Owner only.
    public func countExceeded(rateLimit row: UInt16) {
        Self.grow(rateLimits[Int(row)], by: 1)
    }

    /// Requests that the rate limit of that row refused; any thread.
    public func exceeded(rateLimit row: Int) -> UInt64 {
        rateLimits[row].load(ordering: .relaxed)
    }

    /// Says how much there is of something right now. Owner only.
    @inlinable
    public func set(_ gauge: Gauge, to value: Int) {
        gauges[Int(gauge.rawValue)].store(value, ordering: .relaxed)
    }

    /// How much there is right now; any thread.
    public func value(of gauge: Gauge) -> Int {
        gauges[Int(gauge.rawValue)].load(ordering: .relaxed)
    }

    /// The loop has got to a message, at `now`, that was sent so many microseconds before. Owner only.
    public func countAnswer(afterMicroseconds lag: Int64, at now: Int64) {
        let lag = max(lag, 0)
        Self.grow(lags[LatencyBuckets.index(microseconds: lag)], by: 1)
        Self.grow(lagMicroseconds, by: UInt64(lag))
        answeredAt.store(now, ordering: .relaxed)
    }

    /// How long messages had to wait for the loop; any thread.
    public var lag: LatencyHistogram {
        LatencyHistogram(
            counts: (0..<LatencyBuckets.count).map { lags[$0].load(ordering: .relaxed) },
            microseconds: Int64(clamping: lagMicroseconds.load(ordering: .relaxed)))
    }

    /// When the loop got to such a message last, in microseconds of the monotonic clock; nil where it never did.
    public var lastAnswer: Int64? {
        let time = answeredAt.load(ordering: .relaxed)
        return time == .min ? nil : time
    }

    /// Counts one token that was refused, by what is wrong with it. Owner only.
    public func countRefusal(_ refusal: TokenRefusal) {
        Self.grow(tokenRefusals[Int(refusal.rawValue)], by: 1)
    }

    /// Tokens that were refused for that reason; any thread.
    public func refusals(_ refusal: TokenRefusal) -> UInt64 {
        tokenRefusals[Int(refusal.rawValue)].load(ordering: .relaxed)
    }

    /// The count as it stands; any thread.
    public func value(of counter: Counter) -> UInt64 {
        counts[Int(counter.rawValue)].load(ordering: .relaxed)
    }

    /// Answers with a status of that class, 1...5, or 0 for those outside; any thread.
    public func responses(statusClass digit: Int) -> UInt64 {
        precondition(digit >= 0 && digit < 6)
        return statusClasses[digit].load(ordering: .relaxed)
    }

    /// Requests that ended for that reason; any thread.
    public func ends(reason: ReasonCode) -> UInt64 {
        reasons[Int(reason.rawValue)].load(ordering: .relaxed)
    }

    @inlinable
    static func grow(_ count: borrowing Atomic<UInt64>, by amount: UInt64) {
        count.store(count.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}
