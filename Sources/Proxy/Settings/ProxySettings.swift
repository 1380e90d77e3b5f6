public import Policy
public import Telemetry
public import Upstream

/// Everything that a worker needs to know, as plain values: what the configuration compiles to, and what crosses from
/// the control thread to the workers.
public struct ProxySettings: Sendable {
    /// The listeners, in the order of `policy.listeners`.
    public var listeners: [ListenerSettings]
    /// The upstreams, in the order of `policy.upstreams`.
    public var upstreams: [UpstreamSettings]
    /// Who may do what.
    public var policy: PolicySpec
    /// What a client may cost.
    public var limits: LimitSettings
    /// What is written of requests.
    public var accessLog = AccessLogSettings()
    /// Where requests are counted.
    public var rows = CountRows()
    /// What is recorded of which requests; nil: nothing, and their trace headers pass untouched.
    public var tracing: TracingSettings?

    /// Settings of these parts.
    public init(
        listeners: [ListenerSettings], upstreams: [UpstreamSettings], policy: PolicySpec,
        limits: LimitSettings = LimitSettings()
    ) {
        self.listeners = listeners
        self.upstreams = upstreams
        self.policy = policy
        self.limits = limits
    }
}

/// The rows of the workers' counts that routes and rate limits have; see `LabelBook`.
public struct CountRows: Sendable, Equatable {
    /// Of each route, in the order of `PolicySpec.routes`.
    public var routes: [UInt16] = []
    /// Of each rate limit, in the order of `PolicySpec.rateLimits`.
    public var rateLimits: [UInt16] = []

    /// None: everything is counted as if it had no route.
    public init() {}

    @inline(__always)
    func row(ofRoute route: Int?) -> UInt16 {
        guard let route, routes.indices.contains(route) else { return 0 }
        return routes[route]
    }

    func row(ofRateLimit limit: Int) -> UInt16 { rateLimits.indices.contains(limit) ? rateLimits[limit] : 0 }
}
