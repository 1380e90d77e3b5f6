internal import Bytes
internal import HTTP
internal import HTTP1
internal import Reactor
internal import Telemetry
internal import Upstream

// Step 4: the request gets a connection to a server of its upstream.

extension Worker {
    /// Finds a connection for a request, or queues it, or answers that there is none. One that `hasWaited`, and has to wait on,
    /// is left as it is.
    mutating func acquireServer(_ exchange: UInt32, avoiding failed: Int? = nil, hasWaited: Bool = false) {
        let upstream = exchanges[exchange].pool
        while true {
            let choice = pools[upstream.index].choose(
                at: now, user: exchanges[exchange].user, avoiding: failed, hasWaited: hasWaited)
            switch choice {
            case .reuse(let connection, let server):
                guard isFit(connection, exchange) else {
                    closeServer(connection.index, wasBusy: true)
                    continue
                }
                return sendOn(connection, exchange, server: server)
            case .connect(let server):
                return connect(exchange, server: server, hasWaited: hasWaited)
            case .wait:
                return hasWaited ? () : awaitConnection(exchange, upstream)
            case .refuse:
                return reply(exchange, .overloaded)
            case .unavailable:
                return replyUnavailable(exchange, "no_healthy_server")
            }
        }
    }

    /// A request that must not be sent twice goes only onto a connection that is surely open: for it, and for it
    /// alone, the kernel is asked.
    private func isFit(_ connection: Handle, _ exchange: UInt32) -> Bool {
        guard !servers[connection.index].transport.isReadable else { return false }
        return mayTryAgain(exchange) || servers[connection.index].transport.isQuiet()
    }

    /// Without a further try, a connection that turns out to be closed would be the answer.
    func mayTryAgain(_ exchange: UInt32) -> Bool {
        mayBeSentTwice(exchange) && exchanges[exchange].retriesLeft > 0
    }

    private func mayBeSentTwice(_ exchange: UInt32) -> Bool {
        RetryRule.allows(
            exchanges[exchange].method, after: .maybeProcessed, isReplayable: exchanges[exchange].isReplayable
        )
    }

    /// Something was there on a connection before the request that it was taken for in this very turn: the server has
    /// left, or went on talking behind its last answer. That is no answer to this request, which tries elsewhere.
    mutating func spokeUnasked(_ server: UInt32) -> Bool {
        guard servers[server].phase == .busy, servers[server].transport.isReadable,
            servers[server].transport.input.isEmpty,
            // Once it is on its way, what is there may be its answer, whenever the kernel has first spoken of it.
            exchanges[servers[server].exchange.index].sentBytes == 0
        else { return false }
        return leaveIfUnasked(server)
    }

    /// Asks the kernel whether there is something on a connection whose request is not out yet; true where the request
    /// tries elsewhere for that.
    mutating func leaveIfUnasked(_ server: UInt32) -> Bool {
        guard speaksUnasked(server) else { return false }
        servers[server].transport.input.detach(to: &pool)
        serverLeft(servers[server].exchange.index)
        return true
    }

    private mutating func sendOn(_ connection: Handle, _ exchange: UInt32, server: Int) {
        servers[connection.index].phase = .busy
        servers[connection.index].requestsServed += 1
        servers[connection.index].parser = ResponseHeadParser()
        servers[connection.index].reusedInTurn = mayTryAgain(exchange) ? turns : 0
        guard attach(connection, to: exchange, server: server) else { return }
        exchanges[exchange].phase = .relaying
        // What the kernel has just said of the connection holds for now, and not for the end of the turn.
        guard mayTryAgain(exchange) else { return advanceExchange(exchange) }
        advanceLater(exchange)
    }

    /// Gives a connection to an exchange; false where that is over.
    mutating func attach(_ connection: Handle, to exchange: UInt32, server: Int) -> Bool {
        servers[connection.index].exchange = exchanges.handle(at: exchange)
        // What is left of its time in the pool does not count for the request.
        serverDeadlines.set(connection.index, .never)
        exchanges[exchange].server = connection
        exchanges[exchange].serverNumber = server
        let upstream = exchanges[exchange].pool.index
        guard nameServer(exchange, server) else { return false }
        if accessLog.isOn { exchanges[exchange].notes.note(server: server, of: &pools[upstream]) }
        if exchanges[exchange].isTraced { beginAttempt(exchange, server: server) }
        return true
    }

