import Config
import Crypto
import JOSE
import Logging
import Policy
import Proxy
import Reactor
import Redis
import TLS

/// What the control thread tells the thread that talks to the shared store.
enum StoreOrder: Sendable {
    /// Talk to this store from now on, or to none.
    case configure(StoreTarget?, Logger)
    /// Add these entries to the list of revoked tokens.
    case revoke([[UInt8]])
    /// End.
    case stop
}

/// What that thread tells the control thread.
enum StoreReport: Sendable {
    /// The list of revoked tokens as the store has it.
    case revocations(RevocationList)
    /// The list was read for the first time, or could not be.
    case settled(isRead: Bool)
}

/// A store, and what it is used for.
struct StoreTarget: Sendable, Equatable {
    var shared: SharedConfiguration
    /// Whom a secure connection trusts.
    var authorities: [UInt8]
}

/// The loop that talks to the shared store, on a thread of its own: nothing else that the process does delays it, as a
/// request that waits has no more than some milliseconds.
///
/// One connection carries everything, calls go one behind the other without waiting for replies. What was under way when
/// a connection ends is not asked again: nobody knows whether it has counted.
final class StoreLoop {
    private static let (ordersToken, ratesToken, lookupsToken, firstLine): (UInt64, UInt64, UInt64, UInt64) =
        (1, 2, 3, 16)
    /// From the connect to the end of the login.
    private static let loginMilliseconds: Int64 = 1000
    /// A reply that takes longer never comes: the connection is given up.
    private static let patienceMilliseconds: Int64 = 1000
    /// Between two attempts to connect: a revocation counts everywhere a second after the store is back.
    private static let retryMilliseconds: Int64 = 250
    /// Between two looks at the list of revoked tokens, which are signs of life, too.
    static let pollMilliseconds: Int64 = 250
    /// From a reply that came too late to the next look.
    static let secondLookMilliseconds: Int64 = 20
    /// From leaving a store that says that it has not its place any more to leaving the next one: at first, and at most. Where no
    /// other has the place, what it still does is worth more than a connection that is always new.
    private static let leaveMilliseconds: (first: Int64, last: Int64) = (5000, 300_000)
    /// Between two lines of the log about the same trouble.
    static let quietMilliseconds: Int64 = 10_000

    /// What a reply is awaited for.
    enum Flight {
        case rate(RateRequest)
        case read
        case added([[UInt8]])
    }

    let channels: StoreChannels
    private var poller: Poller
    var log: Logger
    var target: StoreTarget?
    private var context: TLSContext?
    var book = RevocationBook()
    private var (hasSettled, hasRead) = (false, false)

    var line: StoreLine?
    private var nextToken = StoreLoop.firstLine
    private var lineDeadline = Instant.never
    private var connectAt = Instant.never
    private var addresses: [SocketAddress] = []
    /// The look-up that is under way, maybe for a store before.
    private var lookup: (name: String, thread: NameLookup)?
    private var lookupNumber: UInt32 = 0
    /// A store that is in its place no more is not left again before then, and the next one not for so long behind that.
    private var leaveAt = Instant(microseconds: .min)
    private var leavePause = StoreLoop.leaveMilliseconds.first

    /// In the order of the calls; those before `landed` are done. A call whose script the store had forgotten goes once
    /// more, and is answered behind others: each has a tag.
    var flights: [(flight: Flight, tag: UInt64, at: Instant)] = []
    var landed = 0
    private var lastTag: UInt64 = 0
    var pollAt = Instant.never
    var isReading = false
    /// Something was read that the workers do not know yet.
    var hasNews = false
    /// Of how many entries that there was no room for the log knows.
    var leftOutTold = 0
    var isAdding = false
    var answers: [(inbox: Inbox<WorkerMessage>, answers: [RateAnswer])] = []
    var now = Instant.now()
    private var isStopped = false
    var lastFailure = ""
    var quietUntil = Instant(microseconds: .min)

    init(_ channels: StoreChannels, log: Logger) throws(Errno) {
        self.channels = channels
        self.log = log
        poller = try Poller()
        try poller.add(channels.orders.descriptor, token: Self.ordersToken, for: .readable)
        try poller.add(channels.rates.descriptor, token: Self.ratesToken, for: .readable)
        try poller.add(channels.lookups.descriptor, token: Self.lookupsToken, for: .readable)
    }

    /// Runs until it is told to stop.
    func run() {
        while !isStopped {
            let count = poller.wait(timeoutMilliseconds: waitMilliseconds)
            now = Instant.now()
            for index in 0..<count { dispatch(poller.token(index)) }
            runDeadlines()
            advanceLine(isEvent: false)
            deliverAnswers()
        }
        endLine()
        deliverAnswers()
    }

