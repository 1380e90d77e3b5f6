/// One `[upstream.NAME]` table.
public struct UpstreamConfiguration: Sendable, Equatable {
    /// The table's name.
    public var name: String
    /// At least one server, no two alike.
    public var servers: [ServerConfiguration]
    /// How a server is chosen.
    public var balance: Balance
    /// What the backend gets as `Authorization`.
    public var authorization: AuthorizationConfiguration
    /// True: the client's Host goes on; false: Host becomes the server's own.
    public var preserveHost: Bool
    /// To connect to a server.
    public var connectTimeout: Duration
    /// From the end of the request to the response head.
    public var responseTimeout: Duration
    /// Of a pooled connection without a request.
    public var idleTimeout: Duration
    /// Connections to one server.
    public var maxConnections: Int
    /// Requests that wait for a connection; beyond, 503.
    public var maxPending: Int
    /// Further attempts, only where nothing of the request was processed or it can be repeated safely.
    public var retries: Int
    /// How its servers are checked; nil: they are not.
    public var health: HealthConfiguration?
    /// When a server that fails is taken out; nil: never.
    public var eject: EjectionConfiguration?
    /// How long a server that returns gets less than its share.
    public var slowStart: Duration
    /// Between two look-ups of the servers' names.
    public var resolveInterval: Duration
    /// TLS to the servers; nil where connections are plain.
    public var tls: UpstreamTLSConfiguration?
    /// The version of HTTP that its servers speak.
    public var backendProtocol = BackendProtocol.http11
    /// Where the file begins the table.
    public var position: SourcePosition
}

/// HTTP versions towards a backend.
public enum BackendProtocol: String, Sendable, CaseIterable {
    /// HTTP/1.1.
    case http11 = "http/1.1"
    /// HTTP/2: with TLS by ALPN, without it with prior knowledge.
    case http2 = "h2"
}

/// One server of an upstream.
public struct ServerConfiguration: Sendable, Equatable {
    /// Where it listens; a name is still to be resolved.
    public var address: EndpointAddress
    /// Its share against the other servers' weights, 1 to 1000.
    public var weight: Int
    /// Where the file names it.
    public var position: SourcePosition
}

/// `health = { … }`: every server is asked for a page again and again.
public struct HealthConfiguration: Sendable, Equatable {
    /// Begins with a slash: visible ASCII, at most 1 KiB.
    public var path: String
    /// From one check to the next.
    public var interval: Duration
    /// From the connect to the head of the answer.
    public var timeout: Duration
    /// Good checks in a row that bring a server back.
    public var healthyAfter: Int
    /// Failed checks in a row that take a server out.
    public var unhealthyAfter: Int
}

/// `eject = { … }`: a server is taken out after failures in a row.
public struct EjectionConfiguration: Sendable, Equatable {
    /// How many.
    public var consecutiveFailures: Int
    /// How long it stays out.
    public var duration: Duration
}

/// How an upstream's server is chosen for a request.
public enum Balance: String, Sendable, Equatable, CaseIterable {
    /// One after the other.
    case roundRobin = "round-robin"
    /// The one with the fewest requests in flight.
    case leastRequests = "least-requests"
    /// The less busy one of two that are drawn.
    case randomTwo = "random-two"
    /// The same user to the same server.
    case hashUser = "hash-user"
}

/// What the backend gets as `Authorization`.
public enum AuthorizationConfiguration: Sendable, Equatable {
    /// Nothing.
    case remove
    /// What the client sent, byte by byte.
    case forward
    /// `Bearer` and this service token: visible ASCII without spaces.
    case bearer(Secret)
    /// A fresh token for each user.
    case mint(MintConfiguration)
}

/// A token that the proxy signs for the backend (`authorization = { mint = … }`).
public struct MintConfiguration: Sendable, Equatable {
    /// The HMAC key, at least 32 bytes (J19). The algorithm is HS256.
    public var secret: Secret
    /// `exp - iat`, 2 seconds to 1 day.
    public var lifetime: Duration
    /// Claims beside `sub`, `iat` and `exp`, in the order of the file.
    public var claims: [MintedClaim]
}

/// A claim that is the same in every minted token.
public struct MintedClaim: Sendable, Equatable {
    /// The claim's name.
    public var name: String
    /// Its value, a JSON string.
    public var value: String
}
