internal import Bytes
internal import HTTP
internal import HTTP2
internal import JOSE
public import Policy
public import Reactor
public import TLS
internal import Telemetry
internal import Upstream

/// Why a worker cannot start.
public enum WorkerError: Error {
    /// The kernel has no descriptor for it.
    case system(Errno)
    /// The policy does not compile.
    case policy(PolicyError)
    /// The certificates of a listener cannot be used.
    case certificate(CertificateFault)
}

/// One event loop with everything it owns: listeners, connections, requests, pools, the policy and its token cache.
///
/// Nothing in here is shared with another thread but the inbox, the counters and the log writer. A worker is a value
/// that is never copied, so the compiler sees every access and no reference is counted on the way of a request.
public struct Worker: ~Copyable {
    let index: Int
    var count: Int
    var poller: Poller
    let inbox: Inbox<WorkerMessage>
    let counters: WorkerCounters
    let accessLog: AccessLog
    let keyRequests: Inbox<KeyRequest>
    let questions: Inbox<RemoteQuestion>
    let buckets: RateBuckets
    let rateRequests: Inbox<RateRequest>
    let standing: SharedStanding
    let ledger: ConnectionLedger
    let ticketKeys: TicketKeys
    let proofMemory: ProofMemory

    var limits: LimitSettings
    var headLimits: HeadLimits
    var policy: PolicySnapshot
    /// Counts the policies, so that a verdict of an earlier one is not taken for one of this.
    var policyNumber: UInt32 = 0
    var routeNames: [[UInt8]]
    /// Where requests are counted.
    var rows: CountRows
    /// What is recorded of which requests; nil: nothing.
    var tracing: TracingSettings?
    /// Where finished spans go.
    let spans: SpanQueue
    /// What is known so far of the requests that are recorded, by exchange.
    var traces: [UInt32: RequestTrace] = [:]
    var listenerNames: [[UInt8]]
    var listenerModes: [ListenerMode]
    /// As the configuration has them, and behind these the ones that it has no more, as long as they have connections.
    var listenerSettings: [ListenerSettings]
    /// Whom each believes.
    var listenerRules: [ListenerPolicySpec]
    /// TLS of each listener; nil where connections are plain.
    var securities: [TLSServerContext?]
    /// What answers over TLS say of its use in the future, for each listener.
    var strictTransports: [StrictTransportSecurity]
    /// TLS to the servers of a pool, by the pool's slot.
    var poolSecurity: [UInt32: TLSClientContext] = [:]
    /// Steps of handshakes since the turn, or its work on what was left over, began: they are the dearest thing that a stranger can ask for.
    var handshakeSteps = 0
    /// The pool of each upstream of the current settings.
    var poolOfUpstream: [Handle]

    var pool = BlockPool(keptBytes: Worker.keptBlockBytes)
    var listeners = Slab<BoundListener>(capacity: Worker.listenerCapacity)
    var clients: Slab<Downstream>
    /// How many connections all workers may have together.
    var clientLimit: Int
    var exchanges: Slab<Exchange>
    var servers: Slab<UpstreamConnection>
    var pools = Slab<UpstreamPool>(capacity: Worker.poolCapacity)
    /// Connections that speak HTTP/2.
    var multiplexers: Slab<Multiplexer>
    /// Connections to servers that speak HTTP/2, and which of them belong to a pool, by its slot.
    var carriers: Slab<Carrier>
    var carriersOfPool: [UInt32: CarrierList] = [:]
    /// How many of `clients` are streams; the others are connections.
    var streamCount = 0
    var clientDeadlines = Deadlines()
    var serverDeadlines = Deadlines()

    // Scratch that every request uses again.
    var head: RequestHead
    var responseHead: ResponseHead
    var trailerFields = FieldTable(capacity: HeadLimits.trailerCount)
    var expired: [Handle] = []
    var expiredSlots: [UInt32] = []
    var multiplexScratch = HTTP2Scratch()
    let sessionMemory = HTTP2Memory()
    var requestIDs = RequestIDs()
    var dateField = DateField()

