public import Config
import Logging
import Policy
import Proxy
public import Reactor
import Telemetry

/// The control thread: starts the workers, obeys signals, reloads the configuration and answers the admin listener.
///
/// SIGTERM and SIGINT drain and a second one ends at once, SIGHUP reloads, SIGUSR1 opens the access log's file again.
public final class Supervisor {
    enum Phase: Equatable {
        case starting
        case running
        /// Requests in flight may go on until then.
        case draining(until: Instant)
        /// Those that are left have been told to end; what they write into the access log still counts.
        case cuttingOff(until: Instant)
        case over(exitStatus: Int32)

        /// When the phase is over by itself.
        var deadline: Instant? {
            switch self {
            case .draining(let deadline), .cuttingOff(let deadline): deadline
            case .starting, .running, .over: nil
            }
        }
    }

    /// From the order to end at once to the end of the process.
    static let cutOffMilliseconds: Int64 = 500

    let source: ConfigurationSource
    var configuration: Configuration
    var settings: ProxySettings
    let messages: LogSetup
    var log: Logger
    let accessWriter: LogWriter
    var poller: Poller
    let signals: SignalSource
    var crew: Crew
    var book = ListenerBook()
    var admin: AdminServer?
    var phase = Phase.starting
    /// A signal to end has come: the next one ends at once.
    var isToldToEnd = false
    /// The keys that are fetched while the proxy runs.
    let keys: KeyKeeper
    /// The servers that are asked about credentials.
    let verdicts: VerdictKeeper
    /// What this proxy shares with others.
    let shared: SharedStore
    /// What sends spans to the collector.
    let spanExporter: SpanExporter
    /// Every issuer has had keys once: from then on the trouble of one does not make the proxy unready.
    var hadAllKeys = false
    /// The addresses and the health of the servers behind the proxy.
    let backends: BackendKeeper
    /// The tokens that are revoked.
    var revocations = RevocationKeeper()
    /// The files of certificates, which may change while the proxy runs.
    var certificates = CertificateKeeper()
    var listening: [(name: String, address: SocketAddress)] = []
    /// What went through in the last minutes.
    var history = TrafficHistory()
    /// Where requests of which route are counted.
    var labels = CountLabels()
    /// How the configuration has changed since the start.
    var reloads = ReloadTally()
    let startedMilliseconds = wallClockMicroseconds() / 1000
    /// A reload was asked for while the start was under way.
    var isReloadDue = false
    /// Looks whether the files of the configuration change.
    var watcher = FileWatcher()
    /// What the service manager is told.
    var service: ServiceManager
    /// The process whose listeners this one takes over, until it drains.
    var predecessor: Predecessor?
    /// Where a process that is to come after this one asks for the listeners.
    var successors: Successors?
    /// While draining for a successor: when connections that wait for a last request are closed.
    var closesIdleAt = Instant.never
    /// Workers that a reload has left over, and end.
    var retirements: [Retirement] = []
    /// The listeners that the workers are to get, while their start waits for keys.
    var prepared: ListenerBook.Prepared?
    /// The access log has its thread.
    private var writesLog = false
    /// When waiting for keys is given up.
    var startDeadline = Instant.never

    /// Runs the proxy to its end, and gives the exit status (see `run`). `source` is where a reload reads the configuration
    /// again, `warnings` are what loading had to say, for the log, `files` what is watched, and `stamps` its state when it was read.
    /// `takesOver`: the listeners are those of the process that runs already.
    ///
    /// Call it before any thread is started. What keeps the proxy from starting is said in the log, in the form that the
    /// configuration wants.
    public static func serve(
        _ configuration: Configuration, from source: ConfigurationSource, warnings: [String],
        files: [String], stamps: [String: FileStamp], takesOver: Bool
    ) -> Int32 {
        var messages: LogSetup?
        do throws(StartFailure) {
            // First of all: threads inherit the signal mask.
            let signals = try system(SignalSource.init)
            let setup = try LogSetup()
            messages = setup
            for warning in warnings { setup.logger(for: configuration.log).warning("\(warning)") }
            return try Supervisor(
                configuration, from: source, signals, setup, files: files, stamps: stamps,
                takesOver: takesOver
            ).run()
        } catch {
            messages?.finish()
            // Whoever is told to end does not fail.
            if Signal.endIsPending { return 0 }
            LogSetup.say(error, configuration.log)
            return 1
        }
    }

