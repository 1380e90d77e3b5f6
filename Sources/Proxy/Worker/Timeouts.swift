internal import Bytes
internal import HTTP
internal import Reactor
internal import Telemetry
internal import Upstream

// What happens when somebody takes too long.

extension Worker {
    /// How long an answer to a client that has shut its sending direction may make a pause. Such a client has mostly
    /// gone, which shows only when something is written to it; some only half-close, and an answer still reaches them. While
    /// the answer waits for the client itself, it has as long as any other that reads slowly.
    private static var halfClosedGraceMilliseconds: Int64 { 1000 }

    /// Sets the client's deadline to whatever ends the exchange first.
    mutating func setExchangeDeadline(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        var deadline = min(exchanges[exchange].deadline, exchanges[exchange].stallDeadline)
        if exchanges[exchange].hasResponseHead || waitsForStream(exchange: exchange) {
            deadline = min(deadline, exchanges[exchange].tokenDeadline)
        }
        if clients[client].halfClosedAt != .never, !exchanges[exchange].awaitsReader {
            deadline = min(
                deadline,
                clients[client].halfClosedAt.advanced(byMilliseconds: Self.halfClosedGraceMilliseconds))
        }
        clientDeadlines.set(client, deadline)
    }

    /// Acts on every deadline that has passed.
    mutating func expireDeadlines() {
        if acceptAgain <= now { resumeAccepting() }
        // What is done about one may end another, give its slot to somebody else, or set its deadline anew.
        clientDeadlines.expire(at: now, into: &expiredSlots)
        while let slot = expiredSlots.popLast() { expired.append(clients.handle(at: slot)) }
        while let client = expired.popLast() {
            if clients.contains(client), clientDeadlines.deadline(of: client.index) == .never {
                clientTooSlow(client.index)
            }
        }
        serverDeadlines.expire(at: now, into: &expiredSlots)
        while let slot = expiredSlots.popLast() { expired.append(servers.handle(at: slot)) }
        while let server = expired.popLast() {
            if servers.contains(server), serverDeadlines.deadline(of: server.index) == .never {
                serverTooSlow(server.index)
            }
        }
    }

    private mutating func clientTooSlow(_ client: UInt32) {
        switch clients[client].phase {
        case .lingering where clients[client].transport.isStream:
            answerTooSlow(client)
        case .greeting, .choosing, .handshaking:
            closeClient(client)
        case .lingering:
            lingerTooSlow(client)
        case .multiplexing:
            multiplexerTooSlow(client)
        case .reading:
            // Between requests a silent close is the custom; in the middle of a head the client is told (RFC 9110
            // §15.5.9).
            guard !clients[client].transport.input.isEmpty else { return closeClient(client) }
            head.reset()
            let exchange = openExchange(client, requestBody: BodyRelay(.none, as: .identity))
            exchanges[exchange].keepsClient = false
            exchanges[exchange].notes.note(requestID: requestIDs.next())
            reply(exchange, .requestTimeout)
        case .awaitingKeys:
            endWait(client)
        case .awaitingVerdict:
            endVerdictWait(client)
        case .exchanging:
            exchangeTooSlow(clients[client].exchange.index)
        }
    }

    /// How long a whole answer is left to a client of HTTP/2 that takes nothing of it, in milliseconds, where there is no room
    /// for others.
    private static var unreadMilliseconds: Int64 { 1000 }
    /// How often they are looked for at most, in milliseconds: it is a walk over all clients.
    private static var unreadPauseMilliseconds: Int64 { 100 }

    /// Makes room: whoever leaves answers unread gives way to whoever asks.
    mutating func dropUnread() {
        guard dropsUnreadAt <= now else { return }
        dropsUnreadAt = now.advanced(byMilliseconds: Self.unreadPauseMilliseconds)
        let newest = now.advanced(byMilliseconds: limits.bodyTimeoutMilliseconds - Self.unreadMilliseconds)
        for slot in 0..<clients.slots where clients.isLive(slot) && clients[slot].phase == .lingering {
            if clients[slot].transport.isStream, clientDeadlines.deadline(of: slot) <= newest {
                closeUnread(slot)
            }
        }
    }

    /// True where unread answers held the memory that others need.
    mutating func findsMemory() -> Bool {
        dropUnread()
        return !pool.isSpent
    }

    /// True where the request is with the session of a server that has not taken it yet.
    func waitsForStream(exchange: UInt32) -> Bool {
        exchanges[exchange].usesHTTP2 && !exchanges[exchange].server.isNone
            && waitsForStream(exchanges[exchange].server.index)
    }

    private mutating func exchangeTooSlow(_ exchange: UInt32) {
        if isStillTaken(exchange) { return }
        let client = exchanges[exchange].client.index
        if exchanges[exchange].phase == .replying { return abandon(exchange, exchanges[exchange].code) }
        if endsWithToken(exchange) { return }
        if exchanges[exchange].phase == .tunnelling { return tunnelTooSlow(exchange) }
        // The deadline was the token's, while it waited for a stream: it was sent meanwhile, when its user could still ask.
        if waitsForAnswer(exchange) { return setExchangeDeadline(exchange) }
        let isGone = clients[client].halfClosedAt != .never && exchanges[exchange].deadline > now
        if isGone, exchanges[exchange].stallDeadline > now {
            return abandon(exchange, .clientClosed)
        }
        let code = slowSide(exchange)
        if exchanges[exchange].hasResponseHead { return abandon(exchange, code) }
        let doubted =
            code == .upstreamTimeout ? doubtCarrier(of: exchange, after: Self.silenceMilliseconds) : .none
        reply(exchange, code)
        leaveDoubted(doubted)
    }