    /// Requests that wait for keys.
    var keyWaits = KeyWaits()
    /// Requests that wait for a verdict.
    var verdictWaits = VerdictWaits()
    /// Requests that wait for the store of shared limits, each with 16 KiB of memory or more, and what it was asked.
    var rateWaits = WaitingClients<UInt64>(capacity: 4096)
    var rateQuestions: [UInt64: RateQuestion] = [:]
    /// Fields that answers get besides their own, by exchange: what the server that was asked wants to tell the client.
    var fieldsOfExchange: [UInt32: AddedFields] = [:]
    /// Whether the request that is being decided on has waited.
    var decisionRound = DecisionRound.first

    /// Clients with work left over from this turn, and those of the turn before while they are served.
    var ready: [Handle] = []
    private var resuming: [Handle] = []
    /// HTTP/2 connections with something to be sent at the end of the turn.
    var unsent = GrowingArray<Handle>()
    var sending = GrowingArray<Handle>()
    /// Streams that something has happened to.
    var touched = GrowingArray<Handle>()
    /// The same towards servers.
    var unsentCarriers = GrowingArray<Handle>()
    var carriersLeftOver: [Handle] = []
    var answered = GrowingArray<Handle>()
    /// Exchanges that go on once what came in this turn is read.
    var unwritten = FixedArray<Handle>(capacity: Worker.unwrittenCount)
    /// How many turns there were: events of one turn happened before everything that is done in it.
    var turns: UInt64 = 0
    /// Some events of what has happened before this turn are not looked at yet: of this wait, or of the next one.
    private(set) var mayMissEvents = false
    var now = Instant.now()
    private var wallClockRead = Instant.never
    private var wallClockAtRead: Int64 = 0
    /// Seconds since 1970, of the current turn.
    var wallClock: Int64 = 0
    /// Milliseconds since 1970, of the current turn.
    var wallClockMilliseconds: Int64 = 0
    /// Microseconds since 1970, of the current turn.
    var wallMicroseconds: Int64 = 0
    /// Pools that have room again for requests that wait, and those that are served right now.
    var freed: [Handle] = []
    var serving: [Handle] = []
    /// Pools with a server that has no place for another connection right now, for which requests wait (`crowdedOut`).
    var crowded: [Handle] = []
    /// When to look for a connection that another worker has closed (`UpstreamPool.sharesConnections`).
    var lookForRoomAt = Instant.never
    /// When accepting starts again after the system ran out of descriptors.
    var acceptAgain = Instant.never
    /// From when on unread answers may be looked for again.
    var dropsUnreadAt = Instant(microseconds: 0)
    var isDraining = false
    /// While draining: connections without a request stay open until the next one comes.
    var awaitsLastRequests = false
    /// When tunnels are closed after a drain has begun.
    var tunnelDeadline = Instant.never
    var isStopped = false
    /// Why it ends, where it cannot go on.
    var failure: WorkerError?

    /// Blocks kept for reuse: 64 requests in flight do not touch the allocator.
    private static var keptBlockBytes: Int { 4 << 20 }
    /// Its own sockets, and those of workers that have ended: as many of each listener as there were workers.
    private static var listenerCapacity: Int { 4096 }
    /// Pools of the current settings, at most 1024, and of those before that still have requests: a tunnel may outlive
    /// hundreds of reloads.
    private static var poolCapacity: Int { 1 << 20 }

    /// A worker with these settings that accepts from these listeners.
    public init(
        _ parts: WorkerParts, _ settings: ProxySettings, _ bound: [WorkerListener]
    ) throws(WorkerError) {
        let poller = try Self.makePoller(parts)
        let policy = try Self.compile(
            settings.policy, parts.buckets, parts.proofMemory, parts.standing)
        let securities = try Self.makeSecurities(settings.listeners, keeping: [], parts.ticketKeys)
        self.init(parts, settings, poller, policy, securities)
        openPools(settings.upstreams)
        takeListeners(bound, settings.listeners)
        _ = keyWaits.reset(issuers: settings.policy.issuers.map(\.name))
    }

