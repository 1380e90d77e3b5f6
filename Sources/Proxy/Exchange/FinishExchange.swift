internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor
internal import Telemetry

// Step 7: the exchange is over; its connections go on, or end.

extension Worker {
    /// The answer is written to its last byte.
    mutating func finishExchange(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        releaseServer(exchange)
        let (keepsClient, deadline) = (exchanges[exchange].keepsClient, exchanges[exchange].deadline)
        closeExchange(exchange)
        if clients[client].transport.isStream {
            clients[client].answerDeadline = deadline
            return finishStream(client)
        }
        guard keepsClient, !clients[client].isLast else {
            // Tunnels and routes without a timeout have no end, and what is left here must.
            let idleEnd = now.advanced(byMilliseconds: limits.idleTimeoutMilliseconds)
            clients[client].answerDeadline = deadline == .never ? idleEnd : deadline
            return endAfterAnswer(client)
        }
        clients[client].phase = .reading
        clients[client].transport.input.detachIfEmpty(to: &pool)
        // The next request may be here already.
        if !clients[client].transport.input.isEmpty || clients[client].transport.isReadable {
            // The exchange's deadline, which may pass in this very turn, is not that of the next head.
            clientDeadlines.set(client, .never)
            return resumeNextTurn(clients.handle(at: client))
        }
        guard !isDraining || awaitsLastRequests else { return closeClient(client) }
        clientDeadlines.set(client, now.advanced(byMilliseconds: limits.idleTimeoutMilliseconds))
    }

    /// The connection to the server goes back to its pool where the exchange left it clean: all sent, all received,
    /// and not one byte more.
    private mutating func releaseServer(_ exchange: UInt32) {
        let server = exchanges[exchange].server
        guard !server.isNone else { return }
        exchanges[exchange].server = .none
        let isClean =
            exchanges[exchange].isServerReusable && exchanges[exchange].sentAt != .never
            && servers[server.index].transport.input.isEmpty
            && servers[server.index].transport.output.isEmpty
        if isClean { giveBackServer(server.index) } else { closeServer(server.index, wasBusy: true) }
    }

    /// Ends an exchange that cannot be answered, or not to the end, and both its connections.
    mutating func abandon(_ exchange: UInt32, _ code: ReasonCode) {
        let client = exchanges[exchange].client.index
        dropServer(exchange)
        leaveQueue(exchange)
        exchanges[exchange].code = code
        if exchanges[exchange].answersCall, endCall(exchange, code) { return finishExchange(exchange) }
        let serverReset = exchanges[exchange].serverReset
        // TLS has a word for a whole answer, which is not said; without it, only a reset tells that this one is not whole.
        if exchanges[exchange].endsWithConnection { clients[client].transport.socket.resetAtClose() }
        closeExchange(exchange)
        if clients[client].transport.isStream {
            return closeStream(client, serverReset.map { Self.relayed($0) } ?? Self.resetCode(code))
        }
        closeClient(client)
    }

    /// Writes the log line and gives everything back.
    private mutating func closeExchange(_ exchange: UInt32) {
        record(exchange)
        if exchanges[exchange].isTraced { endTrace(exchange) }
        noteOutcome(exchange)
        if exchanges[exchange].hasAddedFields { fieldsOfExchange[exchange] = nil }
        exchanges[exchange].request.detach(to: &pool)
        exchanges[exchange].notes.memory.detach(to: &pool)
        clients[exchanges[exchange].client.index].exchange = .none
        exchanges.discard(exchanges.handle(at: exchange))
    }

    private mutating func record(_ exchange: UInt32) {
        counters.countResponse(status: Int(exchanges[exchange].status))
        counters.countEnd(reason: exchanges[exchange].code)
        counters.add(exchanges[exchange].responseBytes, to: .bytesSent)
        counters.add(exchanges[exchange].requestBytes, to: .bytesReceived)
        let duration = now.microseconds(since: exchanges[exchange].started)
        counters.countDuration(microseconds: duration)
        counters.count(
            route: exchanges[exchange].routeRow, status: Int(exchanges[exchange].status),
            microseconds: duration)
        // A status of the code is one that the proxy has given itself.
        let isRefused = exchanges[exchange].code.status != 0
        guard accessLog.isOn || isRefused else { return }
        let client = exchanges[exchange].client.index
        Self.write(
            exchanges[exchange], of: clients[client], listenerNames[clients[client].peer.listener],
            now: now, wallClockMilliseconds, to: accessLog, isRefused ? counters.refusals : nil)
    }

