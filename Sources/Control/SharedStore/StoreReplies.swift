import Config
import Logging
import Policy
import Proxy
import Reactor
import Redis

// What becomes of the replies of the shared store.

extension StoreLoop {
    func take(_ reply: RedisReply, _ tag: UInt64) throws(StoreFailure) {
        guard let (flight, at) = land(tag) else { throw StoreFailure(reason: "\(RedisFault.unexpected)") }
        let microseconds = now.microseconds(since: at)
        channels.meters.count(microseconds: microseconds)
        let timeout = (target?.shared.timeout.wholeMilliseconds ?? 0) * 1000
        let refusal = Self.refusal(reply)
        let isLeft = refusal.map { RedisSession.isElsewhere($0) && mayLeave() } ?? false
        if let refusal {
            // What a store says before it is left is no sign of life.
            if !isLeft { noteSpeed(isInTime: microseconds <= timeout) }
            take(error: refusal, flight)
            if isLeft { throw StoreFailure(reason: refusal) }
            return
        }
        do throws(RedisFault) {
            switch flight {
            case .rate(let request):
                try take(reply, of: request)
                noteTaken()
            case .read: try takeRead(reply, at)
            case .added(let entries):
                isAdding = false
                book.noteAdded(entries)
                noteTaken()
                channels.meters.setPending(book.pending.count)
                if !book.pending.isEmpty { pollAt = now }
            }
        } catch {
            throw StoreFailure(reason: "\(error)")
        }
        // Neither is what makes no sense.
        noteSpeed(isInTime: microseconds <= timeout)
    }

    /// Why the store would not; nil where it did.
    private static func refusal(_ reply: RedisReply) -> String? {
        guard case .error(let words) = reply else { return nil }
        return RedisSession.printable(words)
    }

    /// Takes out what a reply was awaited for: mostly what has waited longest.
    private func land(_ tag: UInt64) -> (flight: Flight, at: Instant)? {
        guard let place = flights[landed...].firstIndex(where: { $0.tag == tag }) else { return nil }
        let (flight, _, at) = flights[place]
        guard place == landed else {
            flights.remove(at: place)
            return (flight, at)
        }
        landed += 1
        if landed == flights.count || landed > 1024 {
            flights.removeFirst(landed)
            landed = 0
        }
        return (flight, at)
    }

    private func noteSpeed(isInTime: Bool) {
        // What was slow for a moment is asked again soon, so that requests go on without it for no longer than it is.
        if !isInTime { pollAt = min(pollAt, now.advanced(byMilliseconds: Self.secondLookMilliseconds)) }
        guard isInTime, !channels.standing.isAnswering else { return }
        channels.standing.isAnswering = true
        log.notice("the shared store answers", metadata: ["address": "\(line.map { "\($0.address)" } ?? "")"])
        lastFailure = ""
        quietUntil = now
    }

    /// The store understood, and would not.
    private func take(error words: String, _ flight: Flight) {
        channels.meters.count(.errors)
        switch flight {
        case .rate(let request): answer(request, .unavailable)
        case .read:
            isReading = false
            settle()
        case .added: isAdding = false
        }
        if case .rate = flight {} else { pollAt = now.advanced(byMilliseconds: Self.pollMilliseconds) }
        guard words != lastFailure || quietUntil <= now else { return }
        lastFailure = words
        quietUntil = now.advanced(byMilliseconds: Self.quietMilliseconds)
        log.warning("the shared store refuses a call", metadata: ["reason": "\(words)"])
    }

    private func takeRead(_ reply: RedisReply, _ at: Instant) throws(RedisFault) {
        isReading = false
        // By this machine's clock as well as by the store's, which may have stepped.
        let kept = (target?.shared.revocationsKept.wholeMilliseconds ?? 0) * 1000
        let outcome = try book.take(reply, young: wallClockMicroseconds() - kept / 2)
        channels.meters.setPending(book.pending.count)
        // One report for all that was read: the workers take the whole list each time.
        hasNews = hasNews || outcome.isChanged
        guard outcome.isWhole else { return pollAt = now }
        tellNews()
        channels.standing.revocationsReadMicroseconds = at.microseconds
        channels.meters.setRevocationsRead(at)
        settle(isRead: true)
        pollAt = min(pollAt, now.advanced(byMilliseconds: Self.pollMilliseconds))
    }

    /// Tells the control thread what was read: also where the rest could not be.
    func tellNews() {
        guard hasNews else { return }
        hasNews = false
        channels.reports.send(.revocations(book.list))
        guard book.leftOutCount > leftOutTold else { return }
        log.warning(
            "the shared store has more revocations than are kept: the oldest are not known",
            metadata: ["left_out": .stringConvertible(book.leftOutCount - leftOutTold)])
        leftOutTold = book.leftOutCount
    }

    /// Who asked hears of what is no answer, too: the flight is over, and the end of the connection knows nothing of it.
    private func take(_ reply: RedisReply, of request: RateRequest) throws(RedisFault) {
        do throws(RedisFault) {
            answer(request, try Self.verdict(reply, request.question))
        } catch {
            answer(request, .unavailable)
            throw error
        }
    }

    private static func verdict(
        _ reply: RedisReply, _ question: RateQuestion
    ) throws(RedisFault) -> RateAnswer.Verdict {
        guard let parts = reply.parts, parts.count == 2, let given = parts[0].number,
            let fullIn = parts[1].number, (0...Int64(question.wanted + question.ahead)).contains(given),
            (0...question.fillTime).contains(fullIn)
        else { throw .unexpected }
        return .given(Int(given), fullInMicroseconds: fullIn)
    }

    func answer(_ request: RateRequest, _ verdict: RateAnswer.Verdict) {
        let answer = RateAnswer(request.question, verdict)
        if let place = answers.firstIndex(where: { $0.inbox === request.answerTo }) {
            answers[place].answers.append(answer)
        } else {
            answers.append((request.answerTo, [answer]))
        }
    }

    /// One message for each worker and turn.
    func deliverAnswers() {
        for (inbox, answers) in answers { inbox.send(.rates(answers)) }
        answers.removeAll(keepingCapacity: true)
    }
}