    private init(
        _ parts: WorkerParts, _ settings: ProxySettings, _ poller: consuming Poller,
        _ policy: consuming PolicySnapshot, _ securities: [TLSServerContext?]
    ) {
        self.securities = securities
        index = parts.index
        count = parts.count
        inbox = parts.inbox
        counters = parts.counters
        keyRequests = parts.keyRequests
        questions = parts.questions
        buckets = parts.buckets
        rateRequests = parts.rateRequests
        standing = parts.standing
        ledger = parts.ledger
        ticketKeys = parts.ticketKeys
        spans = parts.spans
        proofMemory = parts.proofMemory
        accessLog = AccessLog(writer: parts.logWriter, counters: parts.counters)
        accessLog.configure(settings.accessLog)
        self.poller = poller
        self.policy = policy
        limits = settings.limits
        headLimits = settings.limits.head
        pool.limitBytes = settings.limits.bufferBytes.map { $0 / parts.count } ?? .max
        routeNames = settings.policy.routes.map { Array($0.name.utf8) }
        rows = settings.rows
        tracing = settings.tracing
        listenerNames = settings.listeners.map { Array($0.name.utf8) }
        listenerModes = settings.listeners.map(\.mode)
        listenerSettings = settings.listeners
        listenerRules = settings.policy.listeners
        strictTransports = settings.listeners.map(\.strictTransportSecurity)
        poolOfUpstream = []
        clientLimit = Self.connectionLimit(settings.limits)
        // Streams are clients, too.
        clients = Slab(capacity: 2 * Self.connectionCapacity)
        exchanges = Slab(capacity: 2 * Self.connectionCapacity)
        multiplexers = Slab(capacity: Self.connectionCapacity)
        // Streams are servers, too.
        servers = Slab(capacity: 2 * Self.connectionCapacity)
        carriers = Slab(capacity: Self.connectionCapacity)
        head = RequestHead(fieldCapacity: settings.limits.fieldCount)
        responseHead = ResponseHead(fieldCapacity: Self.responseFieldCount(settings.limits))
    }

    /// Runs until the worker has drained, or is told to stop. Throws where it could not take over new settings, with
    /// everything closed.
    public mutating func run() throws(WorkerError) {
        while !isFinished {
            turn(poller.wait(timeoutMilliseconds: waitMilliseconds))
        }
        try end()
    }

    /// Closes everything, when it is finished.
    mutating func end() throws(WorkerError) {
        closeEverything()
        if let failure { throw failure }
    }

    var isFinished: Bool { isStopped || (isDraining && clients.count == 0) }

    /// One turn: all events of one wait, then what was left over of the turn before, then deadlines. Whoever asks
    /// little does not wait for the large bodies of others, and these have their turn each time.
    mutating func turn(_ events: Int) {
        turns &+= 1
        handshakeSteps = 0
        readClocks()
        if !ready.isEmpty { swap(&ready, &resuming) }
        mayMissEvents = true
        for index in 0..<events {
            guard let token = EventToken(rawValue: poller.token(index)) else { continue }
            dispatch(token, poller.readiness(index))
            // Half of the settings are new then: nothing more may be decided.
            if failure != nil { return }
            if unwritten.count == unwritten.capacity { writeExchanges() }
        }
        mayMissEvents = events == Poller.eventsPerWait
        resumeLeftovers()
        resumeCarriers()
        writeExchanges()
        expireDeadlines()
        lookForSharedRoom()
        serveWaiting()
        writeExchanges()
        sendCarriers()
        sendStreams()
        writeExchanges()
        countTokens()
        tellGauges()
        accessLog.endTurn()
    }

    @inline(__always)
    private mutating func dispatch(_ token: EventToken, _ readiness: Readiness) {
        switch token.kind {
        case .client:
            guard clients.contains(token.handle) else { return }
            clients[token.handle.index].transport.note(readiness)
            advanceClient(token.handle.index)
        case .server:
            guard servers.contains(token.handle) else { return }
            servers[token.handle.index].transport.note(readiness)
            if servers[token.handle.index].reusedInTurn == turns, spokeUnasked(token.handle.index) { return }
            advanceServer(token.handle.index)
        case .listener:
            guard listeners.contains(token.handle) else { return }
            acceptClients(token.handle)
        case .inbox:
            for message in inbox.receive() where failure == nil { obey(message) }
        }
    }

