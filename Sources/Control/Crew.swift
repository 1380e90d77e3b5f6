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
    private(set) var endedCount = 0

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

    var count: Int { inboxes.count }
    /// True when every worker listens.
    var isStarted: Bool { startedCount == count }
    /// True when every worker's thread has ended.
    var isEnded: Bool { endedCount == count }

    /// Starts one worker for each list of listeners; throws where the system has no thread or descriptor left.
    mutating func start(
        _ settings: ProxySettings, listeners: [[WorkerListener]], logWriter: LogWriter,
        store: StoreChannels
    ) throws(Errno) {
        for (index, bound) in listeners.enumerated() {
            let parts = WorkerParts(
                index: index, count: listeners.count, inbox: try Inbox(), counters: WorkerCounters(),
                logWriter: logWriter, keyRequests: keyRequests, questions: questions, buckets: buckets,
                ledger: ledger, rateRequests: store.rates, standing: store.standing, ticketKeys: ticketKeys,
                proofMemory: proofMemory,
                spans: SpanQueue(limitBytes: max(Self.spanBytes / listeners.count, Self.leastSpanBytes)))
            inboxes.append(parts.inbox)
            counters.append(parts.counters)
            spans.append(parts.spans)
            let reports = reports
            // Never joined: its end is reported, and the process's end ends it anyway.
            _ = try Thread(name: "usher-\(index)") {
                do throws(WorkerError) {
                    try Crew.work(parts, settings, bound, reports)
                    // Only now: with the last report the process may end, and a worker that still gave back its keys
                    // then would do so while the libraries clean up after themselves.
                    reports.send(.ended(index))
                } catch {
                    reports.send(.failed(index, Crew.describe(error)))
                }
            }
        }
    }

    /// The whole life of a worker; when this returns, nothing is left of it.
    private static func work(
        _ parts: WorkerParts, _ settings: ProxySettings, _ bound: [WorkerListener],
        _ reports: Inbox<WorkerReport>
    ) throws(WorkerError) {
        var worker = try Worker(parts, settings, bound)
        reports.send(.started(parts.index))
        worker.run()
    }

    /// Gives every worker the new settings, whole, and its listeners.
    func reconfigure(_ settings: ProxySettings, listeners: [[WorkerListener]]) {
        for (inbox, bound) in zip(inboxes, listeners) { inbox.send(.reconfigure(settings, bound)) }
    }

    /// Tells every worker what became of an issuer's keys.
    func send(_ notice: KeyNotice) {
        for inbox in inboxes { inbox.send(.keys(notice)) }
    }

    /// Gives every worker the new certificates of its listeners.
    func secure(_ listeners: [ListenerSettings]) {
        for inbox in inboxes { inbox.send(.secure(listeners)) }
    }

    /// Tells every worker which servers an upstream has.
    func sendServers(of upstream: UpstreamSettings) {
        for inbox in inboxes { inbox.send(.servers(upstream.name, upstream.servers)) }
    }

    /// Gives every worker the upstreams anew, the same ones in the same order.
    func send(_ upstreams: [UpstreamSettings]) {
        for inbox in inboxes { inbox.send(.upstreams(upstreams)) }
    }

    /// Tells every worker what a server said of a credential.
    func send(_ answer: RemoteAnswer) {
        for inbox in inboxes { inbox.send(.verdict(answer)) }
    }

    /// Tells every worker which tokens are revoked.
    func send(_ revocations: RevocationList) {
        for inbox in inboxes { inbox.send(.revocations(revocations)) }
    }

    /// Workers whose threads have not ended.
    var runningCount: Int { count - endedCount }

    /// Asks every worker for a sign of life.
    func send(_ heartbeat: Heartbeat) {
        for inbox in inboxes { inbox.send(.beat(heartbeat)) }
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
        for inbox in inboxes { inbox.send(.retire) }
    }

    /// Tells every worker to accept nothing more and to end when its requests have.
    func drain() {
        for inbox in inboxes { inbox.send(.drain) }
    }

    /// Tells every worker to end at once.
    func stop() {
        for inbox in inboxes { inbox.send(.stop) }
    }

    /// Counts a report.
    mutating func note(_ report: WorkerReport) {
        switch report {
        case .started: startedCount += 1
        case .failed, .ended: endedCount += 1
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