    /// Opens what a configuration needs, and starts nothing yet. Throws a text for the user.
    private init(
        _ configuration: Configuration, from source: ConfigurationSource, _ signals: consuming SignalSource,
        _ messages: LogSetup, files: [String], stamps: [String: FileStamp], takesOver: Bool
    ) throws(StartFailure) {
        service = ServiceManager(source.environment)
        self.signals = signals
        self.messages = messages
        poller = try Self.system(Poller.init)
        crew = try Self.system(Crew.init)
        log = messages.logger(for: configuration.log)
        accessWriter = try Self.openAccessLog(configuration)
        let logger = log
        backends = try Self.system { () throws(Errno) in
            try BackendKeeper(workers: Self.workerCount(configuration), log: logger)
        }
        settings = try Self.compile(configuration, backends)
        backends.commit(configuration, settings.upstreams, now: Instant.now())
        keys = try Self.system { () throws(Errno) in
            try KeyKeeper(environment: source.environment, log: logger)
        }
        verdicts = try Self.system { () throws(Errno) in
            try VerdictKeeper(environment: source.environment, log: logger)
        }
        shared = try Self.system { () throws(Errno) in try SharedStore(environment: source.environment) }
        spanExporter = try Self.system { () throws(Errno) in
            try SpanExporter(environment: source.environment, log: logger)
        }
        spanExporter.configure(configuration.tracing, now: Instant.now())
        keys.configure(
            configuration.keyIssuers, used: configuration.keyIssuersInUse, now: Instant.now())
        verdicts.configure(configuration.remoteSources)
        verdicts.fill(&settings.policy)
        revocations.configure(configuration, now: Instant.now())
        settings.policy.revocations = revocations.list
        certificates.configure(configuration, now: Instant.now())
        settings.rows = labels.rows(of: settings.policy)
        self.source = source
        self.configuration = configuration
        watcher.watch(files, as: stamps, isOn: configuration.watch, now: Instant.now())
        if takesOver { predecessor = try Self.findPredecessor(configuration, log) }
    }

    /// Runs until the process is to end; its exit status: 0 where it was told to end and did so within the drain timeout,
    /// 1 where it could not start, lost a worker, or was ended by a second signal.
    private func run() -> Int32 {
        // What came meanwhile; told to end, it opens nothing that others would see.
        while let signal = signals.next() { obey(signal) }
        if case .over(let exitStatus) = phase { return finish(exitStatus) }
        do {
            try start()
        } catch {
            log.critical("cannot start", metadata: ["reason": "\(error.reason)"])
            return finish(1)
        }
        while true {
            if case .over(let exitStatus) = phase { return finish(exitStatus) }
            let count = poller.wait(timeoutMilliseconds: waitMilliseconds())
            for index in 0..<count { dispatch(poller.token(index)) }
            runKeys()
            runVerdicts()
            runRevocations()
            runCertificates()
            backends.run(poller, now: Instant.now())
            runWatcher(at: Instant.now())
            runSpans()
            runHistory(at: Instant.now())
            startWorkersIfReady(at: Instant.now())
            service.beat(of: crew, at: Instant.now())
            endPhase(at: Instant.now())
        }
    }

    private func start() throws(StartFailure) {
        let writer = accessWriter
        do throws(Errno) {
            try Thread(name: "usher-log") { try? writer.run() }.detach()
            writesLog = true
        } catch {
            throw StartFailure("cannot start a thread: \(StartFailure.words(error))")
        }
        try watch()
        inheritSockets()
        try openAdmin(configuration.admin)
        let prepared: ListenerBook.Prepared
        do throws(ListenerBook.Failure) {
            prepared = try book.prepare(settings.listeners, workers: Self.workerCount(configuration))
        } catch {
            throw StartFailure(listener: error)
        }
        dropUnclaimedSockets()
        self.prepared = prepared
        configureShared()
        if predecessor == nil, !shared.isAwaited { return try startWorkers() }
        let patience =
            predecessor == nil ? Self.sharedPatienceMilliseconds : Self.takeoverPatienceMilliseconds
        startDeadline = Instant.now().advanced(byMilliseconds: patience)
        startWorkersIfReady(at: Instant.now())
    }

