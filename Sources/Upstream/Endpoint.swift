public import Bytes
public import Reactor

/// One server of an upstream, and the connections to it that wait for a request.
struct Endpoint: ~Copyable {
    let address: SocketAddress
    let weight: Int
    let maximumConnections: Int
    /// Connections that are open or being opened, idle ones included.
    var connections = 0
    /// Requests that are on their way.
    var inFlight = 0
    /// Idle connections, the last used at the end: that one is warm, and the others can go away when load falls.
    var idle: [Handle] = []
    /// Smooth weighted round-robin: what this server has saved up.
    var credit = 0

    init(_ settings: ServerSettings, maximumConnections: Int) {
        address = settings.address
        weight = settings.weight
        self.maximumConnections = maximumConnections
        idle.reserveCapacity(min(maximumConnections, 1024))
    }
}

/// A server as the configuration names it.
public struct ServerSettings: Sendable, Equatable {
    /// Where it listens.
    public var address: SocketAddress
    /// Its share of the requests against the other servers, 1...1000.
    public var weight: Int

    /// The server at that address with that weight.
    public init(address: SocketAddress, weight: Int = 1) {
        self.address = address
        self.weight = weight
    }
}
