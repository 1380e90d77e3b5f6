internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import JOSE
internal import Policy
internal import Reactor
internal import Telemetry

// Where the proxy answers itself: every refusal and every failure becomes an answer here, and only here.

/// Why the proxy answers a request itself, before there is anything to forward.
struct Refusal {
    let code: ReasonCode
    let route: Int?
    /// The connection must end after the answer.
    let closesConnection: Bool
    /// What exactly was wrong, for the log alone.
    let detail: StaticString
    /// What the policy said, where it was the policy.
    let rejection: Rejection?
    /// What the answer says to pages of other origins.
    let crossOrigin: CrossOriginAnswer

    init(
        _ code: ReasonCode, route: Int? = nil, _ crossOrigin: CrossOriginAnswer = .none,
        detail: StaticString = ""
    ) {
        self.code = code
        self.route = route
        closesConnection = false
        self.detail = detail
        rejection = nil
        self.crossOrigin = crossOrigin
    }

    init(_ rejection: Rejection) {
        code = rejection.code
        route = rejection.route
        closesConnection = rejection.closesConnection
        detail = rejection.refusal?.code ?? rejection.fault?.text ?? ""
        self.rejection = rejection
        crossOrigin = rejection.crossOrigin
    }
}

extension Worker {
    /// Answers a head that breaks a rule of HTTP. Where the message ends is unknown from then on, so the connection
    /// ends with the answer.
    mutating func refuse(_ client: UInt32, fault: MessageFault) {
        // What was parsed so far is not to be trusted for the log: the head is forgotten.
        head.reset()
        let exchange = openExchange(client, requestBody: BodyRelay(.none, as: .identity))
        exchanges[exchange].keepsClient = false
        exchanges[exchange].notes.note(requestID: requestIDs.next())
        exchanges[exchange].notes.note(refusal: fault.text)
        reply(exchange, fault.code)
    }

    /// Answers a request that the policy rejects.
    mutating func refuse(_ client: UInt32, _ rejection: Rejection) {
        if let redirection = rejection.redirection {
            return send(client, to: redirection, rejection.route, rejection.crossOrigin)
        }
        if let limit = rejection.exceededLimit {
            counters.countExceeded(rateLimit: rows.row(ofRateLimit: limit))
        }
        if let refusal = rejection.refusal { counters.countRefusal(refusal) }
        refuse(client, Refusal(rejection))
    }

    /// Answers a request that is not forwarded.
    mutating func refuse(_ client: UInt32, _ refusal: Refusal) {
        let exchange = openExchange(client, requestBody: BodyRelay(head.framing, as: .identity))
        if refusal.closesConnection { exchanges[exchange].keepsClient = false }
        noteRequest(exchange, client, route: refusal.route)
        if refusal.crossOrigin.isRuled { note(exchange, refusal.crossOrigin) }
        exchanges[exchange].notes.note(refusal: refusal.detail)
        if let rejection = refusal.rejection { exchanges[exchange].notes.note(userOf: rejection, policy) }
        if case .signIn(let path)? = refusal.rejection?.form {
            exchanges[exchange].notes.note(path, in: &clients[client].transport.input)
        }
        noteForLog(exchange, client, route: refusal.route)
        clients[client].transport.input.consume(head.byteCount)
        dropBody(exchange, client)
        reply(exchange, refusal.code, refusal.rejection)
    }

    /// Skips the body of a refused request where all of it is here already; else the connection must end, because
    /// reading on would let anybody keep it busy with bytes that nobody wants.
    mutating func dropBody(_ exchange: UInt32, _ client: UInt32) {
        guard case .length(let length) = head.framing,
            length <= UInt64(clients[client].transport.input.count), !head.expectsContinue
        else {
            if head.framing != .none { exchanges[exchange].keepsClient = false }
            return
        }
        clients[client].transport.input.consume(Int(length))
        exchanges[exchange].requestBody.isComplete = true
    }