    /// Starts the workers on what is prepared for them.
    func startWorkers() throws(StartFailure) {
        guard let prepared else { return }
        self.prepared = nil
        keys.fill(&settings.policy)
        listening = prepared.addresses
        do throws(Errno) {
            try crew.start(
                prepared.workers.count,
                settings, listeners: prepared.workers, logWriter: accessWriter, store: shared.channels)
        } catch {
            throw StartFailure("cannot start a thread: \(StartFailure.words(error))")
        }
        book.commit(prepared)
    }

    private func watch() throws(StartFailure) {
        do throws(Errno) {
            try poller.add(signals.descriptor, token: Token.signals, for: .readable)
            try poller.add(crew.reports.descriptor, token: Token.inbox, for: .readable)
            try poller.add(crew.keyRequests.descriptor, token: Token.keyRequests, for: .readable)
            try poller.add(keys.lookups.descriptor, token: Token.lookups, for: .readable)
            try poller.add(backends.names.answers.descriptor, token: Token.serverLookups, for: .readable)
            try poller.add(crew.questions.descriptor, token: Token.questions, for: .readable)
            try poller.add(verdicts.lookups.descriptor, token: Token.verdictLookups, for: .readable)
            try poller.add(shared.channels.reports.descriptor, token: Token.shared, for: .readable)
            try poller.add(spanExporter.lookups.descriptor, token: Token.exportLookups, for: .readable)
            if let descriptor = predecessor?.descriptor {
                try poller.add(descriptor, token: Token.predecessor, for: .readable)
            }
        } catch {
            throw StartFailure(error)
        }
    }

    private static func openAccessLog(_ configuration: Configuration) throws(StartFailure) -> LogWriter {
        let destination = LogDestination(configuration.log.access)
        do throws(Errno) {
            return try LogWriter(destination: destination)
        } catch {
            throw destination.failure(error)
        }
    }

    private static func system<Value: ~Copyable>(
        _ open: () throws(Errno) -> Value
    ) throws(StartFailure) -> Value {
        do throws(Errno) {
            return try open()
        } catch {
            throw StartFailure(error)
        }
    }

    private func dispatch(_ token: UInt64) {
        switch token {
        case Token.signals: while let signal = signals.next() { obey(signal) }
        case Token.inbox: for report in crew.reports.receive() { note(report) }
        case Token.admin: admin?.accept(poller, now: Instant.now())
        case Token.keyRequests: noteKeyRequests()
        case Token.successors: noteSuccessor()
        case Token.successor: hearSuccessor()
        case Token.predecessor: losePredecessor()
        case Token.lookups: keys.noteLookups(poller, now: Instant.now())
        case Token.serverLookups: noteServerAddresses()
        case _ where Token.isProbe(token): backends.advance(token, now: Instant.now())
        case _ where Token.isFetch(token): keys.advance(token, poller, now: Instant.now())
        case Token.questions: noteQuestions()
        case Token.shared: noteShared()
        case Token.verdictLookups: verdicts.noteLookups(poller, now: Instant.now())
        case _ where Token.isVerdict(token): verdicts.advance(token, poller, now: Instant.now())
        case _ where dispatchSpans(token): break
        default:
            let handle = Token.handle(token)
            let state = adminState(at: admin?.address(of: handle))
            admin?.advance(handle, state: state)
        }
    }

    /// How long the poller may wait for the next deadline of the drain, of an admin connection or of keys.
    private func waitMilliseconds() -> Int32 {
        let now = Instant.now()
        var next = admin?.expire(at: now, poller) ?? .never
        if let deadline = phase.deadline { next = min(next, deadline) }
        next = min(next, keys.deadline, revocations.deadline, certificates.deadline, backends.deadline)
        next = min(next, watcherDeadline, verdicts.deadline)
        next = min(next, history.deadline, spanExporter.deadline)
        next = min(next, min(service.deadline, startDeadline), closesIdleAt)
        next = min(next, retirementDeadline)
        return next.timeoutMilliseconds(from: now)
    }

    private func finish(_ exitStatus: Int32) -> Int32 {
        if exitStatus == 0 { sendLastSpans() }
        admin?.closeAll()
        admin = nil
        shared.stop()
        log.info("stopped", metadata: ["exit_status": .stringConvertible(Int(exitStatus))])
        accessWriter.stop()
        // A log that is stuck must not keep the process alive.
        if writesLog, !accessWriter.waitUntilStopped(milliseconds: 1000) {
            log.warning("the end of the access log could not be written")
        }
        messages.finish()
        return exitStatus
    }
}
