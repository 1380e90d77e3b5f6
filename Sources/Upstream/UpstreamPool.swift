public import Bytes
public import Reactor

/// The servers of one upstream and their connections, as one worker sees them.
///
/// It only keeps the books: the proxy opens, watches and closes the connections, and says so here.
public struct UpstreamPool: ~Copyable {
    /// What to do for a request that needs a connection.
    public enum Choice: Equatable {
        /// Use this idle connection.
        case reuse(Handle, server: Int)
        /// Open a connection to this server.
        case connect(server: Int)
        /// Every server has all the connections it may have: wait until one is free.
        case wait
        /// And too many wait already.
        case refuse
    }

    /// As the configuration describes it.
    public private(set) var settings: UpstreamSettings
    private var endpoints: EndpointTable
    private var waiting = Deque()
    private let workers: Int
    private var nextServer = 0

    /// A pool for one of `workers` workers, which share the limits of the upstream evenly.
    public init(_ settings: UpstreamSettings, workers: Int) {
        precondition(!settings.servers.isEmpty && workers > 0)
        self.settings = settings
        self.workers = workers
        endpoints = EndpointTable(
            settings, connectionsEach: Self.share(settings.maximumConnections, of: workers))
    }

    /// A limit for one of several workers: rounded up, so that none is left without.
    private static func share(_ limit: Int, of workers: Int) -> Int {
        max(1, (limit + workers - 1) / workers)
    }

    /// How many servers there are.
    public var serverCount: Int { endpoints.count }

    /// Where a server listens.
    public func address(ofServer server: Int) -> SocketAddress { endpoints[server].address }

    /// The value of Host for a server, where the client's is not preserved.
    @_lifetime(borrow self)
    public func authority(ofServer server: Int) -> Span<UInt8> { endpoints.authority(server) }

    /// A server's address as text.
    @_lifetime(borrow self)
    public func name(ofServer server: Int) -> Span<UInt8> { endpoints.name(server) }

    /// Chooses a connection for a request and takes it out of the pool, or counts the new one. `avoiding` names a
    /// server that has just failed for this request: it is taken only where there is no other.
    public mutating func choose(avoiding failed: Int? = nil) -> Choice {
        let server = pick(avoiding: failed)
        guard let server else { return hasRoomToWait ? .wait : .refuse }
        endpoints[server].inFlight += 1
        if let handle = endpoints[server].idle.popLast() { return .reuse(handle, server: server) }
        endpoints[server].connections += 1
        return .connect(server: server)
    }

    /// Like `choose`, but always a new connection to the same server, for the retry of a request that met a
    /// connection which the server had just closed; nil where the server may have no further one.
    public mutating func chooseFresh(server: Int) -> Choice? {
        guard endpoints[server].connections < endpoints[server].maximumConnections else { return nil }
        endpoints[server].inFlight += 1
        endpoints[server].connections += 1
        return .connect(server: server)
    }

    /// The request on this server's connection is over; the connection waits for the next.
    public mutating func giveBack(_ connection: Handle, server: Int) {
        endpoints[server].inFlight -= 1
        endpoints[server].idle.append(connection)
    }

    /// The connection is gone while a request was on it.
    public mutating func closedInUse(server: Int) {
        endpoints[server].inFlight -= 1
        endpoints[server].connections -= 1
    }

    /// The connection is gone while it was idle.
    public mutating func closedIdle(_ connection: Handle, server: Int) {
        guard let position = endpoints[server].idle.firstIndex(of: connection) else { return }
        endpoints[server].idle.remove(at: position)
        endpoints[server].connections -= 1
    }

    /// Queues a request until a connection is free.
    public mutating func enqueue(_ request: Handle) {
        waiting.append(request)
    }

    /// Takes a request out of the queue, where it is there.
    public mutating func withdraw(_ request: Handle) {
        waiting.remove(request)
    }

    /// The request that has waited longest, where a connection can be had for it now.
    public mutating func dequeue() -> Handle? {
        guard !waiting.isEmpty, canServeAny else { return nil }
        return waiting.popFirst()
    }

    /// Connections that are open or being opened, to all servers.
    public var connectionCount: Int {
        var sum = 0
        for server in 0..<endpoints.count { sum += endpoints[server].connections }
        return sum
    }

    /// How many requests wait.
    public var waitingCount: Int { waiting.count }

    /// Every idle connection, which the caller closes; for draining.
    public mutating func takeIdle() -> [(Handle, server: Int)] {
        var all: [(Handle, server: Int)] = []
        for server in 0..<endpoints.count {
            for handle in endpoints[server].idle { all.append((handle, server)) }
            endpoints[server].connections -= endpoints[server].idle.count
            endpoints[server].idle.removeAll(keepingCapacity: true)
        }
        return all
    }

    private var hasRoomToWait: Bool {
        waiting.count < Self.share(settings.maximumPending, of: workers)
    }

    private var canServeAny: Bool {
        for server in 0..<endpoints.count where canServe(server) { return true }
        return false
    }

    private func canServe(_ server: Int) -> Bool {
        !endpoints[server].idle.isEmpty
            || endpoints[server].connections < endpoints[server].maximumConnections
    }

    private mutating func pick(avoiding failed: Int?) -> Int? {
        if endpoints.count == 1 { return canServe(0) ? 0 : nil }
        let best =
            switch settings.balance {
            case .roundRobin: pickInTurn(avoiding: failed)
            case .leastRequests: pickLeastBusy(avoiding: failed)
            }
        if let best { return best }
        guard let failed, canServe(failed) else { return nil }
        return failed
    }

    /// Smooth weighted round-robin: each server earns its weight, the richest serves and pays the sum.
    private mutating func pickInTurn(avoiding failed: Int?) -> Int? {
        var best: Int?
        var total = 0
        for server in 0..<endpoints.count where server != failed && canServe(server) {
            endpoints[server].credit += endpoints[server].weight
            total += endpoints[server].weight
            if let current = best, endpoints[current].credit >= endpoints[server].credit { continue }
            best = server
        }
        if let best { endpoints[best].credit -= total }
        return best
    }

    /// The fewest requests for its weight; among equals the one after the last choice, so that none is favoured.
    private mutating func pickLeastBusy(avoiding failed: Int?) -> Int? {
        var best: Int?
        for offset in 0..<endpoints.count {
            let server = (nextServer + offset) % endpoints.count
            guard server != failed, canServe(server) else { continue }
            guard let current = best else {
                best = server
                continue
            }
            let isLess =
                endpoints[server].inFlight * endpoints[current].weight
                < endpoints[current].inFlight * endpoints[server].weight
            if isLess { best = server }
        }
        if let best { nextServer = (best + 1) % endpoints.count }
        return best
    }
}
