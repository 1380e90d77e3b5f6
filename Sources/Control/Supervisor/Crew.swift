import Glibc
import JOSE
import Policy
import Proxy
import Reactor
import TLS
import Telemetry
import Upstream

/// What the workers' threads tell the control thread.
enum WorkerReport: Sendable {
    /// It listens.
    case started(Int)
    /// It could not start, and its thread has ended.
    case failed(Int, String)
    /// It has drained, or was stopped, and its thread has ended.
    case ended(Int)
}

/// The workers, as the control thread steers them: an inbox, counts and a thread each.
struct Crew {
    let reports: Inbox<WorkerReport>
    /// Where workers ask for keys that they do not know.
    let keyRequests: Inbox<KeyRequest>
    /// Where workers ask about credentials.
    let questions: Inbox<RemoteQuestion>
    /// The buckets of rate limits, which outlive every configuration.
    private let buckets: RateBuckets
    /// The DPoP proofs that were used, which outlive every configuration too.
    private let proofMemory: ProofMemory
    private let ledger = ConnectionLedger()
    private let ticketKeys = TicketKeys()
    private var inboxes: [Inbox<WorkerMessage>] = []
    /// What each worker counts.
    private(set) var counters: [WorkerCounters] = []
    /// The spans of each worker, on their way to the collector.
    private(set) var spans: [SpanQueue] = []
    private(set) var startedCount = 0
    /// How many threads have ended since the start.
    private(set) var endedCount = 0
    /// Those whose threads have not ended.
    private var running: Set<Int> = []
    /// Those of them that are to end while others stay.
    private var retiring: Set<Int> = []
    /// How many there are that stay: the first ones.
    private(set) var count = 0

    /// A crew without workers; throws where the process has no descriptor left, or the system no
    /// randomness.
    init() throws(Errno) {
        guard let buckets = RateBuckets(), let proofMemory = ProofMemory() else { throw Errno(EIO) }
        self.buckets = buckets
        self.proofMemory = proofMemory
        reports = try Inbox()
        keyRequests = try Inbox()
        questions = try Inbox()
    }

    /// What spans may take that wait for the collector: some 40,000 requests.
    private static let spanBytes = 16 << 20
    private static let leastSpanBytes = 1 << 19

    /// True when every worker listens.
    var isStarted: Bool { startedCount == count }
    /// True when every worker's thread has ended.
    var isEnded: Bool { running.isEmpty }

    /// True where there can be so many from now on: a number is given again when its worker has ended.
    func canBe(_ wanted: Int) -> Bool { retiring.allSatisfy { $0 >= wanted } }

    /// What those workers of `total` need that there are not yet; throws, with nothing kept, where the system has no thread or
    /// descriptor left.
    func hire(_ total: Int) throws(Errno) -> [Hire] {
        var hired: [Hire] = []
        let reports = reports
        do throws(Errno) {
            for index in count..<max(total, count) {
                hired.append(try Hire(index) { start in Crew.run(start, reports) })
            }
        } catch {
            for hire in hired { hire.dismiss() }
            throw error
        }
        return hired
    }

    /// Starts those workers of `total` that there are not yet, each with its list of listeners; throws where the system
    /// has no thread or descriptor left.
    mutating func start(
        _ total: Int, _ settings: ProxySettings, listeners: [[WorkerListener]], logWriter: LogWriter,
        store: StoreChannels
    ) throws(Errno) {
        start(
            try hire(total), of: total, settings, listeners: listeners, logWriter: logWriter, store: store)
    }

    /// Starts workers that were hired to be the last ones of `total`.
    mutating func start(
        _ hired: [Hire], of total: Int, _ settings: ProxySettings, listeners: [[WorkerListener]],
        logWriter: LogWriter, store: StoreChannels
    ) {
        for hire in hired {
            let index = count
            let inbox = hire.inbox
            if index == inboxes.count {
                inboxes.append(inbox)
                counters.append(WorkerCounters())
                spans.append(SpanQueue(limitBytes: max(Self.spanBytes / total, Self.leastSpanBytes)))
            } else {
                inboxes[index] = inbox
            }
            var parts = WorkerParts(
                index: index, count: total, inbox: inbox, counters: counters[index],
                logWriter: logWriter, keyRequests: keyRequests, questions: questions, buckets: buckets,
                ledger: ledger, rateRequests: store.rates, standing: store.standing, ticketKeys: ticketKeys,
                proofMemory: proofMemory, spans: spans[index])
            parts.poller = hire.poller
            hire.begin(Hire.Start(parts: parts, settings: settings, listeners: listeners[index]))
            running.insert(index)
            count = index + 1
        }
    }

