internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor
internal import Telemetry
internal import Upstream

// Step 3: a permitted request is written anew for its upstream.

extension Worker {
    /// Starts the exchange that a permit allows.
    mutating func forward(_ client: UInt32, _ permit: consuming Permit) {
        let maxBodyBytes = UInt64(clamping: permit.maxBodyBytes)
        if case .length(let length) = head.framing, length > maxBodyBytes {
            return refuse(client, Refusal(.tooLarge, route: permit.route, permit.crossOrigin))
        }
        // What is under way already may still grow, and must have room to end.
        guard !pool.isSpent || findsMemory() else {
            return refuse(client, Refusal(.overloaded, route: permit.route, permit.crossOrigin))
        }
        let upstream = poolOfUpstream[permit.upstream]
        let usesHTTP2 = pools[upstream.index].settings.speaksHTTP2
        let framing = requestFraming(client, usesHTTP2: usesHTTP2)
        let hasUnknownLength = framing == .chunked || framing == .untilClose
        // The server of an extended CONNECT proves nothing about the client's key: that is done here.
        let answersKey = usesHTTP2 && head.wantsWebSocket && !clients[client].transport.isStream
        let webSocketKey = answersKey ? WebSocketKey.range(in: head) : nil
        guard webSocketKey != nil || !answersKey else {
            return refuse(client, Refusal(.badRequest, route: permit.route, permit.crossOrigin))
        }
        let coding = hasUnknownLength && !usesHTTP2 ? BodyCoding.chunked : .identity
        let exchange = openExchange(
            client, requestBody: BodyRelay(framing, as: coding, limitBytes: maxBodyBytes))
        exchanges[exchange].pool = upstream
        exchanges[exchange].usesHTTP2 = usesHTTP2
        exchanges[exchange].keepsBody = usesHTTP2
        if usesHTTP2, hasUnknownLength { exchanges[exchange].requestBody.passesTrailers = true }
        if head.dropsTrailers { exchanges[exchange].requestBody.passesTrailers = false }
        exchanges[exchange].retriesLeft = pools[upstream.index].settings.retries
        if let timeout = permit.timeoutMilliseconds {
            exchanges[exchange].deadline = min(
                exchanges[exchange].deadline,
                exchanges[exchange].started.advanced(byMilliseconds: timeout))
        }
        if pools[upstream.index].settings.balance == .hashUser {
            exchanges[exchange].user = Self.userNumber(policy, permit, head, &clients[client])
        }
        exchanges[exchange].wantsWebSocket = head.wantsWebSocket
        if let end = permit.tokenEnd {
            exchanges[exchange].outlivesToken = permit.streamOutlivesToken
            exchanges[exchange].tokenDeadline = instant(ofSecond: end)
            exchanges[exchange].verdict = permit.verdict
            let key = policy.permittingKey(permit.verdict)
            exchanges[exchange].tokenKey = key
            if let key, key.mark != 0 { noteStream(markedBy: key.mark) }
            exchanges[exchange].policyNumber = policyNumber
        }
        exchanges[exchange].offersBearerSubprotocol = permit.offersBearerSubprotocol
        noteRequest(exchange, client, route: permit.route)
        if let webSocketKey {
            exchanges[exchange].notes.note(webSocketKey: webSocketKey, in: &clients[client].transport.input)
        }
        if permit.crossOrigin.isRuled { note(exchange, permit.crossOrigin) }
        if accessLog.isOn || exchanges[exchange].isTraced {
            exchanges[exchange].notes.note(userOf: permit, policy)
        }
        noteForLog(exchange, client, route: permit.route)
        if !permit.preservesHost || head.host.isEmpty { exchanges[exchange].hostServer = 0 }
        guard writeRequestHead(exchange, client, permit) else {
            // The head is still in the input: nothing behind it may be read.
            exchanges[exchange].keepsClient = false
            return reply(exchange, .headersTooLarge)
        }
        // Nothing is sent whose answer would come too late, and no server is to blame for it.
        guard exchanges[exchange].deadline > now else {
            exchanges[exchange].pool = .none
            exchanges[exchange].notes.note(refusal: "waited_too_long")
            return reply(exchange, .upstreamTimeout)
        }
        if head.expectsContinue, !exchanges[exchange].requestBody.isComplete { sendContinue(client) }
        if let code = takeBodyAtHand(exchange, client) { return reply(exchange, code) }
        acquireServer(exchange)
    }

    /// How the end of a request's body is found.
    private func requestFraming(_ client: UInt32, usesHTTP2: Bool) -> BodyFraming {
        // A handshake announces no content to the backend, so it must have none (rule F1).
        if head.wantsWebSocket { return .none }
        guard usesHTTP2, case .length = head.framing, clients[client].transport.mayOweTrailers else {
            return head.framing
        }
        return .untilClose
    }

    private static func userNumber(
        _ policy: borrowing PolicySnapshot, _ permit: borrowing Permit, _ head: borrowing RequestHead,
        _ client: inout Downstream
    ) -> UInt64 {
        policy.userNumber(of: permit, head, client.transport.input.bytes, client.peer)
    }

    /// When the clock will show that second since 1970; those beyond 100 years never come.
    private func instant(ofSecond second: Int64) -> Instant {
        let (seconds, overflow) = second.subtractingReportingOverflow(wallClock)
        guard !overflow, seconds < 3_155_760_000 else { return .never }
        return now.advanced(byMilliseconds: max(seconds * 1000 - wallClockMilliseconds % 1000, 0))
    }

