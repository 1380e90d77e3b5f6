public import HTTP
public import Policy
public import Reactor
public import TLS
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

/// What a listener does with a request that is allowed.
public enum ListenerMode: Sendable, Equatable {
    /// It goes to the upstream.
    case proxy
    /// The request was a question about another one, and is answered with 200 and the identity headers.
    case forwardAuth
    /// Nothing: the client is sent to the same place over TLS, at that port.
    case redirect(port: UInt16)
}

/// What answers over TLS say of its use in the future: `Strict-Transport-Security` (RFC 6797 §6.1).
public struct StrictTransportSecurity: Sendable, Equatable, BitwiseCopyable {
    /// For how long browsers are to use nothing but TLS, in seconds; negative: nothing is said.
    public var maximumAgeSeconds: Int64
    /// For the hosts below this one too.
    public var includesSubdomains: Bool
    /// The site may be put into the lists that browsers come with.
    public var preloads: Bool

    /// That much is said.
    public init(maximumAgeSeconds: Int64, includesSubdomains: Bool = false, preloads: Bool = false) {
        self.maximumAgeSeconds = maximumAgeSeconds
        self.includesSubdomains = includesSubdomains
        self.preloads = preloads
    }

    /// Nothing is said.
    public static let none = StrictTransportSecurity(maximumAgeSeconds: -1)
}

/// The versions of HTTP that a listener speaks.
public struct ProtocolSet: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt8

    /// The set with these bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// HTTP/1.1, and HTTP/1.0 with it.
    public static var http1: ProtocolSet { ProtocolSet(rawValue: 1) }
    /// HTTP/2: where ALPN says so, and with prior knowledge on a listener without TLS.
    public static var http2: ProtocolSet { ProtocolSet(rawValue: 2) }
}

/// A listener as the configuration describes it.
public struct ListenerSettings: Sendable, Equatable {
    /// The name of its table.
    public var name: String
    /// Where it listens.
    public var address: SocketAddress
    /// What it does with a request.
    public var mode: ListenerMode
    /// Every connection begins with a PROXY header and comes from a trusted proxy.
    public var expectsProxyHeader: Bool
    /// The versions of HTTP that it speaks.
    public var protocols = ProtocolSet.http1
    /// TLS; nil where connections are plain.
    public var security: TLSServerSettings?
    /// What answers over TLS say of its use in the future.
    public var strictTransportSecurity = StrictTransportSecurity.none

    /// The listener of that name and address.
    public init(
        name: String, address: SocketAddress, mode: ListenerMode = .proxy, expectsProxyHeader: Bool = false
    ) {
        self.name = name
        self.address = address
        self.mode = mode
        self.expectsProxyHeader = expectsProxyHeader
    }

    /// True where a PROXY header is taken from trusted proxies alone: on a Unix socket it is from everybody.
    var asksWhoGreets: Bool {
        if case .unix = address { return false }
        return expectsProxyHeader
    }

    /// True where a connection that began under `other` has proven what one that begins now must: which authorities know its
    /// client, and whether a proxy tells its address.
    func welcomes(asBefore other: ListenerSettings) -> Bool {
        security?.clients == other.security?.clients && expectsProxyHeader == other.expectsProxyHeader
            && mode == other.mode
    }
}

/// The `[limits]` of the configuration. Times are milliseconds.
public struct LimitSettings: Sendable, Equatable {
    /// Of a message head.
    public var headBytes = 32_768
    /// Field lines of a head.
    public var fieldCount = 100
    /// Of a request target.
    public var targetBytes = 8192
    /// Client connections in all workers together; nil: what the file-descriptor limit allows.
    public var connections: Int?
    /// Memory of buffers in all workers together, in bytes, from which on nothing new is taken on; nil: no bound.
    public var bufferBytes: Int?
    /// Client connections of one address (of IPv6 one /64) in all workers together; nil: no bound. Trusted proxies and
    /// Unix sockets are not counted.
    public var connectionsPerAddress: Int?
    /// From the connection to the end of the TLS handshake.
    public var handshakeTimeoutMilliseconds: Int64 = 10_000
    /// From the first byte of a request to the end of its head.
    public var headerTimeoutMilliseconds: Int64 = 10_000
    /// Between two requests.
    public var idleTimeoutMilliseconds: Int64 = 75_000
    /// Between two reads of a body, and between two writes to a client that does not read.
    public var bodyTimeoutMilliseconds: Int64 = 30_000
    /// From the signal to the end of the process.
    public var drainTimeoutMilliseconds: Int64 = 30_000

    /// The defaults of the configuration.
    public init() {}

    /// The part that the parsers need.
    public var head: HeadLimits {
        HeadLimits(headBytes: headBytes, fieldCount: fieldCount, targetBytes: targetBytes)
    }
}

extension LimitSettings {
    /// Client connections that so many workers take together.
    public func connectionLimit(workers: Int) -> Int {
        (0..<workers).reduce(0) { $0 + Worker.connectionLimit(self, WorkerPlace($1, of: workers)) }
    }
}
