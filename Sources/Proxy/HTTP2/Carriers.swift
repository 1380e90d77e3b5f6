internal import Bytes
internal import HTTP
internal import HTTP2
internal import Reactor
internal import TLS
internal import Telemetry
internal import Upstream

// Connections to servers that speak HTTP/2: each carries many requests. A stream has an entry of its own among the
// servers, as those of clients have among the clients, so that the steps of a request are the same for both versions.
//
// Where the pool counts connections it counts streams: how many connections they need is settled here, by how many
// streams the server takes on one.

/// What a connection to a server has besides its entry among the servers.
struct Carrier: ~Copyable {
    var session: HTTP2Session
    /// The connection's entry.
    let connection: Handle
    let pool: Handle
    /// The server's number in the pool.
    let server: Int
    /// The connection's own buffers, while the session works on them.
    var input = Buffer()
    var output = Buffer()
    /// Streams that wait for the server's SETTINGS.
    var waiting: [Handle] = []
    /// Streams that are on it, those included.
    var streams = 0
    /// How many requests it has carried.
    var requestsServed = 0
    /// The server has said what it takes.
    var isReady = false
    /// No further request goes onto it.
    var isEnding = false
    /// Its server takes nothing more: what it has sent is read, and no more is waited for.
    var isCut = false
    /// The server has said so, and requests that waited for a stream were told.
    var hasRefused = false
    /// It is among those that write at the end of the turn.
    var isUnsent = false
    /// It is among those with work left over.
    var isLeftOver = false
    /// When a server that does not read has had its time.
    var writeDeadline = Instant.never
    /// When something arrived last.
    var lastRead: Instant
    /// When the first request was sent, of those that got no answer in their time since then.
    var silentSince = Instant(microseconds: .min)

    init(_ session: consuming HTTP2Session, connection: Handle, pool: Handle, server: Int, now: Instant) {
        self.session = session
        self.connection = connection
        self.pool = pool
        self.server = server
        lastRead = now
    }
}

/// The carriers of one pool.
struct CarrierList {
    var handles: [Handle] = []
    /// How many streams its servers take on one connection, as one of them said last.
    var streamLimit = CarrierList.largestStreamCount

    /// The most streams on one connection: more would share one window and one lost packet.
    static let largestStreamCount = 100
    /// How many connections that a server does not read from are enough to tell that it reads from none: the first may be
    /// one that the network has lost.
    static let mostClogged = 2

    /// How many streams a connection carries by what its server has said last; one at least, so that one waits for more.
    static func streamLimit(of session: borrowing HTTP2Session) -> Int {
        min(max(session.remoteStreamLimit, 1), largestStreamCount)
    }
}

extension Worker {
    /// How long the last words to a server may take, in milliseconds.
    private static var goodbyeMilliseconds: Int64 { 1000 }

    // MARK: A stream for a request

    /// Puts a request onto a stream to that server: on a connection with room, else on a new one, and where there may be
    /// no more of them on the one with the fewest, where it waits until the server takes another stream.
    mutating func openServerStream(_ exchange: UInt32, server: Int) {
        let upstream = exchanges[exchange].pool
        exchanges[exchange].serverNumber = server
        let choice = servers.isFull ? .exhausted : chooseCarrier(upstream, server)
        guard case .carrier(let carrier) = choice else {
            pools[upstream.index].closedInUse(server: server)
            return streamFailed(exchange, server: server, choice)
        }
        var entry = UpstreamConnection(
            streamOn: carrier, pool: upstream, server: server, exchange: exchanges.handle(at: exchange))
        entry.requestsServed = carriers[carrier.index].requestsServed
        let stream = servers.insert(entry)
        carriers[carrier.index].streams += 1
        carriers[carrier.index].requestsServed += 1
        guard attach(stream, to: exchange, server: server) else { return }
        guard carriers[carrier.index].isReady else {
            carriers[carrier.index].waiting.append(stream)
            exchanges[exchange].phase = .connecting
            return setExchangeDeadline(exchange)
        }
        startExchange(stream.index)
    }

