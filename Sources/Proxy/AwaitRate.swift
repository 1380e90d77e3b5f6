internal import Bytes
public import Policy
public import Reactor

// A request that a shared limit counts waits until the store has said whether it may pass, and not longer than
// `shared.timeout`. Its head stays in the client's buffer, and is decided on again. Requests of one bucket ask together.

/// What a worker asks the store.
public struct RateRequest: Sendable {
    /// About which bucket, and for how many requests.
    public let question: RateQuestion
    /// Who asks.
    public let answerTo: Inbox<WorkerMessage>

    /// That question of that worker.
    public init(_ question: RateQuestion, answerTo: Inbox<WorkerMessage>) {
        self.question = question
        self.answerTo = answerTo
    }
}

/// The requests of one worker that wait for the store.
struct RateWaits {
    /// The most requests that wait in one worker: each holds 16 KiB of memory or more.
    private static let capacity = 4096

    /// A client that waits.
    struct Waiting {
        let client: Handle
        let bucket: UInt64
        /// It asks about another request (forward-auth), which has taken its own head's place already.
        let isQuestion: Bool
        /// What round the decision was in.
        let round: DecisionRound
        /// What is kept for the answer of a request that a server was asked about before.
        let rounds: Int
        let fields: [UInt8]
    }

    private var flights: [UInt64: [Waiting]] = [:]
    private var count = 0

    /// Takes a client in; true where the question has to be put, nil where there is no room.
    mutating func add(_ entry: Waiting) -> Bool? {
        guard count < Self.capacity else { return nil }
        count += 1
        let isFirst = flights[entry.bucket] == nil
        flights[entry.bucket, default: []].append(entry)
        return isFirst
    }

    /// Gives those who waited for that bucket.
    mutating func take(_ bucket: UInt64) -> [Waiting] {
        guard let due = flights.removeValue(forKey: bucket) else { return [] }
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

    /// Takes a client out that waits no longer. Its bucket stays asked about: what comes back is known to nobody else.
    mutating func remove(_ client: Handle) -> Waiting? {
        for (bucket, waiting) in flights {
            guard let place = waiting.firstIndex(where: { $0.client == client }) else { continue }
            count -= 1
            return flights[bucket]?.remove(at: place)
        }
        return nil
    }
}

extension Worker {
    /// Lets the client whose head was just read wait for the store, or has it answered without.
    mutating func awaitRate(_ client: UInt32, _ question: RateQuestion, isQuestion: Bool) {
        let entry = RateWaits.Waiting(
            client: clients.handle(at: client), bucket: question.bucket, isQuestion: isQuestion,
            round: decisionRound, rounds: verdictWaits.rounds, fields: verdictWaits.fields)
        guard let isFirst = rateWaits.add(entry) else {
            policy.setSharedVerdict(.unavailable)
            if isQuestion { askAboutQuestion(client) } else { decide(client) }
            return policy.setSharedVerdict(.none)
        }
        clients[client].phase = .awaitingVerdict
        clientDeadlines.set(client, now.advanced(byMilliseconds: question.timeoutMilliseconds))
        guard isFirst else { return }
        rateQuestions[question.bucket] = question
        rateRequests.send(RateRequest(question, answerTo: inbox))
    }

    /// The store has not answered in time; false where the client does not wait for it.
    mutating func endRateWait(_ client: UInt32) -> Bool {
        guard let entry = rateWaits.remove(clients.handle(at: client)) else { return false }
        decideAgain(entry, .unavailable)
        return true
    }

    /// Takes in what the store said.
    mutating func note(_ answers: [RateAnswer]) {
        for answer in answers { note(answer) }
    }

    private mutating func note(_ answer: RateAnswer) {
        var waiting = rateWaits.take(answer.bucket)
        var question = rateQuestions.removeValue(forKey: answer.bucket)
        guard case .given(let count, _) = answer.verdict else {
            for entry in waiting { decideAgain(entry, .unavailable) }
            return
        }
        let passing = min(count, waiting.count)
        policy.note(answer, used: passing, microseconds: now.microseconds)
        let lucky = waiting[..<passing]
        waiting.removeFirst(passing)
        // Who came while the question was under way: the store may have more.
        if count >= answer.wanted, !waiting.isEmpty, question != nil {
            for entry in waiting { _ = rateWaits.add(entry) }
            question?.wanted = waiting.count
            question?.ahead = 0
            if let question {
                rateQuestions[question.bucket] = question
                rateRequests.send(RateRequest(question, answerTo: inbox))
            }
            waiting = []
        }
        for entry in lucky { decideAgain(entry, .given(bucket: entry.bucket)) }
        for entry in waiting { decideAgain(entry, .none) }
    }

    /// The settings have changed: everybody who waits is decided on by the new ones.
    mutating func restartRateWaits() {
        rateQuestions.removeAll()
        for entry in rateWaits.takeAll() { decideAgain(entry, .none) }
    }

    private mutating func decideAgain(_ entry: RateWaits.Waiting, _ verdict: SharedVerdict) {
        policy.setSharedVerdict(verdict)
        decideAgain(
            entry.client, isQuestion: entry.isQuestion, entry.round, rounds: entry.rounds,
            fields: entry.fields)
        policy.setSharedVerdict(.none)
    }
}
