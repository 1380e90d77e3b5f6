internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Reactor

// Where a WebSocket handshake becomes a tunnel: after the backend's 101, or the 2xx of one that speaks HTTP/2 (RFC 8441),
// and never before (F1).
//
// The request went upstream like any other, with Connection and Upgrade written anew. What the client sends behind
// its head waits in its buffer: it is the tunnel's after a 101, and the next request after any other answer. Route
// timeouts end with the 101; from then on `idle_timeout` holds, between two bytes in either direction.

extension Worker {
    /// The backend agrees: to whom asked for it, and in HTTP/1.1 in so many words, else the answer is invalid.
    mutating func switchProtocols(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        guard exchanges[exchange].wantsWebSocket,
            exchanges[exchange].usesHTTP2 || responseHead.switchesToWebSocket,
            exchanges[exchange].sentAt != .never, makeRoomForResponseHead(exchange, client)
        else { return badResponse(exchange) }
        // What is written of a 101 stands before any other answer: it can only be cut.
        guard appendSwitchingHead(exchange, client) else { return abandon(exchange, .internalError) }
        let server = exchanges[exchange].server.index
        servers[server].transport.input.consume(responseHead.byteCount)
        if clients[client].transport.isStream { submitHead(client, .tunnel) }
        serverDeadlines.set(server, .never)
        clients[client].halfClosedAt = .never
        exchanges[exchange].startTunnel(now: now, endingAt: tunnelDeadline, &pool)
        advanceTunnel(exchange)
    }

    private mutating func appendSwitchingHead(_ exchange: UInt32, _ client: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        return exchanges[exchange].appendSwitchingHead(
            responseHead, in: &servers[server].transport.input, to: &clients[client].transport.output)
            && appendAddedFields(exchange, client)
            && clients[client].transport.output.append("\r\n")
    }

    /// Moves what there is in both directions.
    mutating func advanceTunnel(_ exchange: UInt32) {
        if endsWithToken(exchange) { return }
        guard relayFromClient(exchange), relayFromServer(exchange) else { return }
        let isRequestOver = exchanges[exchange].isRequestShut || exchanges[exchange].isRequestAbandoned
        if isRequestOver, exchanges[exchange].isResponseShut, !owesServer(exchange) {
            return endTunnel(exchange)
        }
        // What is left of a tunnel that was cut has one such time, whatever its client goes on to say.
        if !exchanges[exchange].isResponseCut {
            exchanges[exchange].stallDeadline = now.advanced(byMilliseconds: tunnelPatience(exchange))
        }
        setExchangeDeadline(exchange)
    }

    /// How long both sides of a tunnel may be silent, in milliseconds. Where one of them has ended, or the server has said
    /// Close, only the rest of what the other has to say is waited for, as for that of a body: a server may leave its stream
    /// open behind its Close frame.
    private func tunnelPatience(_ exchange: UInt32) -> Int64 {
        let isEnding =
            exchanges[exchange].isRequestShut || exchanges[exchange].isRequestAbandoned
            || hasSaidClose(exchange)
        let idle = limits.idleTimeoutMilliseconds
        return isEnding ? min(idle, limits.bodyTimeoutMilliseconds) : idle
    }

    /// The server has nothing more to say.
    private func hasSaidClose(_ exchange: UInt32) -> Bool {
        exchanges[exchange].isResponseShut || exchanges[exchange].responseBody.frames.hasClosed
    }

    /// The server's stream is open until the client's last bytes are framed: the session says when.
    private func owesServer(_ exchange: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        return servers[server].transport.isStream && servers[server].stream.slot >= 0
    }

    /// Both sides have said all, or the server takes nothing more. A socket has taken what was written, and a stream's last
    /// bytes are still to be framed; either way the client gets them before its connection ends.
    private mutating func endTunnel(_ exchange: UInt32) { finishExchange(exchange) }

    /// The server has broken off. What it had said before is the client's; true where that is still to be framed.
    private mutating func cutTunnel(_ exchange: UInt32) -> Bool {
        let client = exchanges[exchange].client.index
        if !clients[client].transport.output.isEmpty {
            guard !exchanges[exchange].isResponseCut else { return true }
            exchanges[exchange].isResponseCut = true
            exchanges[exchange].isRequestAbandoned = true
            exchanges[exchange].stallDeadline = pauseEnd
            // Others may have its connection's place.
            dropServer(exchange)
            return true
        }
        guard !clients[client].transport.isStream else {
            abandon(exchange, .upstreamTruncated)
            return false
        }
        // The kernel has it. Closed at once, a connection on which the client has sent more would be reset, and that destroyed.
        exchanges[exchange].code = .upstreamTruncated
        clients[client].transport.breakOff()
        finishExchange(exchange)
        return false
    }

    /// Relays the client's bytes; false where the exchange is over.
    private mutating func relayFromClient(_ exchange: UInt32) -> Bool {
        // Once the tunnel is being closed, nothing more of the client's gets through.
        guard !exchanges[exchange].isRequestShut, !exchanges[exchange].isRequestAbandoned,
            !exchanges[exchange].responseBody.stopsAtFrameEnd
        else { return true }
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        let outcome = exchanges[exchange].requestBody.run(
            from: &clients[client].transport, to: &servers[server].transport, &pool)
        if clients[client].transport.isStream { openWindow(client) }
        if servers[server].transport.isStream { offerRequest(server, isComplete: outcome == .complete) }
        switch outcome {
        case .sourceDrained, .sinkBlocked:
            break
        case .turnSpent:
            resumeNextTurn(exchanges[exchange].client)
        case .complete:
            exchanges[exchange].isRequestShut = true
            if !servers[server].transport.isStream { servers[server].transport.shutDownWriting() }
        case .sinkFailed:
            // Its last words may still be on the way.
            exchanges[exchange].isRequestAbandoned = true
            servers[server].transport.isReadable = true
        case .truncated, .malformed, .tooLarge, .atTrailers:
            abandon(exchange, .clientClosed)
            return false
        }
        return true
    }

