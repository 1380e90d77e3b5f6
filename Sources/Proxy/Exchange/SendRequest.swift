internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy
internal import Reactor
internal import Telemetry
internal import Upstream

// Step 5: the request is sent, its body as it comes.

extension Worker {
    /// Goes on with the exchange of a client.
    mutating func advanceExchange(ofClient client: UInt32) {
        let handle = clients[client].exchange
        if clients[client].transport.isBroken, !clients[client].transport.isReadable {
            return abandon(handle.index, .clientClosed)
        }
        advanceExchange(handle.index)
    }

    /// Goes on with an exchange, in both directions, as far as the connections allow.
    mutating func advanceExchange(_ exchange: UInt32) {
        switch exchanges[exchange].phase {
        case .waiting, .connecting:
            watchClient(exchange)
        case .replying:
            advanceReply(exchange)
        case .tunnelling:
            advanceTunnel(exchange)
        case .relaying:
            let handle = exchanges.handle(at: exchange)
            sendRequest(exchange)
            guard exchanges.contains(handle), exchanges[exchange].phase == .relaying else { return }
            relayResponse(exchange)
            guard exchanges.contains(handle), exchanges[exchange].phase == .relaying else { return }
            watchClient(exchange)
        }
    }

    /// Puts writing off until the turn's events are read. Reading and deciding are one piece of code, writing another,
    /// most of it the kernel's: in turn, each drives the other out of the processor's caches, which made a small GET 7
    /// to 9 % dearer.
    mutating func advanceLater(_ exchange: UInt32) {
        if !unwritten.append(exchanges.handle(at: exchange)) { advanceExchange(exchange) }
    }

    /// So many exchanges wait for the end of the turn: with more, the first would wait longer than half a millisecond,
    /// and their buffers would not stay in a cache of 512 KiB.
    static var unwrittenCount: Int { 64 }

    /// Goes on with what was put off.
    mutating func writeExchanges() {
        var place = 0
        while place < unwritten.count {
            let handle = unwritten[place]
            if exchanges.contains(handle) { advanceExchange(handle.index) }
            place += 1
        }
        unwritten.removeAll()
    }

    /// Sends what there is of the request.
    private mutating func sendRequest(_ exchange: UInt32) {
        guard !exchanges[exchange].isRequestAbandoned, exchanges[exchange].sentAt == .never else { return }
        guard sendHead(exchange) else { return }
        // A body is complete once all of it is in the server's output, which may be there yet: taken for sent, its end
        // would never come, and the server would wait for it until somebody loses patience.
        let server = exchanges[exchange].server.index
        if !exchanges[exchange].requestBody.isComplete || !servers[server].transport.output.isEmpty {
            guard relayRequestBody(exchange) else { return }
        }
        requestIsSent(exchange)
    }

    /// Sends the head and what of the body lies behind it; false where it is not all gone yet.
    private mutating func sendHead(_ exchange: UInt32) -> Bool {
        if exchanges[exchange].sentBytes == 0, exchanges[exchange].tokenDeadline < now {
            refuseLate(exchange)
            return false
        }
        let server = exchanges[exchange].server.index
        if servers[server].transport.isStream { return submitRequest(exchange) }
        // The event may still be to come that tells of it: what lay there before the request went out would be taken for its
        // answer.
        if mayMissEvents, exchanges[exchange].sentBytes == 0, servers[server].reusedInTurn == turns,
            leaveIfUnasked(server)
        {
            return false
        }
        while exchanges[exchange].sentBytes < exchanges[exchange].request.count {
            switch exchanges[exchange].sendRequest(on: &servers[server].transport) {
            case .bytes:
                continue
            case .wouldBlock:
                servers[server].transport.isWritable = false
                pauseRequest(exchange, .sink(servers[server].transport.sentBytes))
                return false
            case .failed, .endOfStream:
                servers[server].transport.isBroken = true
                requestFailed(exchange)
                return false
            }
        }
        return true
    }

