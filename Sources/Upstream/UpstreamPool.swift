public import Bytes
public import Reactor
internal import Telemetry

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
        /// No server is healthy, or none has an address.
        case unavailable
    }

    /// As the configuration describes it, with the servers of now.
    public private(set) var settings: UpstreamSettings
    var endpoints: EndpointTable
    private var waiting = RequestQueue()
    private let place: WorkerPlace
    private let worker: Int
    private let cells: UpstreamCells
    private var budget = RetryBudget()
    /// Who may be chosen, while somebody is.
    var candidates: [Int] = []
    /// What chance needs; no secret.
    var randomState: UInt64
    private let inPlace = InPlace()

    /// A pool for one of `workers` workers, which share the limits of the upstream evenly.
    public init(_ settings: UpstreamSettings, workers: Int, worker: Int = 0) {
        self.settings = settings
        place = WorkerPlace(worker, of: workers)
        self.worker = worker
        cells = settings.state.cells(ofWorker: worker)
        randomState = 0x2545_f491_4f6c_dd1d &* UInt64(worker + 1)
        let most = settings.maximumConnections
        sharesConnections = most < workers && !settings.speaksHTTP2
        keepsConnections = !sharesConnections || settings.maximumPending >= workers
        endpoints = EndpointTable(
            settings.servers,
            connectionsEach: sharesConnections
                ? most : place.share(of: most) * (settings.speaksHTTP2 ? Self.streamsPerConnection : 1),
            areShared: sharesConnections, worker: worker)
    }

    /// A server gets fewer connections than there are workers. All take from one count then, and one that is idle goes as
    /// soon as a request of another worker waits.
    public let sharesConnections: Bool
    /// Connections may wait for the next request. Not where they are shared and the queue is so short that a request which
    /// only waits for another worker to let go could be refused.
    public let keepsConnections: Bool

    /// What stands for a connection in the books where each carries many requests.
    private static var streamsPerConnection: Int { 100 }

    /// How many connections that carry streams one worker may have to one server.
    public var carrierLimit: Int { place.share(of: settings.maximumConnections) }

    deinit { cells.waiting.adjust(by: -waiting.count) }

    /// Goes on with these servers. The idle connections to those that are gone are off the books, and the caller closes
    /// them; the busy ones finish.
    public mutating func replaceServers(_ servers: [ServerSettings]) -> [Handle] {
        settings.servers = servers
        return endpoints.replace(servers)
    }

    /// How many servers there are.
    public var serverCount: Int { endpoints.active.count }

    /// True where no further request goes to that server.
    public func isRetired(_ server: Int) -> Bool { endpoints[server].isRetired }

    /// True where a server is still there and well, so that a connection may be opened to it for a request that has chosen it.
    public func mayConnect(server: Int) -> Bool {
        !endpoints[server].isRetired && endpoints[server].state.isUp
    }

    /// Where a server listens.
    public func address(ofServer server: Int) -> SocketAddress { endpoints[server].address }

    /// The value of Host for a server, where the client's is not preserved; empty for one that there is not.
    @_lifetime(borrow self)
    public func authority(ofServer server: Int) -> Span<UInt8> { endpoints.authority(server) }

    /// A server's address as text.
    @_lifetime(borrow self)
    public func name(ofServer server: Int) -> Span<UInt8> { endpoints.name(server) }

    // MARK: Choosing

    /// Chooses a connection for a request and takes it out of the pool, or counts the new one. `user` decides with
    /// `hashUser`. `avoiding` names a server that has just failed for this request: it is taken only where there is no
    /// other. `hasWaited`: the request was dequeued, and is refused no more.
    public mutating func choose(
        at now: Instant, user: UInt64 = 0, avoiding failed: Int? = nil, hasWaited: Bool = false
    ) -> Choice {
        // Nobody passes those who wait, in whichever worker.
        if sharesConnections, !hasWaited, settings.state.waiting > 0 { return waitOrRefuse() }
        switch pick(at: now, user: user, avoiding: failed) {
        case .server(let server):
            if failed == nil { budget.noteRequest() }
            return take(server, hasWaited: hasWaited)
        case .allBusy:
            return hasWaited ? .wait : waitOrRefuse()
        case .none:
            cells.unavailable.adjust(by: 1)
            return .unavailable
        }
    }

    /// What becomes of a request that gets no connection now.
    public func waitOrRefuse() -> Choice {
        if hasRoomToWait { return .wait }
        cells.refused.adjust(by: 1)
        return .refuse
    }

    /// Like `choose`, but always a new connection to the same server, which is counted, for the retry of a request that
    /// met a connection which the server had just closed; false where the server is not well, or may have no further one.
    public mutating func chooseFresh(server: Int) -> Bool {
        mayConnect(server: server) && endpoints[server].open()
    }

    /// A connection to the next address of the same name, where a connect to this one failed; nil where there is none.
    public mutating func chooseSibling(of server: Int, at now: Instant) -> Choice? {
        let count = endpoints.active.count
        guard count > 1, let place = endpoints.active.firstIndex(of: server) else { return nil }
        for offset in 1..<count {
            let other = endpoints.active[(place + offset) % count]
            guard isSibling(other, of: server), isEligible(other, at: now), endpoints[other].hasRoom else {
                continue
            }
            return take(other, hasWaited: false)
        }
        return nil
    }

    /// How many further addresses the name of that server has.
    public func siblingCount(of server: Int) -> Int {
        var count = 0
        for other in endpoints.active where isSibling(other, of: server) { count += 1 }
        return count
    }

    private func isSibling(_ other: Int, of server: Int) -> Bool {
        other != server && endpoints[other].authority == endpoints[server].authority
    }

    private mutating func take(_ server: Int, hasWaited: Bool) -> Choice {
        if let handle = endpoints[server].takeIdle() { return .reuse(handle, server: server) }
        // Another worker may have taken the last connection since its place was seen.
        if endpoints[server].open() { return .connect(server: server) }
        return hasWaited ? .wait : waitOrRefuse()
    }

    // MARK: Connections that come back, and that go

    /// The request on this server's connection is over; the connection waits for the next.
    public mutating func giveBack(_ connection: Handle, server: Int) {
        endpoints[server].giveBack(connection)
    }

    /// The connection is gone while a request was on it.
    public mutating func closedInUse(server: Int) {
        endpoints[server].closedInUse()
    }

    /// The connection is gone while it was idle.
    public mutating func closedIdle(_ connection: Handle, server: Int) {
        endpoints[server].closedIdle(connection)
    }

    /// Connections that are open or being opened, to all servers.
    public var connectionCount: Int {
        var sum = 0
        for server in 0..<endpoints.slotCount where endpoints.isLive(server) {
            sum += endpoints[server].connections
        }
        return sum
    }

    /// The connection that has been idle for longest at some server, for whoever has to close one; nil where there is none.
    public var oldestIdle: Handle? {
        for server in endpoints.active {
            if let handle = endpoints[server].idle.first { return handle }
        }
        return nil
    }

    // MARK: Connections that workers share

    /// Sets how other workers have this one look whether they want something of it, or have something for it.
    public func hangBell(_ call: @escaping @Sendable () -> Void) { cells.bell.hang(call) }

    /// This worker looks.
    public func answerBell() { cells.bell.answer() }

    /// How many requests of other workers wait.
    public var wantedElsewhere: Int { max(0, settings.state.waiting - waiting.count) }

    /// A request waits: calls the workers that have a connection and no request for it.
    public func askForConnections() {
        settings.state.ring(but: worker) { other, _ in
            for server in endpoints.active where endpoints[server].state.hasIdle(worker: other) {
                return true
            }
            return false
        }
    }

    /// There is room for another connection: calls the workers where a request waits for one.
    public func offerRoom() { settings.state.ring(but: worker) { _, waiting in waiting > 0 } }

    // MARK: Requests that wait

    /// Queues a request until a connection is free.
    public mutating func enqueue(_ request: Handle) {
        waiting.append(request)
        cells.waiting.adjust(by: 1)
    }

    /// Queues a request again that was dequeued for a connection which another worker has got first: before all others.
    public mutating func putBack(_ request: Handle) {
        waiting.prepend(request)
        cells.waiting.adjust(by: 1)
    }

    /// True for a request that is in the queue.
    public func isWaiting(_ request: Handle) -> Bool { waiting.contains(request) }

    /// Takes a request out of the queue, where it is there.
    public mutating func withdraw(_ request: Handle) {
        if waiting.remove(request) { cells.waiting.adjust(by: -1) }
    }

    /// The request that has waited longest, where a connection can be had for it now, or surely none will be.
    public mutating func dequeue(at now: Instant) -> Handle? {
        guard !waiting.isEmpty, endpoints.active.isEmpty || canServeAny(at: now) else { return nil }
        cells.waiting.adjust(by: -1)
        return waiting.popFirst()
    }

    /// How many requests wait.
    public var waitingCount: Int { waiting.count }

    /// All workers' queues count. Those that put a request into theirs at the same instant may not see each other's.
    private var hasRoomToWait: Bool { settings.state.waiting < settings.maximumPending }

    /// Must agree with `pick`, or whoever leaves the queue would come back to it at once, and again: room at an ejected
    /// server is none as long as another one is not ejected.
    private func canServeAny(at now: Instant) -> Bool {
        var (isAnyUp, isAnyEligible, isRoomAtEjected) = (false, false, false)
        for server in endpoints.active where endpoints[server].state.isUp {
            isAnyUp = true
            if isEligible(server, at: now) {
                if endpoints[server].hasRoom { return true }
                isAnyEligible = true
            } else if endpoints[server].hasRoom {
                isRoomAtEjected = true
            }
        }
        return !isAnyUp || (!isAnyEligible && isRoomAtEjected)
    }

    // MARK: Outcomes

    /// True where a request that a server may have seen may be sent once more: the retry budget pays for it.
    public mutating func permitsRetry(at now: Instant) -> Bool {
        guard budget.take(at: now) else {
            cells.retriesRefused.adjust(by: 1)
            return false
        }
        cells.retries.adjust(by: 1)
        return true
    }

    /// A request is sent to another server, or once more, because no connection could be had or its stream was refused: nobody
    /// has seen it.
    public mutating func noteReconnect() { cells.retries.adjust(by: 1) }

    /// An answer came with that status, so many microseconds after the request had gone.
    public func noteAnswer(status: Int, microseconds: Int64) {
        let duration = max(microseconds, 0)
        let digit = status / 100
        cells.responses[digit >= 1 && digit <= 5 ? digit : 0].adjust(by: 1)
        cells.durations[LatencyBuckets.index(microseconds: duration)].adjust(by: 1)
        cells.microseconds.adjust(by: Int(duration))
    }

    /// A server gave an answer that says nothing against it.
    public mutating func noteSuccess(server: Int) {
        // A store, and a count of references, only where it changes something: the cache line stays shared between
        // workers.
        if endpoints[server].state.hasFailed { endpoints[server].state.clearFailures() }
    }

    /// A request failed by the server's fault: it takes no connection, gives no answer, or says that it is out of order.
    public mutating func noteFailure(server: Int, at now: Instant) {
        endpoints[server].cells.failures.adjust(by: 1)
        guard let rule = settings.ejection else { return }
        let failures = endpoints[server].state.noteFailure()
        guard failures >= rule.consecutiveFailures, mayEject(server, at: now) else { return }
        endpoints[server].state.eject(until: now.advanced(byMilliseconds: rule.milliseconds))
    }

    /// At most half of the servers are ejected, so that a fault they all share, or a client that provokes failures, does
    /// not leave the load to a few. The only server never is.
    private func mayEject(_ server: Int, at now: Instant) -> Bool {
        guard !endpoints[server].isRetired, !endpoints[server].state.isEjected(at: now) else { return false }
        var ejected = 1
        for other in endpoints.active where endpoints[other].state.isEjected(at: now) { ejected += 1 }
        return ejected * 2 <= endpoints.active.count
    }
}