    /// Opens a connection for a request.
    mutating func connect(_ exchange: UInt32, server: Int, hasWaited: Bool = false) {
        let upstream = exchanges[exchange].pool
        if pools[upstream.index].settings.speaksHTTP2 { return openServerStream(exchange, server: server) }
        exchanges[exchange].serverNumber = server
        let handle: Handle
        switch openConnection(upstream, server: server, for: exchanges.handle(at: exchange)) {
        case .opened(let opened): handle = opened
        case .refused:
            counters.add(1, to: .upstreamConnectFailures)
            pools[upstream.index].closedInUse(server: server)
            return connectFailed(exchange, server: server)
        case .crowded:
            pools[upstream.index].closedInUse(server: server)
            return crowdedOut(exchange, server: server, hasWaited: hasWaited)
        case .exhausted:
            // No server is at fault, and none would do better.
            counters.add(1, to: .upstreamConnectFailures)
            pools[upstream.index].closedInUse(server: server)
            return replyUnavailable(exchange, "out_of_resources")
        }
        counters.add(1, to: .upstreamConnects)
        servers[handle.index].openedAt = now
        guard attach(handle, to: exchange, server: server) else { return }
        exchanges[exchange].phase = .connecting
        let timeout = pools[upstream.index].settings.connectTimeoutMilliseconds
        serverDeadlines.set(handle.index, now.advanced(byMilliseconds: timeout))
        setExchangeDeadline(exchange)
    }

    enum Opening {
        case opened(Handle)
        /// The server, or the network, says no.
        case refused
        /// More connections wait at the server's Unix socket than it takes.
        case crowded
        /// The process has no descriptor, memory or port for it.
        case exhausted
    }

    /// Opens a connection. Where the descriptors are spent, an idle connection to any server makes room for it.
    mutating func openConnection(_ upstream: Handle, server: Int, for exchange: Handle) -> Opening {
        guard !servers.isFull || closeOneIdle() else { return .exhausted }
        let opening = tryToOpen(upstream, server: server, for: exchange)
        guard case .exhausted = opening, closeOneIdle() else { return opening }
        return tryToOpen(upstream, server: server, for: exchange)
    }

    /// Closes one connection that no request needs right now; false where there is none.
    private mutating func closeOneIdle() -> Bool {
        for upstream in poolOfUpstream {
            guard let connection = pools[upstream.index].oldestIdle else { continue }
            closeServer(connection.index, wasBusy: false)
            return true
        }
        return false
    }

    /// Closes all connections of a pool that have no request.
    mutating func closeIdle(of upstream: Handle) {
        while let connection = pools[upstream.index].oldestIdle {
            closeServer(connection.index, wasBusy: false)
        }
    }

    private mutating func tryToOpen(_ upstream: Handle, server: Int, for exchange: Handle) -> Opening {
        do {
            let socket = try Socket.connecting(to: pools[upstream.index].address(ofServer: server))
            let descriptor = socket.descriptor
            let handle = servers.insert(
                UpstreamConnection(
                    socket, pool: upstream, server: server, exchange: exchange))
            do {
                try poller.add(
                    descriptor, token: EventToken(.server, handle).rawValue,
                    for: [.readable, .writable, .peerClosed, .edgeTriggered])
                return .opened(handle)
            } catch {
                _ = servers.remove(handle)
                return .exhausted
            }
        } catch {
            return error.isExhaustion ? .exhausted : error.isTooMuchAtOnce ? .crowded : .refused
        }
    }

    /// No server can be had; the log says why, as closely as it is known.
    mutating func replyUnavailable(_ exchange: UInt32, _ detail: StaticString) {
        exchanges[exchange].notes.noteUnlessKnown(refusal: detail)
        reply(exchange, .upstreamUnavailable)
    }

    /// A connect was refused or took too long: nothing was sent, so another server may be tried.
    mutating func connectFailed(_ exchange: UInt32, server: Int) {
        noteFailure(at: exchanges[exchange].pool, server: server)
        tryElsewhere(exchange, after: server)
    }