    private enum CarrierChoice {
        case carrier(Handle)
        /// No connection can be had: the server is away, or reads nothing.
        case unreachable
        /// As many requests as may wait for a stream, which is nobody's fault.
        case crowded
        /// The worker has no room for another stream.
        case exhausted
    }

    /// There is no stream for a request at that server: another server may have one, where this one is at fault or full.
    private mutating func streamFailed(_ exchange: UInt32, server: Int, _ choice: CarrierChoice) {
        if case .crowded = choice { return tryElsewhere(exchange, after: server) }
        counters.add(1, to: .upstreamConnectFailures)
        if case .exhausted = choice { return replyUnavailable(exchange, "out_of_resources") }
        connectFailed(exchange, server: server)
    }

    /// The connection that the next stream goes onto. One whose server does not read counts among those that there may be.
    private mutating func chooseCarrier(_ upstream: Handle, _ server: Int) -> CarrierChoice {
        let list = carriersOfPool[upstream.index] ?? CarrierList()
        // With room for a stream; without.
        var (best, full): (Handle?, Handle?) = (nil, nil)
        var (count, cloggedCount, crowdedCount) = (0, 0, 0)
        for handle in list.handles where carriers[handle.index].server == server {
            guard !carriers[handle.index].isEnding,
                !carriers[handle.index].isReady || carriers[handle.index].session.takesRequests
            else { continue }
            count += 1
            guard !isClogged(handle) else {
                cloggedCount += 1
                continue
            }
            if carriers[handle.index].streams < streamLimit(handle, list) {
                best = lessBusy(handle, best)
            } else if !carriers[handle.index].isReady || !carriers[handle.index].session.isQueueLong {
                // Requests wait in the session for a stream to end, and their heads stay there when their clients leave: no
                // more of them than the session takes.
                full = lessBusy(handle, full)
            } else {
                crowdedCount += 1
            }
        }
        if let best { return .carrier(best) }
        let mayOpen =
            count < pools[upstream.index].carrierLimit && cloggedCount < CarrierList.mostClogged
        if mayOpen, let opened = openCarrier(upstream, server) { return .carrier(opened) }
        if let full { return .carrier(full) }
        return !mayOpen && crowdedCount > 0 && cloggedCount == 0 ? .crowded : .unreachable
    }

    private func lessBusy(_ carrier: Handle, _ other: Handle?) -> Handle {
        guard let other, carriers[other.index].streams <= carriers[carrier.index].streams else {
            return carrier
        }
        return other
    }

    /// How many streams a connection carries. What its server says of that holds from when it comes, at any time: what is too
    /// much waits in the session for streams to end, which others may take long to.
    private func streamLimit(_ carrier: Handle, _ list: CarrierList) -> Int {
        guard carriers[carrier.index].isReady else { return list.streamLimit }
        return CarrierList.streamLimit(of: carriers[carrier.index].session)
    }

    /// True where a server has stopped reading and enough waits for it. The head of a request stays there when its client
    /// has long left, counted by nobody, until `body_timeout` ends the connection.
    private func isClogged(_ carrier: Handle) -> Bool {
        carriers[carrier.index].writeDeadline != .never && carriers[carrier.index].session.isQueueLong
    }

    private mutating func openCarrier(_ upstream: Handle, _ server: Int) -> Handle? {
        guard !carriers.isFull,
            let session = HTTP2Session(
                limits: HTTP2Limits(
                    head: responseLimits, streamCount: CarrierList.largestStreamCount,
                    connectionWindowBytes: CarrierList.largestStreamCount * HTTP2Limits.streamWindowBytes),
                as: .client, memory: sessionMemory, now: now.microseconds),
            case .opened(let handle) = openConnection(upstream, server: server, for: .none)
        else { return nil }
        counters.add(1, to: .upstreamConnects)
        // Its streams may all be silent, and those who wait for one send nothing: of a server that has vanished without a word
        // nothing else would tell. Half a minute is half of the time for which they wait by default.
        servers[handle.index].transport.socket.watchPeer(afterSeconds: 15, times: 3, everySeconds: 5)
        let carrier = carriers.insert(
            Carrier(session, connection: handle, pool: upstream, server: server, now: now))
        servers[handle.index].carrier = carrier
        carriersOfPool[upstream.index, default: CarrierList()].handles.append(carrier)
        let timeout = pools[upstream.index].settings.connectTimeoutMilliseconds
        serverDeadlines.set(handle.index, now.advanced(byMilliseconds: timeout))
        return carrier
    }