    /// Writes the answer to a request that failed, in place of the upstream's.
    mutating func reply(_ exchange: UInt32, _ code: ReasonCode, _ rejection: Rejection? = nil) {
        let client = exchanges[exchange].client.index
        dropServer(exchange)
        leaveQueue(exchange)
        exchanges[exchange].phase = .replying
        exchanges[exchange].code = code
        exchanges[exchange].status = exchanges[exchange].isGRPC ? 200 : rejection?.status ?? code.status
        exchanges[exchange].endPauses()
        exchanges[exchange].request.detach(to: &pool)
        if !exchanges[exchange].requestBody.isComplete || clients[client].isLast || isDraining {
            exchanges[exchange].keepsClient = false
        }
        let scopes = rejection.map { policy.scopeByteCount($0) } ?? 0
        guard makeRoom(Self.ownAnswerBytes + scopes + addedByteCount(exchange), client),
            appendReply(exchange, client, code, rejection)
        else {
            return abandon(exchange, code)
        }
        if clients[client].transport.isStream {
            submitHead(client, .final(endsStream: exchanges[exchange].replyBytes == 0))
            // It may wait for its client's window, and whoever gets it has proven nothing.
            clients[client].transport.output.shrink(in: &pool)
        }
        advanceReply(exchange)
    }

    /// The largest answer of the proxy's own, in bytes, what the configuration writes into it not counted: about 1 KiB.
    static var ownAnswerBytes: Int { 8192 }

    /// Makes room for that many bytes behind what the client has yet to read; false beyond the largest block.
    mutating func makeRoom(_ byteCount: Int, _ client: UInt32) -> Bool {
        clients[client].transport.output.makeRoom(byteCount, in: &pool, atLeast: .small)
    }

    private mutating func appendReply(
        _ exchange: UInt32, _ client: UInt32, _ code: ReasonCode, _ rejection: Rejection?
    ) -> Bool {
        switch rejection?.form {
        case .preflight?, .signIn?: return appendBrowserReply(exchange, client, rejection)
        case .problem?, nil: break
        }
        if exchanges[exchange].isGRPC { return appendRemoteCallReply(exchange, client, code, rejection) }
        let hasBody = !exchanges[exchange].omitsBody
        if hasBody { exchanges[exchange].replyBytes = Problem.byteCount(code) }
        return clients[client].transport.output.appendStatusLine(code.status)
            && clients[client].transport.output.append(
                "Content-Type: application/problem+json\r\nCache-Control: no-store\r\nContent-Length: ")
            && clients[client].transport.output.appendDecimal(UInt64(Problem.byteCount(code)))
            && clients[client].transport.output.append("\r\n")
            && appendChallenge(client, rejection)
            && appendRetryAfter(client, code, rejection)
            && appendAllow(client, code)
            && appendAddedFields(exchange, client)
            && exchanges[exchange].appendOwnFields(
                date: dateField, clients[client].strictTransportSecurity,
                to: &clients[client].transport.output)
            && clients[client].transport.output.append("\r\n")
            && (!hasBody || Problem.append(code, to: &clients[client].transport.output))
    }

    mutating func appendChallenge(_ client: UInt32, _ rejection: Rejection?) -> Bool {
        guard let rejection, rejection.challenges else { return true }
        return clients[client].transport.output.append("WWW-Authenticate: ")
            && policy.appendChallenge(rejection, to: &clients[client].transport.output)
            && clients[client].transport.output.append("\r\n")
            && policy.appendNonceField(rejection, now: wallClock, to: &clients[client].transport.output)
    }

    /// What passes by itself may be tried again (RFC 9110 §10.2.3); 503 says when.
    mutating func appendRetryAfter(
        _ client: UInt32, _ code: ReasonCode, _ rejection: Rejection?
    ) -> Bool {
        if let rejection, code == .rateLimited {
            return policy.appendRateLimitFields(rejection, to: &clients[client].transport.output)
        }
        guard code.status == 503 else { return true }
        return clients[client].transport.output.append("Retry-After: 1\r\n")
    }

    private mutating func appendAllow(_ client: UInt32, _ code: ReasonCode) -> Bool {
        guard code == .methodNotAllowed else { return true }
        return clients[client].transport.output.append(Problem.allowField)
            && clients[client].transport.output.append("\r\n")
    }

    /// Writes what is left of the proxy's own answer.
    mutating func advanceReply(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        switch clients[client].transport.flush(to: &pool) {
        case .done: finishExchange(exchange)
        case .blocked: pauseResponse(exchange, .sink(clients[client].transport.sentBytes))
        case .failed: abandon(exchange, exchanges[exchange].code)
        }
    }
}
