internal import Bytes
public import Reactor

/// One server of an upstream, and the connections to it that wait for a request.
struct Endpoint: ~Copyable {
    let address: SocketAddress
    let authority: [UInt8]
    /// `address` as text, for the log.
    let name: [UInt8]
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
        authority = Array(settings.authority.utf8)
        name = Array(settings.address.description.utf8)
        weight = settings.weight
        self.maximumConnections = maximumConnections
        idle.reserveCapacity(min(maximumConnections, 1024))
    }
}

/// A server as the configuration names it.
public struct ServerSettings: Sendable, Equatable {
    /// Where it listens.
    public var address: SocketAddress
    /// What stands in Host where the client's is not preserved: `host:port` as the configuration has it.
    public var authority: String
    /// Its share of the requests against the other servers, 1...1000.
    public var weight: Int

    /// The server at that address with that weight.
    public init(address: SocketAddress, authority: String? = nil, weight: Int = 1) {
        self.address = address
        if let authority {
            self.authority = authority
        } else if case .unix = address {
            self.authority = "localhost"
        } else {
            self.authority = address.description
        }
        self.weight = weight
    }
}
