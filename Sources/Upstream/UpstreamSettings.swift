public import TLS

/// How requests are spread over the servers of an upstream.
public enum Balance: Sendable, Equatable {
    /// In turn, as often as their weights say.
    case roundRobin
    /// To the server with the fewest requests under way for its weight.
    case leastRequests
}

/// An upstream as the configuration describes it.
public struct UpstreamSettings: Sendable, Equatable {
    /// The name of its table.
    public var name: String
    /// At least one server.
    public var servers: [ServerSettings]
    /// How requests are spread over them.
    public var balance: Balance = .leastRequests
    /// How long a connect may take, in milliseconds.
    public var connectTimeoutMilliseconds: Int64 = 2000
    /// How long the head of the answer may take after the request was sent, in milliseconds.
    public var responseTimeoutMilliseconds: Int64 = 60_000
    /// How long a connection may wait for its next request, in milliseconds.
    public var idleTimeoutMilliseconds: Int64 = 60_000
    /// Connections to one server, over all workers.
    public var maximumConnections = 1024
    /// Requests that may wait for a connection, over all workers; one more is refused with 503.
    public var maximumPending = 1024
    /// TLS to the servers; nil where connections are plain.
    public var security: TLSClientSettings?
    /// How often a request may be sent again where that is safe.
    public var retries = 1

    /// An upstream with the defaults of the configuration.
    public init(name: String, servers: [ServerSettings]) {
        self.name = name
        self.servers = servers
    }
}