    /// The request goes to another address or server, where it may.
    mutating func tryElsewhere(_ exchange: UInt32, after server: Int) {
        exchanges[exchange].server = .none
        let upstream = exchanges[exchange].pool
        if tryNextAddress(exchange, after: server) { return }
        guard exchanges[exchange].retriesLeft > 0, pools[upstream.index].serverCount > 1 else {
            return replyUnavailable(exchange, "no_connection")
        }
        exchanges[exchange].retriesLeft -= 1
        counters.add(1, to: .upstreamRetries)
        // No server has seen anything of the request, so that this costs nothing of the retry budget.
        pools[upstream.index].noteReconnect()
        acquireServer(exchange, avoiding: server)
    }

    /// Tries the next address of the same name, which is no retry: to whoever wrote the name it is one server (RFC 8305
    /// means the same). False where there is none that was not tried.
    private mutating func tryNextAddress(_ exchange: UInt32, after server: Int) -> Bool {
        let upstream = exchanges[exchange].pool.index
        let most = min(pools[upstream].siblingCount(of: server), Self.furtherAddresses)
        guard exchanges[exchange].addressesTried < most else { return false }
        exchanges[exchange].addressesTried += 1
        switch pools[upstream].chooseSibling(of: server, at: now) {
        case .reuse(let connection, let server) where isFit(connection, exchange):
            sendOn(connection, exchange, server: server)
        case .reuse(let connection, _):
            closeServer(connection.index, wasBusy: true)
            return false
        case .connect(let server):
            connect(exchange, server: server)
        default:
            return false
        }
        return true
    }

    /// Addresses of one name that are tried for one request, besides the first: each may take `connect_timeout`.
    private static var furtherAddresses: Int { 3 }

    mutating func awaitConnection(_ exchange: UInt32, _ upstream: Handle) {
        pools[upstream.index].enqueue(exchanges.handle(at: exchange))
        exchanges[exchange].phase = .waiting
        askOtherWorkers(upstream)
        let timeout = pools[upstream.index].settings.connectTimeoutMilliseconds
        exchanges[exchange].stallDeadline = now.advanced(byMilliseconds: timeout)
        setExchangeDeadline(exchange)
    }

    /// Gives connections that have become free, or room for new ones, to the requests that have waited longest. Done
    /// once a turn, and not where a connection is freed, so that one failure cannot nest in another.
    mutating func serveWaiting() {
        guard !freed.isEmpty else { return }
        swap(&freed, &serving)
        var place = 0
        while place < serving.count {
            if pools.contains(serving[place]) { serveWaiting(at: serving[place]) }
            place += 1
        }
        serving.removeAll(keepingCapacity: true)
    }

    private mutating func serveWaiting(at upstream: Handle) {
        // Each one once: a request that loses its connection and has to wait for another is behind all others.
        var left = pools[upstream.index].waitingCount
        while left > 0, let handle = pools[upstream.index].dequeue(at: now) {
            left -= 1
            guard exchanges.contains(handle), exchanges[handle.index].phase == .waiting else { continue }
            let deadline = exchanges[handle.index].stallDeadline
            exchanges[handle.index].stallDeadline = .never
            acquireServer(handle.index, hasWaited: true)
            guard exchanges.contains(handle), exchanges[handle.index].phase == .waiting,
                !pools[upstream.index].isWaiting(handle)
            else { continue }
            // Another worker was faster: it keeps its place, and what is left of its time. Nor is there room for the others.
            exchanges[handle.index].stallDeadline = deadline
            pools[upstream.index].putBack(handle)
            askOtherWorkers(upstream)
            break
        }
        retirePoolIfUnused(upstream)
    }

    /// Remembers that a pool has room again, where somebody waits for it; and that one of earlier settings may have
    /// become unused. It goes at the end of the turn only: whoever lost this connection may try another one yet.
    mutating func noteRoom(_ upstream: Handle) {
        // Whoever waits in another worker is called, and is to have as good a chance: here they look in two milliseconds.
        let isShared = pools[upstream.index].sharesConnections
        if isShared { pools[upstream.index].offerRoom() }
        if (pools[upstream.index].waitingCount > 0 && !isShared) || !poolOfUpstream.contains(upstream) {
            freed.append(upstream)
        }
    }

    /// Takes a request that needs no connection any more out of the queue: who has left keeps nobody else out.
    mutating func leaveQueue(_ exchange: UInt32) {
        let upstream = exchanges[exchange].pool
        guard exchanges[exchange].phase == .waiting, pools.contains(upstream) else { return }
        pools[upstream.index].withdraw(exchanges.handle(at: exchange))
        noteRoom(upstream)
    }

