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

extension Worker {
    /// Lets the client whose head was just read wait for the store, or has it answered without.
    mutating func awaitRate(_ client: UInt32, _ question: RateQuestion, isQuestion: Bool) {
        guard rateWaits.add(waiting(client, isQuestion: isQuestion), for: question.bucket) != nil else {
            policy.setSharedVerdict(.unavailable)
            decideAtOnce(client, isQuestion: isQuestion)
            return policy.setSharedVerdict(.none)
        }
        clients[client].phase = .awaitingVerdict
        clientDeadlines.set(client, now.advanced(byMilliseconds: question.timeoutMilliseconds))
        // Whoever asked may have gone since: what comes back is for those who have come.
        guard rateQuestions[question.bucket] == nil else { return }
        rateQuestions[question.bucket] = question
        rateRequests.send(RateRequest(question, answerTo: inbox))
    }

    /// The store has not answered in time; false where the client does not wait for it.
    mutating func endRateWait(_ client: UInt32) -> Bool {
        guard let entry = rateWaits.remove(clients.handle(at: client)) else { return false }
        decideAgain(entry, with: .unavailable)
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
            for entry in waiting { decideAgain(entry, with: .unavailable) }
            return
        }
        let passing = min(count, waiting.count)
        policy.note(answer, used: passing, microseconds: now.microseconds)
        let lucky = waiting[..<passing]
        waiting.removeFirst(passing)
        // Who came while the question was under way: the store may have more.
        if count >= answer.wanted, !waiting.isEmpty, question != nil {
            for entry in waiting { _ = rateWaits.add(entry, for: answer.bucket) }
            question?.wanted = waiting.count
            question?.ahead = 0
            if let question {
                rateQuestions[question.bucket] = question
                rateRequests.send(RateRequest(question, answerTo: inbox))
            }
            waiting = []
        }
        for entry in lucky { decideAgain(entry, with: .given(bucket: answer.bucket)) }
        for entry in waiting { decideAgain(entry, with: .none) }
    }

    /// The settings have changed: everybody who waits is decided on by the new ones.
    mutating func restartRateWaits() {
        rateQuestions.removeAll()
        for entry in rateWaits.takeAll() { decideAgain(entry, with: .none) }
    }

    private mutating func decideAgain(_ entry: WaitingClient, with verdict: SharedVerdict) {
        policy.setSharedVerdict(verdict)
        decideAgain(entry, entry.round)
        policy.setSharedVerdict(.none)
    }
}