    private static func write(
        _ exchange: borrowing Exchange, of client: borrowing Downstream, _ listener: [UInt8], now: Instant,
        _ wallClockMilliseconds: Int64, to log: AccessLog, _ refusals: RecentRefusals?
    ) {
        let address = client.peer
        var record = AccessRecord()
        record.method = exchange.notes.text(exchange.notes.method)
        record.path = exchange.notes.text(exchange.notes.path)
        record.user = exchange.notes.text(exchange.notes.user)
        record.route = exchange.notes.text(exchange.notes.route)
        record.requestID = exchange.notes.text(exchange.notes.requestID)
        record.traceID = exchange.notes.traceID
        record.upstream = exchange.notes.text(exchange.notes.upstream)
        record.detail = exchange.notes.text(exchange.notes.refusal)
        record.referer = exchange.notes.text(exchange.notes.referer)
        record.userAgent = exchange.notes.text(exchange.notes.userAgent)
        if exchange.version == .http10 { record.protocolName = "HTTP/1.0" }
        if exchange.notes.client.isEmpty {
            record.client = address.addressText
        } else {
            record.client = exchange.notes.text(exchange.notes.client)
        }
        record.listener = listener.span
        record.reason = exchange.code
        record.time = wallClockMilliseconds
        record.status = Int(exchange.status)
        record.responseBytes = Int64(exchange.responseBytes)
        record.duration = now.microseconds(since: exchange.started)
        if exchange.answeredAt != .never { record.upstreamDuration = exchange.upstreamMicroseconds }
        if log.isOn { log.record(record) }
        refusals?.note(record)
    }

    // MARK: Ending a client's connection

    /// The last answer is written: the connection ends in a way that lets the client read it.
    mutating func endAfterAnswer(_ client: UInt32) {
        clients[client].phase = .lingering
        clients[client].transport.shutDownWriting()
        clients[client].transport.input.detach(to: &pool)
        clientDeadlines.set(client, now.advanced(byMilliseconds: Self.lingerMilliseconds))
        discardInput(client)
    }

    /// How long a client may take to close after the last answer, in milliseconds.
    private static var lingerMilliseconds: Int64 { 2000 }

    /// The client has not closed. One that is still taking what the kernel has for it gets more time, up to the end of the
    /// exchange: it may be sending what nobody wants any more.
    mutating func lingerTooSlow(_ client: UInt32) {
        guard clients[client].answerDeadline > now, isStillTaking(client) else { return closeClient(client) }
        clientDeadlines.set(client, now.advanced(byMilliseconds: Self.lingerMilliseconds))
    }

    /// True where the kernel has bytes for a client that goes on to take them: some since this was asked last, or none for less
    /// than `body_timeout`. A client of HTTP/2 opens windows as it reads, and one of HTTP/1.1 may still be sending its body:
    /// were the connection closed, the first of these bytes would have the kernel reset it, and destroy its own (RFC 9112 §9.6).
    mutating func isStillTaking(_ client: UInt32) -> Bool {
        let before = clients[client].undelivered
        let left = clients[client].transport.socket.undeliveredBytes()
        // A byte now and then is not reading: it would hold the connection for days.
        guard before > 0, left > max(before - Delivery.leastTakenBytes, 0) else {
            clients[client].undelivered = left
            clients[client].undeliveredSince = now
            return left > 0 || before > 0
        }
        return clients[client].undeliveredSince.advanced(byMilliseconds: limits.bodyTimeoutMilliseconds) > now
    }

    /// How much of an unwanted body is read before the connection is cut, in bytes: many clients write all of theirs
    /// before they look for an answer, and those that only somewhat exceed what a route takes must find it.
    private static var lingerBytes: Int { 64 << 20 }
    /// So much of it in one turn, before others have theirs: as of a body that is relayed.
    private static var lingerTurnBytes: Int { 64 << 10 }

    /// Throws away what still arrives.
    mutating func discardInput(_ client: UInt32) {
        // A stream that is over waits for its session to have sent all.
        if clients[client].transport.isStream { return }
        guard !clients[client].transport.hasEnded else { return closeClient(client) }
        guard clients[client].discarded <= Self.lingerBytes else { return stopDiscarding(client) }
        let enough = clients[client].discarded + Self.lingerTurnBytes
        var reads = Self.readsPerTurn
        while clients[client].transport.isReadable {
            guard clients[client].discarded < enough, reads > 0 else {
                return resumeNextTurn(clients.handle(at: client))
            }
            reads -= 1
            switch clients[client].transport.fill(from: &pool, pool.isSpent ? .small : .medium) {
            case .bytes(let count):
                clients[client].transport.input.detach(to: &pool)
                clients[client].discarded += count
                guard clients[client].discarded <= Self.lingerBytes else { return stopDiscarding(client) }
            case .wouldBlock:
                return
            case .endOfStream, .failed:
                return closeClient(client)
            }
        }
    }

    /// Nothing more is read of what nobody wants. A client that has its answer yet to take may do so: its deadline is set.
    private mutating func stopDiscarding(_ client: UInt32) {
        if clients[client].transport.socket.undeliveredBytes() == 0 { closeClient(client) }
    }

    /// Ends a client's connection at once.
    mutating func closeClient(_ client: UInt32) {
        if clients[client].transport.isStream { return closeStream(client, .cancel) }
        if clients[client].phase == .multiplexing { closeMultiplexer(client) }
        var connection = clients.remove(clients.handle(at: client))
        // Between two requests nothing is owed; in the middle of an answer, silence tells the client that it was cut.
        if connection.phase == .reading { connection.transport.sayGoodbye() }
        connection.transport.releaseBuffers(to: &pool)
        ledger.all.giveBack()
        if !connection.countedAddress.isNone { ledger.release(connection.countedAddress) }
        clientDeadlines.set(client, .never)
        counters.add(1, to: .connectionsClosed)
        if acceptAgain != .never { acceptAgain = now }
    }
}