    /// TCP, and TLS where there is one, are there: HTTP/2 begins.
    mutating func startCarrier(_ server: UInt32) {
        let carrier = servers[server].carrier
        guard !servers[server].transport.isSecure || servers[server].transport.isHTTP2 else {
            return carrierFailed(carrier, "server_speaks_no_http2")
        }
        servers[server].phase = .carrying
        sendLater(carrier: carrier)
        advanceCarrier(server)
    }

    // MARK: The beginning

    /// The server has said how many streams it takes: those that wait begin, and those that are too many look for room
    /// elsewhere.
    mutating func carrierReady(_ carrier: Handle) {
        carriers[carrier.index].isReady = true
        serverDeadlines.set(carriers[carrier.index].connection.index, .never)
        let limit = CarrierList.streamLimit(of: carriers[carrier.index].session)
        carriersOfPool[carriers[carrier.index].pool.index]?.streamLimit = limit
        var waiting: [Handle] = []
        swap(&waiting, &carriers[carrier.index].waiting)
        var place = 0
        while place < waiting.count {
            let stream = waiting[place]
            place += 1
            guard servers.contains(stream), servers[stream.index].phase == .connecting else { continue }
            if place > limit { moveStream(stream) } else { startExchange(stream.index) }
        }
    }

    /// Puts a request that nothing was sent of onto another connection.
    private mutating func moveStream(_ stream: Handle) {
        let exchange = servers[stream.index].exchange.index
        let number = servers[stream.index].server
        let carrier = servers[stream.index].carrier
        exchanges[exchange].server = .none
        if carriers.contains(carrier) { carriers[carrier.index].streams -= 1 }
        _ = servers.remove(stream)
        serverDeadlines.set(stream.index, .never)
        let upstream = exchanges[exchange].pool.index
        guard pools[upstream].mayConnect(server: number) else {
            // It has gone, or fallen ill, since the request has chosen it.
            pools[upstream].closedInUse(server: number)
            return acquireServer(exchange, avoiding: number)
        }
        openServerStream(exchange, server: number)
    }

    /// Lets a connection go on in the next turn, once.
    mutating func resumeNextTurn(carrier: Handle) {
        guard !carriers[carrier.index].isLeftOver else { return }
        carriers[carrier.index].isLeftOver = true
        carriersLeftOver.append(carrier)
    }

    /// Goes on with connections that had more than one turn's work.
    mutating func resumeCarriers() {
        guard !carriersLeftOver.isEmpty else { return }
        var due: [Handle] = []
        swap(&due, &carriersLeftOver)
        for carrier in due where carriers.contains(carrier) {
            carriers[carrier.index].isLeftOver = false
            advanceServer(carriers[carrier.index].connection.index)
        }
    }

    // MARK: The end

    /// All is written: the connection is over, or waits for what comes next.
    mutating func settleCarrier(_ carrier: Handle) {
        guard carriers.contains(carrier) else { return }
        let server = carriers[carrier.index].connection.index
        if carriers[carrier.index].session.isFinished { return loseCarrier(carrier) }
        guard carriers[carrier.index].isReady else { return }
        guard carriers[carrier.index].streams == 0 else { return serverDeadlines.set(server, .never) }
        if mayIdle(carrier) {
            guard serverDeadlines.deadline(of: server) == .never else { return }
            let timeout = pools[carriers[carrier.index].pool.index].settings.idleTimeoutMilliseconds
            return serverDeadlines.set(server, now.advanced(byMilliseconds: timeout))
        }
        endCarrier(carrier)
    }

    private func mayIdle(_ carrier: Handle) -> Bool {
        let upstream = carriers[carrier.index].pool
        return !isDraining && !carriers[carrier.index].isEnding && poolOfUpstream.contains(upstream)
            && !pools[upstream.index].isRetired(carriers[carrier.index].server)
            && carriers[carrier.index].session.takesRequests
    }

