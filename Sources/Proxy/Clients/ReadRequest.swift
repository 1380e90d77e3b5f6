internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy
internal import Reactor
internal import Telemetry

// Step 2: a request head is read and decided on.

extension Worker {
    /// Reads from a connection in one go, before others have their turn: a TLS record may hold one byte.
    static var readsPerTurn: Int { 8 }

    /// Requests of one pipelining client in one go, before others have their turn.
    private static var requestsPerTurn: Int { 16 }

    /// Goes on with whatever the client's connection is about.
    mutating func advanceClient(_ client: UInt32) {
        switch clients[client].phase {
        case .choosing: chooseVersion(client)
        case .multiplexing: advanceMultiplexer(client)
        case .greeting: readProxyHeader(client)
        case .handshaking: shakeHands(client)
        case .reading: readRequests(client)
        case .awaitingKeys, .awaitingVerdict: advanceWait(client)
        case .exchanging: advanceExchange(ofClient: client)
        case .lingering: discardInput(client)
        }
    }

    /// Reads and starts requests until the client has sent no more, or one is under way.
    mutating func readRequests(_ client: UInt32) {
        let handle = clients.handle(at: client)
        var reads = Self.readsPerTurn
        for _ in 0..<Self.requestsPerTurn {
            guard readRequest(client, &reads) else { return }
            guard clients.contains(handle), clients[client].phase == .reading else { return }
        }
        resumeNextTurn(handle)
    }

    /// Reads one request, with so many reads left in this turn; false where there is nothing more to do for now.
    mutating func readRequest(_ client: UInt32, _ reads: inout Int) -> Bool {
        if clients[client].transport.isStream { return readStreamRequest(client) }
        while true {
            if !clients[client].transport.input.isEmpty {
                switch clients[client].parseHead(into: &head, limits: headLimits) {
                case .complete:
                    clients[client].parser = RequestHeadParser()
                    takeRequest(client)
                    return true
                case .refused(let fault):
                    clients[client].noteHeadMethod()
                    refuse(client, fault: fault)
                    return true
                case .incomplete:
                    break
                }
            }
            guard reads > 0 else {
                resumeNextTurn(clients.handle(at: client))
                return false
            }
            reads -= 1
            guard readMoreHead(client) else { return false }
        }
    }

    /// Reads a request whose head is here.
    mutating func readRequestAgain(_ client: UInt32) {
        var reads = Self.readsPerTurn
        _ = readRequest(client, &reads)
    }

    /// Reads more of a head; false where nothing came, or the connection is gone.
    private mutating func readMoreHead(_ client: UInt32) -> Bool {
        guard clients[client].transport.isReadable else {
            awaitHead(client)
            return false
        }
        clients[client].transport.makeRoomForHead(in: &pool)
        switch clients[client].transport.fill(from: &pool) {
        case .bytes:
            return true
        case .wouldBlock:
            awaitHead(client)
        case .endOfStream, .failed:
            // A client that leaves between requests, or in the middle of a head, gets no answer.
            closeClient(client)
        }
        return false
    }

    /// How long a connection that was just accepted has for its first request when a drain begins: closed at once, it
    /// would cross the request on its way.
    private static var firstRequestMilliseconds: Int64 { 1000 }

    /// The same for a connection that has not come to its first request yet: whoever says nothing holds up no drain.
    mutating func hurryWhileDraining(_ client: UInt32) {
        guard isDraining, !awaitsLastRequests else { return }
        let end = now.advanced(byMilliseconds: Self.firstRequestMilliseconds)
        clientDeadlines.set(client, min(clientDeadlines.deadline(of: client), end))
    }

    /// Sets the deadline of a client that is to send a head, or the rest of one.
    private mutating func awaitHead(_ client: UInt32) {
        if clients[client].transport.input.isEmpty {
            clients[client].headStarted = .never
            let isFresh = clients[client].isFresh
            guard !clients[client].isLast, !clients[client].transport.hasEnded,
                !isDraining || awaitsLastRequests || isFresh
            else {
                return closeClient(client)
            }
            let isHurried = isDraining && !awaitsLastRequests
            let patience = isHurried ? Self.firstRequestMilliseconds : limits.idleTimeoutMilliseconds
            clientDeadlines.set(client, now.advanced(byMilliseconds: patience))
            return
        }
        if clients[client].headStarted == .never { clients[client].headStarted = now }
        let deadline = clients[client].headStarted.advanced(byMilliseconds: limits.headerTimeoutMilliseconds)
        clientDeadlines.set(client, deadline)
    }

    mutating func takeRequest(_ client: UInt32) {
        guard clients[client].certificateEnd > wallClock else { return outliveCertificate(client) }
        switch listenerModes[clients[client].peer.listener] {
        case .proxy: decide(client)
        case .forwardAuth: answerQuestion(client)
        case .redirect(let port): redirect(client, toPort: port)
        }
    }

    /// Asks the policy, and forwards or answers.
    mutating func decide(_ client: UInt32) {
        switch Self.ask(&policy, head, &clients[client], now: wallClock, now.microseconds, decisionRound) {
        case .permit(let permit): forward(client, permit)
        case .reject(let rejection): refuse(client, rejection)
        case .awaitKeys(let wait): awaitKeys(client, wait)
        case .awaitVerdict: awaitVerdict(client)
        }
    }

    static func ask(
        _ policy: inout PolicySnapshot, _ head: borrowing RequestHead, _ client: inout Downstream, now: Int64,
        _ microseconds: Int64, _ round: DecisionRound, answersPreflights: Bool = true
    ) -> Decision {
        policy.decide(
            head: head, bytes: client.transport.input.bytes, peer: client.peer, now: now,
            microseconds: microseconds, round: round, answersPreflights: answersPreflights)
    }
}