    /// Relays the rest of the request's body; false where it is not all gone yet.
    private mutating func relayRequestBody(_ exchange: UInt32) -> Bool {
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        if exchanges[exchange].keepsBody {
            guard keepBody(exchange, client, server) else {
                offerRequest(server)
                resumeNextTurn(exchanges[exchange].client)
                pauseRequest(exchange, .source(exchanges[exchange].requestBody.decoder.received))
                return false
            }
            // What was read last may be the connection's break, of which no further event tells.
            let isBroken = clients[client].transport.isBroken && !clients[client].transport.isReadable
            guard !isBroken || exchanges[exchange].requestBody.isComplete else {
                abandon(exchange, .clientClosed)
                return false
            }
        }
        while true {
            let outcome = exchanges[exchange].requestBody.run(
                from: &clients[client].transport, to: &servers[server].transport, &pool)
            if clients[client].transport.isStream { openWindow(client) }
            if servers[server].transport.isStream { offerRequest(server) }
            switch outcome {
            case .complete:
                return true
            case .atTrailers:
                guard writeRequestTrailers(exchange) else {
                    refuseBody(exchange, .badRequest)
                    return false
                }
                continue
            case .turnSpent:
                resumeNextTurn(exchanges[exchange].client)
                pauseRequest(exchange, .source(exchanges[exchange].requestBody.decoder.received))
            case .sourceDrained:
                pauseRequest(exchange, .source(exchanges[exchange].requestBody.decoder.received))
            case .sinkBlocked:
                pauseRequest(exchange, .sink(servers[server].transport.sentBytes))
            case .malformed:
                refuseBody(exchange, .badRequest)
            case .tooLarge:
                refuseBody(exchange, .tooLarge)
            case .truncated:
                abandon(exchange, .clientClosed)
            case .sinkFailed:
                requestFailed(exchange)
            }
            return false
        }
    }

    /// Writes the end of a chunked request: the last chunk, and the trailer lines that may pass.
    private mutating func writeRequestTrailers(_ exchange: UInt32) -> Bool {
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        guard let lines = exchanges[exchange].requestBody.trailers else { return false }
        if servers[server].transport.isStream { return writeServerTrailers(exchange, lines) }
        servers[server].transport.output.attach(from: &pool)
        let fits = Trailers.appendRequest(
            lines, of: &clients[client].transport.input, &trailerFields, policy,
            to: &servers[server].transport.output)
        clients[client].transport.input.consume(lines.end + 2)
        exchanges[exchange].requestBody.trailersWritten()
        return fits
    }

    /// The token of a request that waited for a server has ended meanwhile: nothing goes out in its user's name any more.
    ///
    /// Where it is only forgotten, nothing was found wrong with it: 401 would have its client throw it away, and whoever comes
    /// again is decided on anew.
    mutating func refuseLate(_ exchange: UInt32) {
        let isForgotten = exchanges[exchange].tokenEnd == .forgotten
        let code = noteTokenEnd(exchange)
        guard !isForgotten else { return reply(exchange, .authenticationUnavailable) }
        reply(exchange, code, Rejection(endOfToken: code))
    }

    private mutating func requestIsSent(_ exchange: UInt32) {
        let server = exchanges[exchange].server.index
        exchanges[exchange].sentAt = now
        // What follows the head of a handshake is the tunnel's.
        if servers[server].transport.isStream, !exchanges[exchange].wantsWebSocket {
            offerRequest(server, isComplete: true)
        }
        exchanges[exchange].requestPause = Pause()
        exchanges[exchange].settlePauses()
        if !exchanges[exchange].isReplayable { exchanges[exchange].request.detach(to: &pool) }
        setExchangeDeadline(exchange)
        awaitAnswer(exchange)
    }

    /// From here on only the answer is waited for.
    private mutating func awaitAnswer(_ exchange: UInt32) {
        guard !exchanges[exchange].hasResponseHead else { return }
        let timeout = pools[exchanges[exchange].pool.index].settings.responseTimeoutMilliseconds
        serverDeadlines.set(exchanges[exchange].server.index, now.advanced(byMilliseconds: timeout))
    }

    /// One side holds the request's body up: that must not last. The pause goes on until that side moves, whatever else
    /// happens on the two connections: who takes nothing must not be able to prolong it by sending.
    private mutating func pauseRequest(_ exchange: UInt32, _ moved: Moved) {
        exchanges[exchange].requestPause.last(moved, until: pauseEnd(moved))
        exchanges[exchange].settlePauses()
        setExchangeDeadline(exchange)
    }

    /// One side holds the answer up.
    mutating func pauseResponse(_ exchange: UInt32, _ moved: Moved) {
        exchanges[exchange].responsePause.last(moved, until: pauseEnd(moved))
        exchanges[exchange].settlePauses()
        setExchangeDeadline(exchange)
    }