    /// A new exchange for the head that was just read.
    mutating func openExchange(_ client: UInt32, requestBody: BodyRelay) -> UInt32 {
        let handle = exchanges.insert(
            Exchange(
                client: clients.handle(at: client), method: head.method,
                version: clients[client].transport.isStream ? .http2 : head.version,
                keepsClient: head.isPersistent && !clients[client].isLast && !isDraining,
                requestBody: requestBody, started: min(now, clients[client].waitsSince), opened: now))
        exchanges[handle.index].notes.memory.attach(from: &pool, .tiny)
        exchanges[handle.index].headBytes = head.byteCount
        if let method = clients[client].askedBy {
            exchanges[handle.index].omitsBody = method == .head
            clients[client].askedBy = nil
        }
        if clients[client].transport.isStream { noteRemoteCall(handle.index, client) }
        if !verdictWaits.fields.isEmpty { addFields(to: handle.index) }
        clients[client].exchange = handle
        clients[client].phase = .exchanging
        clients[client].headStarted = .never
        clients[client].waitsSince = .never
        clients[client].isFresh = false
        clients[client].halfClosedAt = .never
        return handle.index
    }

    /// Keeps the name of the request, and who sent it.
    mutating func noteRequest(_ exchange: UInt32, _ client: UInt32, route: Int?) {
        exchanges[exchange].routeRow = rows.row(ofRoute: route)
        let fresh = requestIDs.next()
        exchanges[exchange].notes.nameRequest(head, in: &clients[client].transport.input, fresh: fresh)
        if let tracing { beginTrace(exchange, client, route, tracing) }
        let peer = clients[client].peer
        if accessLog.isOn || exchanges[exchange].isTraced, policy.trusts(peer) {
            exchanges[exchange].notes.note(clientOf: head, in: &clients[client].transport.input, peer, policy)
        }
    }

    /// Keeps what the log says of the request besides, when all is kept that the answer will say, and who it is.
    mutating func noteForLog(_ exchange: UInt32, _ client: UInt32, route: Int?) {
        guard accessLog.isOn else { return }
        if let route { exchanges[exchange].notes.note(route: routeNames[route]) }
        exchanges[exchange].notes.noteForLog(head, in: &clients[client].transport.input)
        if accessLog.wantsAgent {
            exchanges[exchange].notes.noteAgent(head, in: &clients[client].transport.input)
        }
    }

    /// Keeps what the answer will say to pages of other origins.
    mutating func note(_ exchange: UInt32, _ crossOrigin: CrossOriginAnswer) {
        exchanges[exchange].crossOrigin = crossOrigin
        exchanges[exchange].notes.note(crossOrigin, policy)
    }

    /// Writes the head that goes upstream; false where it is larger than any block.
    private mutating func writeRequestHead(
        _ exchange: UInt32, _ client: UInt32, _ permit: borrowing Permit
    ) -> Bool {
        var sizeClass = BlockPool.SizeClass.small
        while true {
            exchanges[exchange].request.detach(to: &pool)
            exchanges[exchange].request.attach(from: &pool, sizeClass)
            if appendRequestHead(exchange, client, permit) {
                clients[client].transport.input.consume(head.byteCount)
                return true
            }
            guard let larger = sizeClass.larger else { return false }
            sizeClass = larger
        }
    }

    private mutating func appendRequestHead(
        _ exchange: UInt32, _ client: UInt32, _ permit: borrowing Permit
    ) -> Bool {
        let upstream = exchanges[exchange].pool.index
        return exchanges[exchange].appendRequestHead(
            &head, of: &clients[client], permit, &policy, &pools[upstream])
    }

    /// Makes the request name the server that was chosen for it; false where it was answered. Never does one go to a server
    /// under the name of another.
    mutating func nameServer(_ exchange: UInt32, _ server: Int) -> Bool {
        let upstream = exchanges[exchange].pool.index
        if exchanges[exchange].nameServer(server, of: &pools[upstream], &pool) { return true }
        replyUnavailable(exchange, "no_room_for_host")
        return false
    }

    /// Tells a client that waits for it to send its body. The request is permitted, and nothing before that point
    /// asked for the body.
    private mutating func sendContinue(_ client: UInt32) {
        clients[client].transport.output.attach(from: &pool)
        _ = clients[client].transport.output.append("HTTP/1.1 100 Continue\r\n\r\n")
        if clients[client].transport.isStream { return submitHead(client, .interim) }
        _ = clients[client].transport.flush(to: &pool)
    }

    /// Puts what is already here of the body behind the head, so that small requests leave in one piece and can be
    /// sent again whole. The code of a refusal where it breaks a rule: then no byte of the request is sent.
    private mutating func takeBodyAtHand(_ exchange: UInt32, _ client: UInt32) -> ReasonCode? {
        // What has no place behind the head passes through, like any other body that has not come whole.
        let isStaged = exchanges[exchange].leavesRoomForName(behind: clients[client].transport.input.count)
        let refusal =
            isStaged ? exchanges[exchange].takeBody(from: &clients[client].transport.input) : nil
        clients[client].transport.input.detachIfEmpty(to: &pool)
        if clients[client].transport.isStream { openWindow(client) }
        exchanges[exchange].isReplayable =
            exchanges[exchange].requestBody.isComplete || exchanges[exchange].keepsBody
        return refusal
    }
}
