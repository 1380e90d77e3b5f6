internal import Bytes
internal import HTTP
internal import HTTP1
internal import JOSE
internal import Policy
internal import Reactor
internal import Telemetry

// A listener in forward-auth mode: another proxy (nginx's auth_request, Traefik's ForwardAuth, Caddy's forward_auth)
// asks whether a request may pass, and gets 200 with the identity headers, or the refusal.

extension Worker {
    /// Answers the question that the head which was just read puts.
    ///
    /// What is asked about is turned into a head of its own, which takes the question's place in the input. From
    /// there on the same parser, the same path rules and the same policy decide as for a request that passes through.
    mutating func answerQuestion(_ client: UInt32) {
        clients[client].askedBy = head.method
        guard policy.trusts(clients[client].peer) else {
            return refuse(client, Refusal(.forbidden, detail: "peer_not_trusted"))
        }
        guard head.framing == .none || head.framing == .length(0),
            let question = Question(head, &clients[client].transport.input)
        else {
            return refuse(client, Refusal(.badRequest, detail: "question_incomplete"))
        }
        guard replaceHead(client, by: question) else { return refuse(client, Refusal(.headersTooLarge)) }
        readQuestion(client)
    }

    /// Reads the head of the request in question, which is in the input, and decides on it.
    mutating func readQuestion(_ client: UInt32) {
        switch clients[client].parseHead(into: &head, limits: headLimits) {
        case .complete:
            clients[client].parser = RequestHeadParser()
            askAboutQuestion(client)
        case .refused(let fault):
            refuse(client, fault: fault)
        case .incomplete:
            // A head that was written whole is read whole; were it not, nobody knows what was asked.
            refuse(client, fault: .badRequestLine)
        }
    }

    mutating func askAboutQuestion(_ client: UInt32) {
        // A question that has waited may come back under other settings.
        guard policy.trusts(clients[client].peer) else {
            return refuse(client, Refusal(.forbidden, detail: "peer_not_trusted"))
        }
        // 204 to a preflight would let it pass: the proxy in front, or the backend, answers it.
        let decision = Self.ask(
            &policy, head, &clients[client], now: wallClock, now.microseconds, decisionRound,
            answersPreflights: false)
        switch consume decision {
        case .permit(let permit): confirm(client, permit)
        case .reject(let rejection): refuse(client, rejection)
        case .awaitKeys(let wait): awaitKeys(client, wait, isQuestion: true)
        case .awaitVerdict: awaitVerdict(client, isQuestion: true)
        }
    }

    /// Says yes, and who it is.
    private mutating func confirm(_ client: UInt32, _ permit: consuming Permit) {
        let exchange = openExchange(client, requestBody: BodyRelay(.none, as: .identity))
        noteRequest(exchange, client, route: permit.route)
        exchanges[exchange].notes.note(userOf: permit, policy)
        noteForLog(exchange, client, route: permit.route)
        clients[client].transport.input.consume(head.byteCount)
        exchanges[exchange].phase = .replying
        exchanges[exchange].status = 200
        let fits =
            makeRoom(
                Self.ownAnswerBytes + policy.confirmationByteCount(of: permit) + addedByteCount(exchange),
                client)
            && clients[client].transport.output.appendStatusLine(200)
            && clients[client].transport.output.append("Content-Length: 0\r\nCache-Control: no-store\r\n")
            && policy.appendConfirmation(of: permit, to: &clients[client].transport.output)
            && appendAddedFields(exchange, client)
            && exchanges[exchange].appendOwnFields(
                date: dateField, clients[client].strictTransportSecurity,
                to: &clients[client].transport.output)
            && clients[client].transport.output.append("\r\n")
        guard fits else { return abandon(exchange, .internalError) }
        advanceReply(exchange)
    }

    /// Puts the head of the request in question in the place of the head that asks; false where it is too large.
    private mutating func replaceHead(_ client: UInt32, by question: Question) -> Bool {
        let rest = clients[client].transport.input.count - head.byteCount
        // What the three lines named is written in the request line and Host, and they are not: their names alone are longer
        // than what stands around it there. Every other line gains at most the space behind its colon.
        let bound = head.byteCount + head.fields.count + rest
        guard let size = BlockPool.SizeClass.holding(bound) else { return false }
        var replaced = Buffer()
        replaced.attach(from: &pool, size)
        let fits = question.append(head, &clients[client].transport.input, to: &replaced)
        if fits { swap(&clients[client].transport.input, &replaced) }
        replaced.detach(to: &pool)
        return fits
    }
}

/// What a proxy in front asks about: method, target and host of its client's request, where it put them.
struct Question {
    private let method: ByteRange
    private let target: ByteRange
    private let host: ByteRange

    /// Finds them; nil where one is missing, or said twice, and where the target names a host of its own, which would count
    /// before the one that the proxy in front names (H7). Traefik and Caddy send `X-Forwarded-Method`, `-Uri` and
    /// `-Host`; for nginx the configuration sets `X-Original-Method`, `-URI` and `-Host`.
    init?(_ head: borrowing RequestHead, _ input: inout Buffer) {
        guard let method = Self.single(head, .xForwardedMethod, .xOriginalMethod),
            let target = Self.single(head, .xForwardedURI, .xOriginalURI),
            let host = Self.single(head, .xForwardedHost, .xOriginalHost),
            input.bytes[Int(target.start)] == UInt8(ascii: "/")
        else { return nil }
        self.method = method
        self.target = target
        self.host = host
    }

    /// The one value of either field. Two could name two requests, and the answer would be about one of them (H7).
    private static func single(_ head: borrowing RequestHead, _ first: FieldName, _ second: FieldName)
        -> ByteRange?
    {
        var found: ByteRange?
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.name == first || line.name == second else { continue }
            guard found == nil, !line.valueRange.isEmpty else { return nil }
            found = line.valueRange
        }
        return found
    }

    /// Writes the request in question: its own request line and host, the fields that came along but for those about
    /// the forwarding itself, and behind them whatever followed the question in the input.
    func append(_ head: borrowing RequestHead, _ input: inout Buffer, to output: inout Buffer) -> Bool {
        let bytes = input.bytes
        var fits =
            output.append(bytes.slice(method)) && output.append(" ") && output.append(bytes.slice(target))
            && output.append(head.version == .http10 ? " HTTP/1.0\r\nHost: " : " HTTP/1.1\r\nHost: ")
            && output.append(bytes.slice(host)) && output.append("\r\n")
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            // Whose request it is, rate limits ask of X-Forwarded-For, and DPoP which scheme it had: of a trusted peer,
            // which this one is.
            let isKept =
                (line.name == .xForwardedFor || line.name == .xForwardedProto) && !line.flags.contains(.alias)
            guard isKept || line.flags.isDisjoint(with: [.forwarding, .framing]), line.name != .host else {
                continue
            }
            fits = output.appendFieldLine(bytes, line) && fits
        }
        return fits && output.append("\r\n")
            && output.append(bytes.extracting(droppingFirst: head.byteCount))
    }
}
