public import Reactor
public import TLS

/// How requests are spread over the servers of an upstream.
public enum Balance: Sendable, Equatable {
    /// In turn, as often as their weights say.
    case roundRobin
    /// To the server with the fewest requests under way for its weight.
    case leastRequests
    /// To the less busy one of two that are drawn, as often as their weights say.
    case randomTwo
    /// The same user to the same server, as long as it is there.
    case hashUser
}

/// How the servers of an upstream are asked whether they are well.
public struct HealthSettings: Sendable, Equatable {
    /// What is asked for, with the query.
    public var path: String
    /// From the beginning of one check to that of the next, in milliseconds; each time a tenth more or less.
    public var intervalMilliseconds: Int64 = 5000
    /// From the connect to the head of the answer, in milliseconds.
    public var timeoutMilliseconds: Int64 = 1000
    /// Checks in a row that bring a server back.
    public var healthyAfter = 2
    /// Failed checks in a row that take one out.
    public var unhealthyAfter = 3
    /// They are asked over HTTP/2.
    public var speaksHTTP2 = false

    /// Checks of that path, with the defaults of the configuration.
    public init(path: String) {
        self.path = path
    }
}

/// When a server is taken out because requests to it fail.
public struct EjectionSettings: Sendable, Equatable {
    /// Failures in a row.
    public var consecutiveFailures = 5
    /// For how long, in milliseconds.
    public var milliseconds: Int64 = 10_000

    /// The defaults of the configuration.
    public init() {}
}

/// An upstream as the configuration describes it.
public struct UpstreamSettings: Sendable, Equatable {
    /// The name of its table.
    public var name: String
    /// None while its names have no address yet.
    public var servers: [ServerSettings]
    /// How requests are spread over them.
    public var balance: Balance = .leastRequests
    /// How long a connect may take, and how long a request may wait for a connection, in milliseconds.
    public var connectTimeoutMilliseconds: Int64 = 2000
    /// How long the head of the answer may take after the request was sent, in milliseconds.
    public var responseTimeoutMilliseconds: Int64 = 60_000
    /// How long a connection may wait for its next request, in milliseconds.
    public var idleTimeoutMilliseconds: Int64 = 60_000
    /// Connections to one server, over all workers.
    public var maximumConnections = 1024
    /// Requests that may wait for a connection, over all workers; one more is refused with 503.
    public var maximumPending = 1024
    /// Its servers speak HTTP/2: many requests share a connection.
    public var speaksHTTP2 = false
    /// TLS to the servers; nil where connections are plain.
    public var security: TLSClientSettings?
    /// How often a request may be sent again where that is safe.
    public var retries = 1
    /// How its servers are checked; nil: they are not.
    public var health: HealthSettings?
    /// When a server is taken out because of failures; nil: never.
    public var ejection: EjectionSettings?
    /// How long a server that returns gets less than its share, in milliseconds; 0: it gets all of it at once.
    public var slowStartMilliseconds: Int64 = 10_000
    /// What the whole process knows of it. Settings with another one are other settings.
    public var state: UpstreamState

    /// An upstream with the defaults of the configuration.
    public init(
        name: String, servers: [ServerSettings], state: UpstreamState = UpstreamState(workers: 1)
    ) {
        self.name = name
        self.servers = servers
        self.state = state
    }

    /// True where nothing but the servers differs: a pool can go on with the others.
    public func differsOnlyInServers(from other: UpstreamSettings) -> Bool {
        var same = other
        same.servers = servers
        return self == same
    }
}

/// A server as the configuration names it, with one of its addresses.
public struct ServerSettings: Sendable, Equatable {
    /// Where it listens.
    public var address: SocketAddress
    /// What stands in Host where the client's is not preserved: `host:port` as the configuration has it.
    public var authority: String
    /// Its share of the requests against the other servers, 1...1000.
    public var weight: Int
    /// What the whole process knows of it. Settings with another one are other settings.
    public var state: ServerState

    /// The server at that address with that weight.
    public init(
        address: SocketAddress, authority: String? = nil, weight: Int = 1,
        state: ServerState = ServerState(workers: 1)
    ) {
        self.address = address
        if let authority {
            self.authority = authority
        } else if case .unix = address {
            self.authority = "localhost"
        } else {
            self.authority = address.description
        }
        self.weight = weight
        self.state = state
    }
}