    /// The client's body breaks a rule: the request ends here, and the server sees it cut off.
    private mutating func refuseBody(_ exchange: UInt32, _ code: ReasonCode) {
        dropServer(exchange)
        guard !exchanges[exchange].hasResponseHead else { return abandon(exchange, code) }
        reply(exchange, code)
    }

    /// The server takes no more of the request. Its answer may be on the way (a refusal before the body's end), and has as
    /// long as one to a request that was sent: a server may have ended its reading side alone, of which nothing tells but
    /// this write.
    private mutating func requestFailed(_ exchange: UInt32) {
        endRequest(exchange)
        awaitAnswer(exchange)
        servers[exchanges[exchange].server.index].transport.isReadable = true
    }

    /// Nothing more of the request is sent, and a pause that its body makes is none: what becomes of the answer is not judged by
    /// it. A tunnel has a patience of its own.
    mutating func endRequest(_ exchange: UInt32) {
        exchanges[exchange].isRequestAbandoned = true
        guard exchanges[exchange].phase == .relaying else { return }
        exchanges[exchange].requestPause = Pause()
        exchanges[exchange].settlePauses()
        setExchangeDeadline(exchange)
    }

    /// The server closed, or broke, the connection before its answer: once more, where that is safe, else 502.
    ///
    /// - Parameter wasRefused: a server that speaks HTTP/2 says that it did nothing about the request (RFC 9113 §8.7).
    mutating func serverLeft(_ exchange: UInt32, wasRefused: Bool = false) {
        let server = exchanges[exchange].server.index
        // A stream that ends alone was seen; one that ends with its connection may not have been.
        let saysNothing = !servers[server].transport.isStream || servers[server].isCutOff || wasRefused
        let wasReused = servers[server].requestsServed > 0
        let number = servers[server].server
        let progress =
            !servers[server].transport.input.isEmpty
            ? RequestProgress.answered
            : exchanges[exchange].sentBytes == 0 || wasRefused ? .nothingSent : .maybeProcessed
        let isSafe = RetryRule.allows(
            exchanges[exchange].method, after: progress, isReplayable: exchanges[exchange].isReplayable)
        dropServer(exchange)
        guard saysNothing, isSafe, exchanges[exchange].retriesLeft > 0,
            progress == .nothingSent || pools[exchanges[exchange].pool.index].permitsRetry(at: now)
        else {
            if wasRefused { return replyUnavailable(exchange, "no_connection") }
            exchanges[exchange].notes.note(
                refusal: progress == .answered ? "answer_broken_off" : "closed_without_answer")
            return reply(exchange, .upstreamInvalidResponse)
        }
        // Only a connection that had served before can have been closed between two requests, through nobody's fault.
        if !wasReused, !wasRefused { noteFailure(at: exchanges[exchange].pool, server: number) }
        if progress == .nothingSent { pools[exchanges[exchange].pool.index].noteReconnect() }
        retry(exchange, server: number)
    }

    /// Sends a request once more, whose connection is gone.
    mutating func retry(_ exchange: UInt32, server: Int) {
        exchanges[exchange].retriesLeft -= 1
        exchanges[exchange].sentBytes = 0
        exchanges[exchange].sentAt = .never
        exchanges[exchange].endPauses()
        exchanges[exchange].isRequestAbandoned = false
        counters.add(1, to: .upstreamRetries)
        let upstream = exchanges[exchange].pool
        // With a choice, rather another server: this one may be about to end. With `hashUser` the user's own.
        if pools[upstream.index].serverCount > 1, pools[upstream.index].settings.balance != .hashUser {
            return acquireServer(exchange, avoiding: server)
        }
        guard pools[upstream.index].chooseFresh(server: server) else { return acquireServer(exchange) }
        connect(exchange, server: server)
    }

    /// Ends the connection to the server, with the exchange still alive.
    mutating func dropServer(_ exchange: UInt32) {
        let server = exchanges[exchange].server
        guard !server.isNone else { return }
        exchanges[exchange].server = .none
        closeServer(server.index, wasBusy: true)
    }

    /// Notices a client that leaves while it waits for its answer.
    private mutating func watchClient(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        guard clients[client].transport.isEnding, clients[client].transport.isReadable,
            exchanges[exchange].requestBody.isComplete, clients[client].halfClosedAt == .never
        else { return }
        if clients[client].transport.isBroken { return abandon(exchange, .clientClosed) }
        clients[client].halfClosedAt = now
        setExchangeDeadline(exchange)
    }
}
