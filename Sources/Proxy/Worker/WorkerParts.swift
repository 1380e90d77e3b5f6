internal import Bytes
public import Policy
public import Reactor
public import TLS
public import Telemetry

/// What a worker is made of, besides its settings.
public struct WorkerParts: Sendable {
    /// Its number, from 0.
    public var index: Int
    /// How many there are: they share the limits evenly.
    public var count: Int
    /// What the control thread tells it.
    public var inbox: Inbox<WorkerMessage>
    /// What it counts.
    public var counters: WorkerCounters
    /// Where its access log goes.
    public var logWriter: LogWriter
    /// Where it asks for keys that it does not know.
    public var keyRequests: Inbox<KeyRequest>
    /// Where it asks about credentials that only a server can judge.
    public var questions: Inbox<RemoteQuestion>
    /// The buckets of rate limits, the same for all workers.
    public var buckets: RateBuckets
    /// Where it asks the store of shared limits.
    public var rateRequests: Inbox<RateRequest>
    /// How that store is.
    public var standing: SharedStanding
    /// The connections of each client address, the same for all workers.
    public var ledger: ConnectionLedger
    /// The keys of TLS session tickets, the same for all workers.
    public var ticketKeys: TicketKeys
    /// The DPoP proofs that were used, the same for all workers.
    public var proofMemory: ProofMemory

    /// Where its spans go.
    public var spans: SpanQueue
    /// What it waits with, where that is open already (`openPoller`).
    public var poller: Int32?

    /// What a worker with that inbox waits with; throws where the system has none left.
    public static func openPoller(for inbox: Inbox<WorkerMessage>) throws(Errno) -> Int32 {
        try Poller.open(watching: inbox.descriptor, token: EventToken(.inbox, .none).rawValue)
    }

    /// The parts of worker `index` of `count`.
    public init(
        index: Int, count: Int, inbox: Inbox<WorkerMessage>, counters: WorkerCounters, logWriter: LogWriter,
        keyRequests: Inbox<KeyRequest>, questions: Inbox<RemoteQuestion>, buckets: RateBuckets,
        ledger: ConnectionLedger, rateRequests: Inbox<RateRequest>, standing: SharedStanding,
        ticketKeys: TicketKeys = TicketKeys(), proofMemory: ProofMemory,
        spans: SpanQueue = SpanQueue(limitBytes: 0)
    ) {
        self.spans = spans
        self.rateRequests = rateRequests
        self.standing = standing
        self.ticketKeys = ticketKeys
        self.proofMemory = proofMemory
        self.keyRequests = keyRequests
        self.questions = questions
        self.index = index
        self.count = count
        self.inbox = inbox
        self.counters = counters
        self.logWriter = logWriter
        self.buckets = buckets
        self.ledger = ledger
    }
}
