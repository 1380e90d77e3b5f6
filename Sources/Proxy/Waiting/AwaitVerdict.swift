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
    /// A request that needs more than this is answered as things are: two credentials are the most that it has.
    static let largestCount = 3

    /// Each of them holds 16 KiB of memory or more.
    var clients = WaitingClients<RemoteKey>(capacity: 1024)
    /// How many verdicts the request that is being decided on has waited for, and the fields that its answer gets from
    /// that.
    var count = 0
    var fields: [UInt8] = []
    /// The marks of all streams that end where a server says no to their credential, and of some that are over.
    var marks: Set<UInt64> = []
}

extension Worker {
    /// How long a request waits for a verdict, in milliseconds: longer than the control thread waits for the server, so
    /// that its word is heard.
    private static var verdictWaitMilliseconds: Int64 { 5000 }

    /// How long behind a verdict an answer says what the server wants its client told, in milliseconds: most answers come
    /// sooner, and few people sign out within it.
    private static var addedFieldsMilliseconds: Int64 { 3000 }

    /// Lets the client whose head was just read wait for the answer to the policy's question, or answers it.
    mutating func awaitVerdict(_ client: UInt32, isQuestion: Bool = false) {
        if let question = policy.takeRateQuestion() {
            return awaitRate(client, question, isQuestion: isQuestion)
        }
        guard let question = policy.takeQuestion() else { return refuse(client, Refusal(.internalError)) }
        if let issuer = policy.takeWantedKeyIssuer() { wantKeys(ofIssuer: issuer) }
        var entry = waiting(client, isQuestion: isQuestion)
        entry.verdictCount += 1
        guard let isFirst = verdictWaits.clients.add(entry, for: question.key) else {
            decisionRound = .last
            decideAtOnce(client, isQuestion: isQuestion)
            decisionRound = .first
            return
        }
        clients[client].phase = .awaitingVerdict
        clientDeadlines.set(client, now.advanced(byMilliseconds: Self.verdictWaitMilliseconds))
        if isFirst { questions.send(question) }
    }

    /// Nothing came in time: the client is answered as things are.
    mutating func endVerdictWait(_ client: UInt32) {
        if endRateWait(client) { return }
        guard let entry = verdictWaits.clients.remove(clients.handle(at: client)) else {
            return closeClient(client)
        }
        decideAgain(entry, .last)
    }

    /// Takes in what a server said.
    mutating func note(_ answer: RemoteAnswer) {
        if let mark = policy.note(answer, now: wallClock) { endStreams(markedBy: mark) }
        var fields: [UInt8] = []
        for value in answer.setCookies { fields += Array("Set-Cookie: ".utf8) + value + [0x0D, 0x0A] }
        for var entry in verdictWaits.clients.take(answer.key) {
            entry.fields += fields
            // Who has waited for keys waits for none again.
            let round = entry.round == .withKeys ? DecisionRound.withKeys : .again
            decideAgain(entry, entry.verdictCount < VerdictWaits.largestCount ? round : .last)
        }
    }

    /// The settings have changed: everybody who waits is decided on by the new ones.
    mutating func restartVerdictWaits() {
        for entry in verdictWaits.clients.takeAll() { decideAgain(entry, .again) }
    }

    // MARK: What the server tells the client

    /// Keeps the fields for the answer of an exchange that begins.
    mutating func addFields(to exchange: UInt32) {
        exchanges[exchange].hasAddedFields = true
        fieldsOfExchange[exchange] = AddedFields(
            lines: verdictWaits.fields, end: now.advanced(byMilliseconds: Self.addedFieldsMilliseconds))
    }

    /// True where the answer gets lines besides its own. One that comes late gets none: its client may have signed out
    /// since, and the cookies of before would sign it in again. Whatever comes next is asked about anew.
    func getsAddedFields(_ exchange: UInt32) -> Bool {
        exchanges[exchange].hasAddedFields && keptByteCount(exchange) > 0
    }

    /// The length of these lines in bytes. Most answers have none: they pay for the look alone, not for the array.
    func addedByteCount(_ exchange: UInt32) -> Int {
        getsAddedFields(exchange) ? keptByteCount(exchange) : 0
    }

    @inline(never)
    private func keptByteCount(_ exchange: UInt32) -> Int {
        guard let fields = fieldsOfExchange[exchange], now < fields.end else { return 0 }
        return fields.lines.count
    }

    /// Writes the lines, each with its CRLF; false where they do not fit.
    mutating func appendAddedFields(_ exchange: UInt32, _ client: UInt32) -> Bool {
        !getsAddedFields(exchange) || appendKeptFields(exchange, client)
    }

    @inline(never)
    private mutating func appendKeptFields(_ exchange: UInt32, _ client: UInt32) -> Bool {
        guard let fields = fieldsOfExchange[exchange] else { return true }
        return clients[client].transport.output.append(fields.lines.span)
    }
}

/// What a server that was asked tells the client of a request.
struct AddedFields {
    /// Lines, each with its CRLF.
    let lines: [UInt8]
    /// An answer that comes later gets none of them.
    let end: Instant
}
