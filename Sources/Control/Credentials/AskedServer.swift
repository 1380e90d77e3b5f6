import Config
import Policy
import Reactor
import TLS

/// One server that judges credentials: its connections, and the questions that wait for one.
final class AskedServer {
    /// From the connect to its end.
    static let connectMilliseconds: Int64 = 1500
    /// From the request to the end of the answer.
    static let answerMilliseconds: Int64 = 3000
    /// A connection that carries nothing is closed: servers do so after 5 seconds, and a request must not meet that.
    static let idleMilliseconds: Int64 = 4000
    /// From the question to the answer, all waiting included: shorter than workers wait.
    private static let patienceMilliseconds: Int64 = 4500
    /// Connections to one server: enough for some thousand questions a second.
    private static let lineCount = 8
    /// Questions that wait for a connection: more than that many workers' clients never wait.
    private static let queueCount = 4096
    /// How much these may take: some hundred of the longest that there can be, and all of the usual ones.
    private static let queueBytes = 16 << 20
    /// How long a server that cannot be reached is not tried.
    private static let breakMilliseconds: Int64 = 1000
    /// How long addresses of a name are used.
    private static let addressMilliseconds: Int64 = 30_000

    let source: RemoteSource
    /// Names this way of asking in questions and answers.
    let stamp: UInt64
    var lines: [VerdictLine] = []
    /// The look-up that is under way.
    var lookup: UInt32?
    var failures: UInt64 = 0
    /// What the metrics say of it.
    private(set) var tally = QuestionTally()
    /// Nothing is logged before then.
    var quietUntil = Instant(microseconds: .min)

    /// A question that was asked and is not answered yet.
    private struct Flight {
        /// The end of the patience.
        let end: Instant
        /// How often a connection for it has failed before it was put.
        var failures = 0
    }

    private var flights: [RemoteKey: Flight] = [:]
    /// What waits for a connection; the first ones are taken from the front, up to `taken`.
    private var queue: [RemoteQuestion] = []
    private var taken = 0
    private var queuedBytes = 0
    private(set) var recent = RecentAnswers()
    private var addresses: [SocketAddress] = []
    private var addressesUntil = Instant(microseconds: .min)
    private var addressPlace = 0
    /// None of them was reached when last tried: whoever waits had better wait for a look-up.
    private var areDoubted = false
    /// Addresses in a row that gave no answer.
    private var silentCount = 0
    private var brokenUntil = Instant(microseconds: .min)
    private var trust: ServerTrust

    init(_ source: RemoteSource, stamp: UInt64) {
        self.source = source
        trust = ServerTrust(source.authorities)
        self.stamp = stamp
    }

    // MARK: Questions

    /// Takes a question in; the answer where it is known at once.
    func ask(_ question: RemoteQuestion, now: Instant) -> RemoteAnswer? {
        if flights[question.key] != nil { return nil }
        if let known = recent.result(for: question.key, now: now) {
            // What it told the client, it told the one who asked first.
            return RemoteAnswer(key: question.key, result: known)
        }
        guard brokenUntil <= now, queue.count - taken < Self.queueCount,
            queuedBytes + Self.size(question) <= Self.queueBytes
        else {
            // It has not waited: durations of nothing, in their thousands, would hide how long others do.
            tally.unavailable += 1
            return RemoteAnswer(key: question.key, result: .unavailable)
        }
        flights[question.key] = Flight(end: now.advanced(byMilliseconds: Self.patienceMilliseconds))
        // Nobody waits for its answer any more, but it is under way: a second one could be overtaken by the first.
        if !lines.contains(where: { $0.question?.key == question.key }) {
            queue.append(question)
            queuedBytes += Self.size(question)
        }
        return nil
    }

    private static func size(_ question: RemoteQuestion) -> Int {
        question.key.credential.count + question.text.count
    }

    /// Questions that wait for a connection, or for their answer.
    var openQuestions: Int { flights.count }

    /// The question that is put next.
    var next: RemoteQuestion? { taken < queue.count ? queue[taken] : nil }

    func removeNext() {
        queuedBytes -= Self.size(queue[taken])
        taken += 1
        guard taken > 64, taken * 2 > queue.count else { return }
        queue.removeFirst(taken)
        taken = 0
    }

    /// As `putBack`, of a question whose connection has failed; false where it has been to every address: connections to
    /// several fail at once, and would send each other's questions round and round.
    func putElsewhere(_ question: RemoteQuestion) -> Bool {
        guard let failures = flights[question.key]?.failures else { return true }
        guard failures < addresses.count else { return false }
        flights[question.key]?.failures += 1
        putBack(question)
        return true
    }

    /// A question that is still to be put goes first on the next connection.
    func putBack(_ question: RemoteQuestion) {
        guard flights[question.key] != nil else { return }
        queue.insert(question, at: taken)
        queuedBytes += Self.size(question)
    }

    /// The question is answered.
    func concluded(_ answer: RemoteAnswer, now: Instant) {
        land(answer.key, answer.result, now: now)
        guard answer.result != .unavailable else { return }
        recent.note(answer, now: now)
    }