    /// True where there is time for an answer that has not begun, and a client for it.
    private func waitsForAnswer(_ exchange: UInt32) -> Bool {
        !exchanges[exchange].hasResponseHead && exchanges[exchange].tokenDeadline <= now
            && min(exchanges[exchange].deadline, exchanges[exchange].stallDeadline) > now
            && clients[exchanges[exchange].client.index].halfClosedAt == .never
    }

    /// Who is at fault for a pause or for the end of the whole exchange.
    private func slowSide(_ exchange: UInt32) -> ReasonCode {
        if exchanges[exchange].phase == .waiting { return .overloaded }
        let client = exchanges[exchange].client.index
        if exchanges[exchange].hasResponseHead {
            // A body that is written from where it lies leaves nothing in the output: what counts is the last write.
            let takesMore = clients[client].transport.output.isEmpty && clients[client].transport.isWritable
            return takesMore ? .upstreamTimeout : .requestTimeout
        }
        let server = exchanges[exchange].server
        if !server.isNone, waitsForStream(server.index) { return .overloaded }
        let owesBody =
            exchanges[exchange].sentAt == .never && !exchanges[exchange].isRequestAbandoned
            && exchanges[exchange].phase == .relaying
        guard owesBody else { return .upstreamTimeout }
        // The request is not sent yet: either the client does not deliver it, or the server does not take it.
        return servers[server.index].transport.isWritable ? .requestTimeout : .upstreamTimeout
    }

    private mutating func serverTooSlow(_ server: UInt32) {
        let exchange = servers[server].exchange.index
        let number = servers[server].server
        switch servers[server].phase {
        case .idle:
            closeServer(server, wasBusy: false)
        case .connecting where !servers[server].carrier.isNone,
            .handshaking where !servers[server].carrier.isNone:
            carrierFailed(servers[server].carrier, "")
        case .carrying:
            carrierTooSlow(server)
        case .ending:
            closeServerStream(server)
        case .connecting, .handshaking:
            counters.add(1, to: .upstreamConnectFailures)
            closeServer(server, wasBusy: true)
            connectFailed(exchange, server: number)
        // The deadline was the idle connection's, or another's: this request is not sent yet.
        case .busy where exchanges[exchange].sentAt == .never && !exchanges[exchange].isRequestAbandoned:
            break
        // Others have all the streams that the server takes: it has not seen the request.
        case .busy where waitsForStream(server): reply(exchange, .overloaded)
        case .busy:
            let doubted = doubtCarrier(of: exchange, after: 0)
            reply(exchange, .upstreamTimeout)
            leaveDoubted(doubted)
        }
    }

    /// For how long nothing may come on a connection of HTTP/2 while requests on it run out of their own time, in milliseconds:
    /// a server that works for longer than they have is none that is gone.
    private static var silenceMilliseconds: Int64 { 5000 }

    /// A request got no answer in its time. Where nothing else came on its connection either, and not for so long while others
    /// waited there too, no further one goes there: then this is the connection, else none.
    private mutating func doubtCarrier(of exchange: UInt32, after milliseconds: Int64) -> Handle {
        let server = exchanges[exchange].server
        guard !server.isNone, servers[server.index].transport.isStream,
            carriers.contains(servers[server.index].carrier)
        else { return .none }
        let carrier = servers[server.index].carrier.index
        let sentAt =
            exchanges[exchange].sentAt == .never ? exchanges[exchange].opened : exchanges[exchange].sentAt
        guard carriers[carrier].isReady, carriers[carrier].lastRead <= sentAt else { return .none }
        // Two that were alone, with a long time between them, say no more than one of them.
        let isOld =
            carriers[carrier].silentSince.advanced(byMilliseconds: 2 * Self.silenceMilliseconds) < sentAt
        if carriers[carrier].silentSince < carriers[carrier].lastRead || isOld {
            carriers[carrier].silentSince = sentAt
        }
        guard carriers[carrier].silentSince.advanced(byMilliseconds: milliseconds) <= now,
            milliseconds == 0 || mayDoubtMore(like: carrier)
        else { return .none }
        carriers[carrier].isEnding = true
        return carriers.handle(at: carrier)
    }

    /// What waits for a stream there and may go elsewhere does. Only once the request that ran out of time is answered: it may
    /// wait for a stream itself, and would get an answer for that, too.
    private mutating func leaveDoubted(_ carrier: Handle) {
        guard !carrier.isNone, carriers.contains(carrier) else { return }
        refuseUnsent(carrier, onlyMovable: true)
        advanceAnswered()
    }

    /// True while fewer doubted connections of the same server still have streams than it may have others: one that works for long
    /// beside requests that have little time is not to get connections without end.
    private func mayDoubtMore(like carrier: UInt32) -> Bool {
        let upstream = carriers[carrier].pool.index
        var count = 0
        for handle in carriersOfPool[upstream]?.handles ?? []
        where carriers[handle.index].server == carriers[carrier].server && carriers[handle.index].isEnding {
            count += 1
        }
        return count < pools[upstream].carrierLimit
    }
}