    private func dispatch(_ token: UInt64) {
        switch token {
        case Self.ordersToken: for order in channels.orders.receive() { obey(order) }
        case Self.ratesToken: for request in channels.rates.receive() { ask(request) }
        case Self.lookupsToken: for answer in channels.lookups.receive() { note(answer) }
        case line?.token: advanceLine(isEvent: true)
        default: break
        }
    }

    private var waitMilliseconds: Int32 {
        var next = min(connectAt, lineDeadline, pollAt)
        if landed < flights.count {
            next = min(next, flights[landed].at.advanced(byMilliseconds: Self.patienceMilliseconds))
            if channels.standing.isAnswering { next = min(next, lateAt) }
        }
        return next.timeoutMilliseconds(from: now)
    }

    /// When the oldest call has waited longer than a request may.
    private var lateAt: Instant {
        flights[landed].at.advanced(byMilliseconds: target?.shared.timeout.wholeMilliseconds ?? 0)
    }

    // MARK: Orders

    func obey(_ order: StoreOrder) {
        switch order {
        case .stop: isStopped = true
        case .revoke(let entries):
            book.add(entries)
            channels.meters.setPending(book.pending.count)
            pollAt = line?.isReady == true ? now : pollAt
        case .configure(let new, let logger):
            log = logger
            guard new != target else { return }
            if new?.shared.address != target?.shared.address || new?.shared.prefix != target?.shared.prefix {
                hasNews = book.forgetStore() || hasNews
            }
            endLine()
            target = new
            (hasSettled, hasRead) = (false, false)
            addresses = []
            forgetLeaving()
            context = nil
            connectAt = new == nil ? .never : now
            quietUntil = now
            lastFailure = ""
        }
    }

    // MARK: Connecting

    func connect() {
        connectAt = .never
        guard let target else { return }
        if target.shared.isSecure, context == nil {
            do throws(TLSError) { context = try TLSContext(clientTrusting: target.authorities.span) } catch {
                return fail("\(error)")
            }
        }
        switch target.shared.address {
        case .unix(let path): open(.unix(path), target)
        case .ip(_, let port):
            guard let address = SocketAddress.numeric(target.shared.host, port: port) else {
                return fail("no address")
            }
            open(address, target)
        case .name(let name, let port):
            guard addresses.isEmpty else { return open(addresses.removeFirst(), target) }
            startLookup(name, port)
        }
    }

    private func startLookup(_ name: String, _ port: UInt16) {
        guard lookup == nil else { return }
        lineDeadline = now.advanced(byMilliseconds: Self.loginMilliseconds)
        lookupNumber &+= 1
        do throws(Errno) {
            let thread = try NameLookup(
                name, port: port, identifier: lookupNumber, answerTo: channels.lookups)
            lookup = (name, thread)
        } catch {
            fail("cannot look up \"\(name)\": \(error)")
        }
    }

    func note(_ answer: LookupAnswer) {
        let asked = lookup?.name
        lookup?.thread.finish()
        lookup = nil
        guard let target, line == nil, case .name(let name, let port) = target.shared.address else { return }
        // Where the store before is, nobody may get the password of this one.
        guard name == asked else { return startLookup(name, port) }
        addresses = answer.addresses.map { $0.with(port: port) }
        guard !addresses.isEmpty else { return fail("the name \"\(name)\" has no address") }
        open(addresses.removeFirst(), target)
    }

    private func open(_ address: SocketAddress, _ target: StoreTarget) {
        let shared = target.shared
        let login = RedisLogin(
            user: Array(shared.user.utf8), password: shared.password?.bytes, database: shared.database)
        nextToken += 1
        do throws(StoreFailure) {
            var isAddress = true
            if case .name = shared.address { isAddress = false }
            line = try StoreLine(
                to: address, RedisSession(login: login, scripts: StoreScript.texts),
                secured: shared.isSecure ? context : nil, host: shared.host, isAddress: isAddress, poller,
                nextToken)
            lineDeadline = now.advanced(byMilliseconds: Self.loginMilliseconds)
            channels.meters.count(.connects)
        } catch {
            fail("\(address): \(error.reason)")
        }
    }

    /// The store cannot be used now; it is tried again soon, at another address of its name if there is one.
    private func fail(_ reason: String) {
        endLine()
        channels.meters.count(.failures)
        connectAt = now.advanced(byMilliseconds: addresses.isEmpty ? Self.retryMilliseconds : 0)
        settle()
        guard reason != lastFailure || quietUntil <= now else { return }
        lastFailure = reason
        quietUntil = now.advanced(byMilliseconds: Self.quietMilliseconds)
        log.warning(
            "the shared store cannot be used; what is configured for that applies",
            metadata: [
                "reason": "\(reason)",
                "when_unavailable": "\(target?.shared.whenUnavailable.rawValue ?? "")",
            ])
    }