    /// Counts what came of a question that has waited, once.
    private func land(_ key: RemoteKey, _ result: RemoteAnswer.Result, now: Instant) {
        guard let end = flights.removeValue(forKey: key)?.end else { return }
        let asked = Instant(microseconds: end.microseconds - Self.patienceMilliseconds * 1000)
        tally.note(result, microseconds: now.microseconds(since: asked))
    }

    /// Answers those whose patience is over before they got a connection.
    func expire(now: Instant) -> [RemoteAnswer] {
        let late = flights.filter { $0.value.end <= now }
        guard !late.isEmpty else { return [] }
        let waiting = queue[taken...].filter { late[$0.key] == nil }
        queue = Array(waiting)
        queuedBytes = queue.reduce(0) { $0 + Self.size($1) }
        taken = 0
        for key in late.keys { land(key, .unavailable, now: now) }
        return late.keys.map { RemoteAnswer(key: $0, result: .unavailable) }
    }

    /// The server cannot be reached: all who wait for a connection are told, and it is left alone for a moment.
    func giveUp(now: Instant) -> [RemoteAnswer] {
        brokenUntil = now.advanced(byMilliseconds: Self.breakMilliseconds)
        (addressesUntil, areDoubted) = (now, true)
        let waiting = queue[taken...].map(\.key)
        queue = []
        (taken, queuedBytes) = (0, 0)
        for key in waiting { land(key, .unavailable, now: now) }
        return waiting.map { RemoteAnswer(key: $0, result: .unavailable) }
    }

    /// When something is due: of what waits, the first has waited longest.
    var deadline: Instant {
        let patience = next.flatMap { flights[$0.key]?.end } ?? .never
        return lines.reduce(patience) { min($0, $1.deadline) }
    }

    // MARK: Connections

    func line(_ token: UInt64) -> VerdictLine? { lines.first { $0.token == token } }

    var idleLine: VerdictLine? { lines.last { $0.question == nil } }

    var mayOpenLine: Bool { lines.count < Self.lineCount }

    func drop(_ line: VerdictLine) { lines.removeAll { $0 === line } }

    /// Whom its connections trust: authorities of its own, or those of the system.
    func context(or system: SystemTrust) throws(TLSError) -> TLSContext {
        try trust.context(or: system)
    }

    // MARK: Addresses

    /// Takes in what a look-up has brought; what is known stays known while it brings nothing. The same addresses are no reason to
    /// go back to one that gives no answer, nor is another order of them.
    func note(addresses: [SocketAddress], now: Instant) {
        if !addresses.isEmpty, Set(addresses) != Set(self.addresses) {
            self.addresses = addresses
            (addressPlace, silentCount) = (0, 0)
        }
        (addressesUntil, areDoubted) = (now.advanced(byMilliseconds: Self.addressMilliseconds), false)
    }

    /// The address to try; nil where it has to be looked up.
    func address(now: Instant) -> SocketAddress? {
        guard now < addressesUntil, addressPlace < addresses.count else { return nil }
        return addresses[addressPlace]
    }

    /// Where it was, for as long as a look-up takes; nil where nobody was there either.
    var formerAddress: SocketAddress? {
        areDoubted || addressPlace >= addresses.count ? nil : addresses[addressPlace]
    }

    /// That address gives no answer: the next one is tried. False where all have been since the last answer.
    func moveOn(from failed: SocketAddress) -> Bool {
        guard addressPlace < addresses.count else { return false }
        if addresses[addressPlace] != failed { return true }
        addressPlace = (addressPlace + 1) % addresses.count
        silentCount += 1
        guard silentCount < addresses.count else {
            silentCount = 0
            return false
        }
        // What rests would be silent as well.
        lines.removeAll { $0.question == nil && $0.connection.address == failed }
        return true
    }

    /// There are several addresses, and no connection to any of them has come as far as a request. With one a failed handshake
    /// is that connection's alone, as when a server that answers others restarts.
    var isUnproven: Bool { addresses.count > 1 && !lines.contains { !$0.connection.isBeforeRequest } }

    /// Somebody is there.
    func reached() { brokenUntil = Instant(microseconds: .min) }

    /// Whoever is there has answered.
    func answered() { silentCount = 0 }
}

/// A connection to such a server, and the question that it carries.
final class VerdictLine {
    let connection: FetchConnection
    let token: UInt64
    /// The question that it carries; nil while it rests.
    private(set) var question: RemoteQuestion?
    /// When its question, or its rest, is over.
    var deadline = Instant.never
    /// It carried another question before.
    private(set) var isReused = false

    init(_ connection: FetchConnection, token: UInt64) {
        self.connection = connection
        self.token = token
    }

    func carries(_ question: RemoteQuestion, until deadline: Instant) {
        self.question = question
        self.deadline = deadline
    }

    func rest(until deadline: Instant) {
        question = nil
        isReused = true
        self.deadline = deadline
    }
}