    /// Something happened on a connection to a server.
    mutating func advanceServer(_ server: UInt32) {
        switch servers[server].phase {
        // A stream waits for its connection.
        case .connecting where servers[server].transport.isStream: break
        case .connecting: finishConnecting(server)
        case .handshaking:
            let handle = servers.handle(at: server)
            writeBeforeStep()
            if servers.contains(handle) { shakeHands(withServer: server) }
        // A server that speaks unasked, or leaves: no further request goes there.
        case .idle:
            guard servers[server].transport.isReadable else { return }
            if !servers[server].transport.isSecure || speaksUnasked(server) {
                closeServer(server, wasBusy: false)
            }
        case .busy where servers[server].isLost: streamLost(server)
        case .busy: advanceExchange(servers[server].exchange.index)
        case .ending: if servers[server].stream.slot < 0 { closeServerStream(server) }
        case .carrying: advanceCarrier(server)
        }
    }

    private mutating func finishConnecting(_ server: UInt32) {
        guard servers[server].transport.isWritable || servers[server].transport.isBroken else { return }
        let exchange = servers[server].exchange.index
        let number = servers[server].server
        guard servers[server].transport.socket.pendingError() == nil else {
            if !servers[server].carrier.isNone { return carrierFailed(servers[server].carrier, "") }
            counters.add(1, to: .upstreamConnectFailures)
            closeServer(server, wasBusy: true)
            return connectFailed(exchange, server: number)
        }
        guard pools[servers[server].pool.index].settings.security == nil else {
            return beginHandshake(withServer: server)
        }
        startExchange(server)
    }

    /// The connection is there: the request goes onto it.
    mutating func startExchange(_ server: UInt32) {
        if !servers[server].carrier.isNone, !servers[server].transport.isStream {
            return startCarrier(server)
        }
        let exchange = servers[server].exchange.index
        servers[server].phase = .busy
        exchanges[exchange].phase = .relaying
        serverDeadlines.set(server, .never)
        advanceExchange(exchange)
    }

    /// True where there is more on a connection without a request than TLS's own messages, such as tickets, which may
    /// come at any time.
    private mutating func speaksUnasked(_ server: UInt32) -> Bool {
        guard servers[server].transport.isSecure else { return !servers[server].transport.isQuiet() }
        return servers[server].transport.fill(from: &pool) != .wouldBlock
    }

    /// Ends a connection to a server and takes it off the books.
    mutating func closeServer(_ server: UInt32, wasBusy: Bool) {
        if servers[server].transport.isStream { return closeServerStream(server) }
        let handle = servers.handle(at: server)
        var connection = servers.remove(handle)
        if !wasBusy { connection.transport.sayGoodbye() }
        connection.transport.releaseBuffers(to: &pool)
        serverDeadlines.set(server, .never)
        let (upstream, number) = (connection.pool, connection.server)
        // Closed before the books say so: another worker may open one in its place at once.
        _ = consume connection
        guard pools.contains(upstream) else { return }
        if wasBusy {
            pools[upstream.index].closedInUse(server: number)
        } else {
            pools[upstream.index].closedIdle(handle, server: number)
        }
        noteRoom(upstream)
    }

    /// Gives a connection back to its pool after an exchange that left it clean.
    mutating func giveBackServer(_ server: UInt32) {
        let upstream = servers[server].pool
        let isCurrent =
            pools.contains(upstream) && poolOfUpstream.contains(upstream)
            && !pools[upstream.index].isRetired(servers[server].server)
        guard isCurrent, !isDraining, !servers[server].transport.isStream,
            pools[upstream.index].keepsConnections, !isWantedElsewhere(server),
            !servers[server].transport.isReadable
        else {
            return servers[server].transport.isStream
                ? awaitStreamEnd(server) : closeServer(server, wasBusy: true)
        }
        servers[server].phase = .idle
        servers[server].exchange = .none
        servers[server].transport.releaseBuffers(to: &pool)
        pools[upstream.index].giveBack(servers.handle(at: server), server: servers[server].server)
        let timeout = pools[upstream.index].settings.idleTimeoutMilliseconds
        serverDeadlines.set(server, now.advanced(byMilliseconds: timeout))
        if pools[upstream.index].waitingCount > 0 { freed.append(upstream) }
    }
}