    /// Says goodbye to the server.
    private mutating func endCarrier(_ carrier: Handle) {
        carriers[carrier.index].isEnding = true
        carriers[carrier.index].session.end(.noError)
        let server = carriers[carrier.index].connection.index
        serverDeadlines.set(server, now.advanced(byMilliseconds: Self.goodbyeMilliseconds))
        sendLater(carrier: carrier)
    }

    /// The connection's deadline has passed.
    mutating func carrierTooSlow(_ server: UInt32) {
        let carrier = servers[server].carrier
        if !carriers[carrier.index].isReady { return carrierFailed(carrier, "server_speaks_no_http2") }
        if carriers[carrier.index].writeDeadline <= now {
            // No further request goes there; those that are on it have deadlines of their own.
            carriers[carrier.index].isEnding = true
            return carriers[carrier.index].streams == 0 ? loseCarrier(carrier) : ()
        }
        guard carriers[carrier.index].streams == 0 else {
            return serverDeadlines.set(server, carriers[carrier.index].writeDeadline)
        }
        if carriers[carrier.index].isEnding { return loseCarrier(carrier) }
        endCarrier(carrier)
    }

    /// No connection came about, or none that speaks HTTP/2: nothing of any request was sent.
    mutating func carrierFailed(_ carrier: Handle, _ detail: StaticString) {
        let (waiting, server) = (carriers[carrier.index].waiting, carriers[carrier.index].server)
        removeCarrier(carrier)
        counters.add(1, to: .upstreamConnectFailures)
        for stream in waiting where servers.contains(stream) {
            let exchange = servers[stream.index].exchange.index
            exchanges[exchange].notes.note(refusal: detail)
            exchanges[exchange].server = .none
            closeServer(stream.index, wasBusy: true)
            connectFailed(exchange, server: server)
        }
    }

    /// The connection is gone, or of no use any more; its streams learn of it.
    mutating func loseCarrier(_ carrier: Handle) {
        guard carriers[carrier.index].isReady else { return carrierFailed(carrier, "server_speaks_no_http2") }
        for slot in 0..<carriers[carrier.index].session.slots {
            let stream = carriers[carrier.index].session.owner(slot)
            guard servers.contains(stream) else { continue }
            let isUnsent = carriers[carrier.index].session.isUnsent(slot)
            let code: HTTP2ErrorCode = isUnsent ? .refusedStream : .internalError
            noteLoss(stream, code: code.rawValue, isOfConnection: !isUnsent)
        }
        removeCarrier(carrier)
        advanceAnswered()
    }

    private mutating func removeCarrier(_ handle: Handle) {
        var carrier = carriers.remove(handle)
        carriersOfPool[carrier.pool.index]?.handles.removeAll { $0 == handle }
        carrier.input.detach(to: &pool)
        carrier.output.detach(to: &pool)
        guard servers.contains(carrier.connection) else { return }
        var connection = servers.remove(carrier.connection)
        connection.transport.sayGoodbye()
        connection.transport.releaseBuffers(to: &pool)
        serverDeadlines.set(carrier.connection.index, .never)
    }

    /// Ends the connections that nothing is on: of all pools, or of those to servers that are gone.
    mutating func endIdleCarriers() {
        for slot in 0..<carriers.slots where carriers.isLive(slot) && carriers[slot].streams == 0 {
            let handle = carriers.handle(at: slot)
            guard !mayIdle(handle) else { continue }
            // A number may go to another server at once: the connection must not be there any more.
            guard carriers[slot].isReady else {
                removeCarrier(handle)
                continue
            }
            carriers[slot].session.end(.noError)
            sendCarrier(handle)
            if carriers.contains(handle) { loseCarrier(handle) }
        }
    }

    /// Forgets the connections of a pool that is gone.
    mutating func forgetCarriers(ofPool upstream: Handle) {
        for handle in carriersOfPool[upstream.index]?.handles ?? [] where carriers.contains(handle) {
            removeCarrier(handle)
        }
        carriersOfPool[upstream.index] = nil
    }
}
