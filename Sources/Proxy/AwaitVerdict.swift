internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy
internal import Reactor

// A request whose credential only a server can judge waits for the control thread to ask it. Its head stays in the
// client's buffer, and is decided on again when the answer is there. All requests with the same credential wait for
// the same answer.

/// The requests of one worker that wait for a verdict.
struct VerdictWaits {
    /// The most requests that wait in one worker: each holds 16 KiB of memory or more.
    private static let capacity = 1024
    /// A request that needs more than this is answered as things are: two credentials are the most that it has.
    static let largestRoundCount = 3

    /// A client that waits.
    struct Waiting {
        let client: Handle
        let key: RemoteKey
        /// It asks about another request (forward-auth), which has taken its own head's place already.
        let isQuestion: Bool
        /// How often it has waited, this time included.
        let rounds: Int
        /// The fields that its answer gets, from what it waited for before.
        var fields: [UInt8]
    }

    private var flights: [RemoteKey: [Waiting]] = [:]
    private var count = 0
    /// How often the request that is being decided on has waited, and the fields that its answer gets from that.
    var rounds = 0
    var fields: [UInt8] = []

    /// Takes a client in; true where the question has to be put, nil where there is no room.
    mutating func add(_ entry: Waiting) -> Bool? {
        guard count < Self.capacity else { return nil }
        count += 1
        let isFirst = flights[entry.key] == nil
        flights[entry.key, default: []].append(entry)
        return isFirst
    }

    /// Gives those who waited for that answer.
    mutating func take(_ key: RemoteKey) -> [Waiting] {
        guard let due = flights.removeValue(forKey: key) else { return [] }
        count -= due.count
        return due
    }

    /// Gives everybody who waits.
    mutating func takeAll() -> [Waiting] {
        defer {
            flights.removeAll()
            count = 0
        }
        return flights.values.flatMap { $0 }
    }

    /// Takes a client out that waits no longer. Its question stays under way where others wait for it, too.
    mutating func remove(_ client: Handle) -> Waiting? {
        for (key, waiting) in flights {
            guard let place = waiting.firstIndex(where: { $0.client == client }) else { continue }
            count -= 1
            let entry = flights[key]?.remove(at: place)
            if flights[key]?.isEmpty == true { flights[key] = nil }
            return entry
        }
        return nil
    }
}

extension Worker {
    /// How long a request waits for a verdict, in milliseconds: longer than the control thread waits for the server, so
    /// that its word is heard.
    private static var verdictWaitMilliseconds: Int64 { 5000 }

    /// Lets the client whose head was just read wait for the answer to the policy's question, or answers it.
    mutating func awaitVerdict(_ client: UInt32, isQuestion: Bool = false) {
        if let question = policy.takeRateQuestion() {
            return awaitRate(client, question, isQuestion: isQuestion)
        }
        guard let question = policy.takeQuestion() else { return refuse(client, Refusal(.internalError)) }
        if let issuer = policy.takeWantedKeyIssuer() { wantKeys(ofIssuer: issuer) }
        let entry = VerdictWaits.Waiting(
            client: clients.handle(at: client), key: question.key, isQuestion: isQuestion,
            rounds: verdictWaits.rounds + 1, fields: verdictWaits.fields)
        guard let isFirst = verdictWaits.add(entry) else {
            decisionRound = .last
            if isQuestion { askAboutQuestion(client) } else { decide(client) }
            decisionRound = .first
            return
        }
        clients[client].phase = .awaitingVerdict
        clientDeadlines.set(client, now.advanced(byMilliseconds: Self.verdictWaitMilliseconds))
        if isFirst { questions.send(question) }
    }

    /// The poller reports something of a client that waits: only its end matters. What it sends stays unread.
    mutating func advanceVerdictWait(_ client: UInt32) {
        guard clients[client].transport.isBroken else { return }
        leaveVerdictWait(client)
        closeClient(client)
    }

    /// Forgets a client that waits for a server's word, or for the store's.
    mutating func leaveVerdictWait(_ client: UInt32) {
        let handle = clients.handle(at: client)
        if verdictWaits.remove(handle) == nil { _ = rateWaits.remove(handle) }
    }

    /// Nothing came in time: the client is answered as things are.
    mutating func endVerdictWait(_ client: UInt32) {
        if endRateWait(client) { return }
        guard let entry = verdictWaits.remove(clients.handle(at: client)) else { return closeClient(client) }
        decideAgain(entry, .last, adding: [])
    }

    /// Takes in what a server said.
    mutating func note(_ answer: RemoteAnswer) {
        policy.note(answer, now: wallClock)
        var fields: [UInt8] = []
        for value in answer.setCookies { fields += Array("Set-Cookie: ".utf8) + value + [0x0D, 0x0A] }
        for entry in verdictWaits.take(answer.key) {
            decideAgain(entry, entry.rounds < VerdictWaits.largestRoundCount ? .again : .last, adding: fields)
        }
    }

    /// The settings have changed: everybody who waits is decided on by the new ones.
    mutating func restartVerdictWaits() {
        for entry in verdictWaits.takeAll() { decideAgain(entry, .again, adding: []) }
    }

    private mutating func decideAgain(
        _ entry: VerdictWaits.Waiting, _ round: DecisionRound, adding fields: [UInt8]
    ) {
        decideAgain(
            entry.client, isQuestion: entry.isQuestion, round, rounds: entry.rounds,
            fields: entry.fields + fields)
    }

    /// Reads the head again, which is still there, and decides.
    mutating func decideAgain(
        _ handle: Handle, isQuestion: Bool, _ round: DecisionRound, rounds: Int, fields: [UInt8]
    ) {
        guard clients.contains(handle) else { return }
        let client = handle.index
        clients[client].phase = .reading
        clientDeadlines.set(client, .never)
        decisionRound = round
        verdictWaits.rounds = rounds
        verdictWaits.fields = fields
        if isQuestion { readQuestion(client) } else { _ = readRequest(client) }
        decisionRound = .first
        verdictWaits.rounds = 0
        verdictWaits.fields = []
        // More requests may be here already.
        if clients.contains(handle), clients[client].phase == .reading { resumeNextTurn(handle) }
    }

    // MARK: What the server tells the client

    /// Keeps the fields for the answer of an exchange that begins.
    mutating func addFields(to exchange: UInt32) {
        exchanges[exchange].hasAddedFields = true
        fieldsOfExchange[exchange] = verdictWaits.fields
    }

    /// The lines that the answer gets besides its own, with CRLF.
    func addedFields(_ exchange: UInt32) -> [UInt8] {
        exchanges[exchange].hasAddedFields ? fieldsOfExchange[exchange] ?? [] : []
    }

    /// Writes them; false where they do not fit.
    mutating func appendAddedFields(_ exchange: UInt32, _ client: UInt32) -> Bool {
        guard exchanges[exchange].hasAddedFields else { return true }
        return clients[client].transport.output.append(addedFields(exchange).span)
    }
}