    /// True where a store that is in its place no more is left for another: the next of those that its name had, or whoever has
    /// the name now.
    func mayLeave() -> Bool {
        guard leaveAt <= now else { return false }
        leaveAt = now.advanced(byMilliseconds: leavePause)
        leavePause = min(2 * leavePause, Self.leaveMilliseconds.last)
        return true
    }

    /// A store has taken something: it is in its place.
    func noteTaken() { leavePause = Self.leaveMilliseconds.first }

    private func forgetLeaving() {
        leaveAt = now
        noteTaken()
    }

    /// Forgets the connection; whoever waits for a reply is told.
    private func endLine() {
        line = nil
        lineDeadline = .never
        pollAt = .never
        channels.standing.isAnswering = false
        isReading = false
        isAdding = false
        tellNews()
        book.noteLineEnd()
        channels.meters.setPending(book.pending.count)
        let open = flights[landed...]
        flights = []
        landed = 0
        for landing in open {
            if case .rate(let request) = landing.flight { answer(request, .unavailable) }
        }
    }

    /// Tells once what came of the first try to read the list, and once that it was read.
    func settle(isRead: Bool = false) {
        guard !hasSettled || isRead && !hasRead else { return }
        (hasSettled, hasRead) = (true, isRead)
        channels.reports.send(.settled(isRead: isRead))
    }

    // MARK: Calls

    private func ask(_ request: RateRequest) {
        let question = request.question
        let arguments = [
            question.interval, question.fillTime, Int64(question.wanted), Int64(question.ahead),
        ].map { Array("\($0)".utf8) }
        guard channels.standing.isAnswering,
            call(.takeRate, keys: [question.name], arguments: arguments, for: .rate(request))
        else { return answer(request, .unavailable) }
    }

    /// Makes a call; false where that cannot be now.
    private func call(
        _ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]], for flight: Flight
    ) -> Bool {
        lastTag += 1
        guard line?.call(script, keys: keys, arguments: arguments, tag: lastTag) == true else { return false }
        flights.append((flight, lastTag, now))
        channels.meters.count(.calls)
        return true
    }

    /// Looks at the list of revoked tokens, which is a sign of life, too.
    private func poll() {
        pollAt = .never
        guard line?.isReady == true, let target else { return }
        let list = name("revocations", target)
        let added = book.nextAdded
        if !added.isEmpty, !isAdding {
            let kept = target.shared.revocationsKept.wholeMilliseconds * 1000
            let arguments = [Array("\(kept)".utf8)] + added
            isAdding = call(.addRevocations, keys: [list], arguments: arguments, for: .added(added))
        }
        guard !isReading else { return }
        let proposed = Array("\(Random.uint64() ?? 0)-\(Random.uint64() ?? 0)".utf8)
        let keys = [list, name("revocations:name", target)]
        isReading = call(
            .readRevocations, keys: keys, arguments: book.readArguments(proposed: proposed), for: .read)
    }

    private func name(_ text: String, _ target: StoreTarget) -> [UInt8] {
        Array((target.shared.prefix + text).utf8)
    }

    private func advanceLine(isEvent: Bool) {
        guard let line else { return }
        let wasReady = line.isReady
        do throws(StoreFailure) {
            guard isEvent else { return try line.flush() }
            for (tag, reply) in try line.advance() { try take(reply, tag) }
        } catch {
            return fail("\(line.address): \(error.reason)")
        }
        guard line.isReady, !wasReady else { return }
        lineDeadline = .never
        poll()
        advanceLine(isEvent: false)
    }

    private func runDeadlines() {
        if landed < flights.count {
            let waited = now.microseconds(since: flights[landed].at) / 1000
            if waited >= Self.patienceMilliseconds { return fail("no answer for a second") }
            if channels.standing.isAnswering, lateAt <= now { stopWaiting() }
        }
        if lineDeadline <= now {
            fail(line.map { "\($0.address): no login within a second" } ?? "its name is looked up too slowly")
        }
        if connectAt <= now { connect() }
        if pollAt <= now { poll() }
    }

    /// Replies come too late to wait for: requests go on without, until one comes in time.
    private func stopWaiting() {
        channels.standing.isAnswering = false
        channels.meters.count(.late)
        guard quietUntil <= now else { return }
        quietUntil = now.advanced(byMilliseconds: Self.quietMilliseconds)
        log.warning("the shared store is slow: requests do not wait for it")
    }
}