    /// Relays the server's bytes; false where the exchange is over.
    private mutating func relayFromServer(_ exchange: UInt32) -> Bool {
        guard !exchanges[exchange].isResponseShut else { return true }
        if exchanges[exchange].isResponseCut { return cutTunnel(exchange) }
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        let outcome = exchanges[exchange].responseBody.run(
            from: &servers[server].transport, to: &clients[client].transport, &pool)
        if clients[client].transport.isStream { offerOutput(client) }
        if servers[server].transport.isStream { openServerWindow(server) }
        switch outcome {
        case .sourceDrained, .sinkBlocked:
            return true
        case .turnSpent:
            resumeNextTurn(exchanges[exchange].client)
            return true
        case .complete where exchanges[exchange].responseBody.isStopped:
            sayGoodbye(exchange)
        case .complete:
            exchanges[exchange].isResponseShut = true
            if clients[client].transport.isStream {
                offerOutput(client, isComplete: true)
            } else {
                clients[client].transport.shutDownWriting()
            }
            return true
        case .truncated, .malformed, .tooLarge, .atTrailers:
            return cutTunnel(exchange)
        case .sinkFailed:
            abandon(exchange, .clientClosed)
        }
        return false
    }

    // MARK: Closing a tunnel

    /// How long a frame that is under way may take to end, and the Close frame to leave, in milliseconds.
    private static var closeGraceMilliseconds: Int64 { 2000 }

    /// Ends a tunnel behind the frame that is under way towards the client, with a Close frame that says why.
    mutating func closeTunnel(_ exchange: UInt32, _ code: ReasonCode) {
        exchanges[exchange].code = code
        exchanges[exchange].tokenDeadline = .never
        exchanges[exchange].deadline = now.advanced(byMilliseconds: Self.closeGraceMilliseconds)
        guard !exchanges[exchange].isResponseShut else { return abandon(exchange, code) }
        exchanges[exchange].responseBody.stopsAtFrameEnd = true
        advanceTunnel(exchange)
    }

    /// All frames before are written: the Close frame follows, unless the server has sent one itself.
    private mutating func sayGoodbye(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        dropServer(exchange)
        exchanges[exchange].phase = .replying
        exchanges[exchange].keepsClient = false
        if !exchanges[exchange].responseBody.frames.hasClosed {
            let end = exchanges[exchange].tokenEnd
            let endsWithToken = exchanges[exchange].code == end.code
            clients[client].transport.output.attach(from: &pool)
            let fits = clients[client].transport.output.appendWebSocketClose(
                endsWithToken ? .policyViolation : .goingAway,
                reason: endsWithToken ? end.text : "going away")
            precondition(fits, "the output was written before")
        }
        advanceReply(exchange)
    }

    /// A tunnel's time is over: the drain's, or too long has nobody said anything.
    mutating func tunnelTooSlow(_ exchange: UInt32) {
        if exchanges[exchange].responseBody.stopsAtFrameEnd {
            abandon(exchange, exchanges[exchange].code)
        } else if exchanges[exchange].isResponseCut {
            abandon(exchange, .upstreamTruncated)
        } else if exchanges[exchange].deadline <= now {
            closeTunnel(exchange, .shutDown)
        } else {
            closeTunnel(exchange, hasSaidClose(exchange) ? .upgraded : .idleTimeout)
        }
    }

    // MARK: Drain

    /// Sets the end of all tunnels: a moment before that of the process, so that clients can answer the Close frame.
    mutating func drainTunnels() {
        let whole = limits.drainTimeoutMilliseconds
        tunnelDeadline = now.advanced(byMilliseconds: whole - min(whole / 4, Self.farewellMilliseconds))
        for slot in 0..<exchanges.slots where isTunnel(slot) {
            exchanges[slot].deadline = min(exchanges[slot].deadline, tunnelDeadline)
            setExchangeDeadline(slot)
        }
    }

    /// What clients get to close their side before the process ends, in milliseconds.
    private static var farewellMilliseconds: Int64 { 1000 }

    /// Tells the clients of all tunnels that the proxy ends now.
    mutating func closeTunnels() {
        for slot in 0..<exchanges.slots where isTunnel(slot) { closeTunnel(slot, .shutDown) }
    }

    private func isTunnel(_ slot: UInt32) -> Bool {
        exchanges.isLive(slot) && exchanges[slot].phase == .tunnelling
    }
}

extension Exchange {
    /// Makes both bodies what they are in a tunnel.
    mutating func startTunnel(now: Instant, endingAt end: Instant, _ pool: inout BlockPool) {
        phase = .tunnelling
        status = 101
        code = .upgraded
        answeredAt = now
        hasResponseHead = true
        keepsClient = false
        isServerReusable = false
        deadline = end
        requestBody = BodyRelay(tunnelFollowingFrames: false)
        responseBody = BodyRelay(tunnelFollowingFrames: true)
        request.detach(to: &pool)
    }
}