    /// Has the workers from that number on end: they accept nothing more, and each connection ends with its next answer.
    /// Gives their numbers.
    mutating func retire(from first: Int) -> Set<Int> {
        let ending = running.filter { $0 >= first && !retiring.contains($0) }
        for index in ending { inboxes[index].send(.retire) }
        retiring.formUnion(ending)
        count = min(count, first)
        return ending
    }

    /// Tells workers that are to end to close what waits for a last request.
    func drain(_ workers: Set<Int>) { tell(.drain, workers) }

    /// Tells workers that are to end to do so at once.
    func stop(_ workers: Set<Int>) { tell(.stop, workers) }

    private func tell(_ message: WorkerMessage, _ workers: Set<Int>? = nil) {
        for index in running where workers?.contains(index) ?? true { inboxes[index].send(message) }
    }

    /// The whole of a worker's thread.
    private static func run(_ start: Hire.Start, _ reports: Inbox<WorkerReport>) {
        do throws(WorkerError) {
            try work(start, reports)
            // Only now: with the last report the process may end, and a worker that still gave back its keys
            // then would do so while the libraries clean up after themselves.
            reports.send(.ended(start.parts.index))
        } catch {
            reports.send(.failed(start.parts.index, describe(error)))
        }
    }

    /// The whole life of a worker; when this returns, nothing is left of it.
    private static func work(_ start: Hire.Start, _ reports: Inbox<WorkerReport>) throws(WorkerError) {
        var worker = try Worker(start.parts, start.settings, start.listeners)
        reports.send(.started(start.parts.index))
        try worker.run()
    }

    /// Gives every worker the new settings, whole, and its listeners, as one of so many.
    func reconfigure(_ settings: ProxySettings, listeners: [[WorkerListener]], of workers: Int) {
        for index in running {
            let bound = index < listeners.count ? listeners[index] : []
            inboxes[index].send(.reconfigure(settings, bound, workers: workers))
        }
    }

    /// Tells every worker what became of an issuer's keys.
    func send(_ notice: KeyNotice) {
        tell(.keys(notice))
    }

    /// Gives every worker the new certificates of its listeners.
    func secure(_ listeners: [ListenerSettings]) {
        tell(.secure(listeners))
    }

    /// Tells every worker which servers an upstream has.
    func sendServers(of upstream: UpstreamSettings) {
        tell(.servers(upstream.name, upstream.servers))
    }

    /// Gives every worker the upstreams anew, the same ones in the same order.
    func send(_ upstreams: [UpstreamSettings]) {
        tell(.upstreams(upstreams))
    }

    /// Tells every worker what a server said of a credential.
    func send(_ answer: RemoteAnswer) {
        tell(.verdict(answer))
    }

    /// Tells every worker which tokens are revoked.
    func send(_ revocations: RevocationList) {
        tell(.revocations(revocations))
    }

    /// Workers whose threads have not ended.
    var runningCount: Int { running.count }

    /// Asks every worker for a sign of life.
    func send(_ heartbeat: Heartbeat) {
        tell(.beat(heartbeat))
    }

    /// Waits until every worker has done what it was told so far, at most that long: then listeners that it was to close
    /// are closed.
    func settle(milliseconds: Int32) {
        guard var pause = try? Poller() else { return }
        let heartbeat = Heartbeat()
        send(heartbeat)
        for _ in 0..<milliseconds where heartbeat.count < runningCount {
            _ = pause.wait(timeoutMilliseconds: 1)
        }
    }

    /// Tells every worker that another process accepts from now on.
    func retire() {
        tell(.retire)
    }

    /// Tells every worker to accept nothing more and to end when its requests have.
    func drain() {
        tell(.drain)
    }

    /// Tells every worker to end at once.
    func stop() {
        tell(.stop)
    }

    /// True for a worker that was to end while others stay; it is forgotten then, and its number is free.
    mutating func forget(retired index: Int) -> Bool { retiring.remove(index) != nil }

    /// Counts a report.
    mutating func note(_ report: WorkerReport) {
        switch report {
        case .started: startedCount += 1
        case .failed(let index, _), .ended(let index):
            running.remove(index)
            endedCount += 1
        }
    }

    private static func describe(_ error: WorkerError) -> String {
        switch error {
        case .system(let code): "\(code)"
        case .certificate(let fault): "a certificate cannot be used: \(fault)"
        case .policy(let error): "the policy does not compile: \(error)"
        }
    }
}