    /// How long the poller may wait: not at all with leftovers, else to the next deadline.
    var waitMilliseconds: Int32 {
        if !ready.isEmpty || !freed.isEmpty || !unsent.isEmpty || !unsentCarriers.isEmpty
            || !carriersLeftOver.isEmpty
        {
            return 0
        }
        let next = min(clientDeadlines.next, serverDeadlines.next, acceptAgain, lookForRoomAt)
        return next.timeoutMilliseconds(from: now)
    }

    /// Lets a client go on in the next turn, once: whoever stood in the list twice would have two goes a turn, and
    /// with each of them a further one.
    mutating func resumeNextTurn(_ client: Handle) {
        guard !clients[client.index].isLeftOver else { return }
        clients[client.index].isLeftOver = true
        ready.append(client)
    }

    private mutating func resumeLeftovers() {
        // Handshakes that were left over are not pushed back by those that begin now.
        handshakeSteps = 0
        guard !resuming.isEmpty else { return }
        var place = 0
        while place < resuming.count {
            let handle = resuming[place]
            place += 1
            guard clients.contains(handle) else { continue }
            clients[handle.index].isLeftOver = false
            advanceClient(handle.index)
        }
        resuming.removeAll(keepingCapacity: true)
    }

    /// Reads the monotonic clock, and the time of day once a second: in between it is reckoned, so that a step of it
    /// shows a second late at most.
    private mutating func readClocks() {
        now = Instant.now()
        let age = now.microseconds(since: wallClockRead)
        if age >= 1_000_000 || wallClockRead == .never {
            wallClockRead = now
            wallClockAtRead = wallClockMicroseconds()
        }
        let wall = wallClockAtRead &+ now.microseconds(since: wallClockRead)
        wallMicroseconds = wall
        wallClockMilliseconds = wall / 1000
        wallClock = wallClockMilliseconds / 1000
        dateField.update(seconds: wallClock)
    }

    private mutating func obey(_ message: WorkerMessage) {
        switch message {
        case .reconfigure(let settings, let bound, let workers): reconfigure(settings, bound, of: workers)
        case .keys(let notice): note(notice)
        case .secure(let listeners): renewCertificates(listeners)
        case .servers(let upstream, let servers): replaceServers(of: upstream, servers)
        case .upstreams(let upstreams): openPools(upstreams)
        case .revocations(let list): revoke(list)
        case .retire: retire()
        case .verdict(let answer): note(answer)
        case .rates(let answers): note(answers)
        case .drain: drain()
        case .lookForRoom: lookForRoomAt = now
        case .beat(let heartbeat):
            heartbeat.beat()
            counters.countAnswer(
                afterMicroseconds: now.microseconds(since: heartbeat.sentAt), at: now.microseconds)
        case .stop: isStopped = true
        }
    }

    private static func makePoller(_ parts: WorkerParts) throws(WorkerError) -> Poller {
        do throws(Errno) {
            if let poller = parts.poller { return Poller(owning: poller) }
            return Poller(owning: try WorkerParts.openPoller(for: parts.inbox))
        } catch {
            throw .system(error)
        }
    }

    static func makeSecurities(
        _ listeners: [ListenerSettings], keeping before: [TLSServerContext?], _ tickets: TicketKeys
    ) throws(WorkerError) -> [TLSServerContext?] {
        do { return try securityContexts(listeners, keeping: before, tickets) } catch {
            throw .certificate(error)
        }
    }

    static func compile(
        _ spec: PolicySpec, _ buckets: RateBuckets, _ proofs: ProofMemory, _ standing: SharedStanding
    ) throws(WorkerError) -> PolicySnapshot {
        do { return try PolicySnapshot(spec, sharing: buckets, proofs, standing: standing) } catch {
            throw .policy(error)
        }
    }

    /// More response fields than a client may send: backends are less frugal, and are not attackers as a rule.
    private static func responseFieldCount(_ limits: LimitSettings) -> Int { max(limits.fieldCount, 256) }
}
