internal import Bytes
internal import HTTP
internal import HTTP2
internal import Reactor

// Who takes what is written, but slowly. The kernel keeps megabytes for a connection, and reports that it takes more only when a
// third of them has gone: to somebody who reads 16 KiB in a second, minutes pass between two writes, and this is nobody who
// does not read. So before a pause ends anything, the kernel is asked what it has delivered. It is looked at twice, when the
// pause has begun and at its end, and never while bytes flow.

/// How far what was written to a connection has got.
struct Delivery: BitwiseCopyable {
    /// What was written, or is about to be, in bytes.
    var written: Int64 = 0
    /// How much of it has arrived with the peer.
    var delivered: Int64 = 0

    /// What somebody has to take in each `body_timeout`, or the rest, in bytes: a byte now and then is not reading.
    static var leastTakenBytes: Int { 1024 }

    /// True where some of what had not arrived at `before` has arrived meanwhile. What was written since does not count: a stream
    /// whose window is closed does not go on because others do.
    func isAhead(of before: Delivery) -> Bool {
        before.delivered < before.written
            && delivered >= min(before.written, before.delivered + Int64(Self.leastTakenBytes))
    }
}

extension Transport {
    /// How far what was written has got. With TLS about: the kernel counts what is encrypted.
    var delivery: Delivery {
        let sent = Int64(truncatingIfNeeded: sentBytes)
        return Delivery(
            written: sent + Int64(output.count), delivered: sent - Int64(socket.undeliveredBytes()))
    }
}

extension Pause {
    /// For the sake of somebody who reads: when the kernel is looked at first, which is soon, so that most of the time that
    /// there is lies between two looks.
    static func firstLookMilliseconds(of timeout: Int64) -> Int64 { max(timeout / 8, 1) }

    /// Its deadline has passed; true where it goes on, since this was the first look or something has arrived since the last one.
    @inline(never)
    mutating func goesOn(_ seen: Delivery, at now: Instant, timeout: Int64) -> Bool {
        guard let before = self.seen else {
            self.seen = seen
            deadline = now.advanced(byMilliseconds: timeout - Self.firstLookMilliseconds(of: timeout))
            return true
        }
        guard seen.isAhead(of: before) else { return false }
        self.seen = Delivery(written: before.written, delivered: seen.delivered)
        deadline = now.advanced(byMilliseconds: timeout)
        return true
    }
}

extension Worker {
    /// When a pause that begins now has lasted too long.
    var pauseEnd: Instant { now.advanced(byMilliseconds: limits.bodyTimeoutMilliseconds) }

    /// When a pause that begins now is looked at: one for the sake of somebody who reads has a first look before.
    func pauseEnd(_ moved: Moved) -> Instant {
        switch moved {
        case .source: pauseEnd
        case .sink: firstLook
        }
    }

    /// When somebody who takes nothing from now on is looked at first.
    var firstLook: Instant {
        now.advanced(byMilliseconds: Pause.firstLookMilliseconds(of: limits.bodyTimeoutMilliseconds))
    }

    // MARK: Exchanges

    /// A deadline of the exchange has passed; true where it was that of a pause, which goes on.
    @inline(never)
    mutating func isStillTaken(_ exchange: UInt32) -> Bool {
        let pauseEnd = min(
            exchanges[exchange].requestPause.deadline, exchanges[exchange].responsePause.deadline)
        guard pauseEnd <= now, exchanges[exchange].deadline > now else { return false }
        switch exchanges[exchange].phase {
        case .relaying, .replying: break
        case .waiting, .connecting, .tunnelling: return false
        }
        guard responseGoesOn(exchange), requestGoesOn(exchange) else { return false }
        exchanges[exchange].settlePauses()
        setExchangeDeadline(exchange)
        return true
    }

    private mutating func requestGoesOn(_ exchange: UInt32) -> Bool {
        guard exchanges[exchange].requestPause.deadline <= now else { return true }
        guard case .sink = exchanges[exchange].requestPause.moved else { return takesAnswer(exchange) }
        let seen = deliveryToServer(exchanges[exchange].server)
        return exchanges[exchange].requestPause.goesOn(
            seen, at: now, timeout: limits.bodyTimeoutMilliseconds)
    }

    /// The client owes a part of its body; true where it is still taking its answer meanwhile.
    private mutating func takesAnswer(_ exchange: UInt32) -> Bool {
        guard exchanges[exchange].awaitsReader, let before = exchanges[exchange].responsePause.seen,
            deliveryToClient(exchanges[exchange].client.index).isAhead(of: before)
        else { return false }
        noteAnswerMoves(exchange)
        return true
    }

    private mutating func responseGoesOn(_ exchange: UInt32) -> Bool {
        guard exchanges[exchange].responsePause.deadline <= now else { return true }
        guard case .sink = exchanges[exchange].responsePause.moved else { return false }
        let isFirst = exchanges[exchange].responsePause.seen == nil
        let seen = deliveryToClient(exchanges[exchange].client.index)
        guard
            exchanges[exchange].responsePause.goesOn(seen, at: now, timeout: limits.bodyTimeoutMilliseconds)
        else { return false }
        if !isFirst { noteAnswerMoves(exchange) }
        return true
    }

    /// Of a stream: what its connection has delivered.
    private func deliveryToClient(_ client: UInt32) -> Delivery {
        guard clients[client].transport.isStream else { return clients[client].transport.delivery }
        let multiplexer = clients[client].multiplexer
        guard multiplexers.contains(multiplexer) else { return Delivery() }
        return clients[multiplexers[multiplexer.index].client.index].transport.delivery
    }

    private func deliveryToServer(_ server: Handle) -> Delivery {
        guard !server.isNone else { return Delivery() }
        guard servers[server.index].transport.isStream else {
            return servers[server.index].transport.delivery
        }
        let carrier = servers[server.index].carrier
        guard carriers.contains(carrier) else { return Delivery() }
        return servers[carriers[carrier.index].connection.index].transport.delivery
    }

    // MARK: Connections of HTTP/2

    /// A connection has waited for its client to take something; true where it goes on.
    @inline(never)
    mutating func isStillTaken(_ client: UInt32, _ multiplexer: UInt32) -> Bool {
        multiplexers[multiplexer].writePause.goesOn(
            clients[client].transport.delivery, at: now, timeout: limits.bodyTimeoutMilliseconds)
    }

    /// Closes a connection whose client does not read. Its requests end for that: the client has not closed it.
    @inline(never)
    mutating func closeUnreading(_ client: UInt32) {
        closeMultiplexer(client, .requestTimeout)
        clients[client].phase = .lingering
        closeClient(client)
    }

    /// A whole answer waits for its client. Where it may be framed as soon as the connection takes more, what becomes of it is a
    /// matter of the connection, until the exchange's time is over.
    @inline(never)
    mutating func answerTooSlow(_ client: UInt32) {
        let multiplexer = clients[client].multiplexer
        guard clients[client].answerDeadline > now, multiplexers.contains(multiplexer),
            multiplexers[multiplexer.index].writePause.deadline != .never,
            multiplexers[multiplexer.index].session.mayFrame(clients[client].stream.slot)
        else { return closeUnread(client) }
        clientDeadlines.set(client, min(pauseEnd, clients[client].answerDeadline))
    }
}
