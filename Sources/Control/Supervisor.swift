import Bytes
public import Config
import Logging
import Policy
import Proxy
import Reactor
import Telemetry

/// The control thread: starts the workers, obeys signals, reloads the configuration and answers the admin listener.
///
/// SIGTERM and SIGINT drain and a second one ends at once, SIGHUP reloads, SIGUSR1 opens the access log's file again.
public final class Supervisor {
    private enum Phase: Equatable {
        case starting
        case running
        /// Requests in flight may go on until then.
        case draining(until: Instant)
        case over(exitStatus: Int32)
    }

    private let source: ConfigurationSource
    private var configuration: Configuration
    private var settings: ProxySettings
    private let messages: LogSetup
    var log: Logger
    private let accessWriter: LogWriter
    var poller: Poller
    private let signals: SignalSource
    var crew: Crew
    private var book = ListenerBook()
    private var admin: AdminServer?
    private var phase = Phase.starting
    /// The keys that are fetched while the proxy runs.
    let keys: KeyKeeper
    /// Every issuer has had keys once: from then on the trouble of one does not make the proxy unready.
    var hadAllKeys = false
    private var listening: [(name: String, address: SocketAddress)] = []

    /// Opens what a configuration needs, and starts nothing yet. `source` is where a reload reads it again.
    ///
    /// Call it before any thread is started. Throws a text for the user.
    public init(_ configuration: Configuration, from source: ConfigurationSource) throws(StartFailure) {
        // First of all: threads inherit the signal mask.
        signals = try Self.system(SignalSource.init)
        poller = try Self.system(Poller.init)
        crew = try Self.system(Crew.init)
        messages = try LogSetup(configuration.log)
        log = messages.logger
        accessWriter = try Self.openAccessLog(configuration)
        settings = try Self.compile(configuration)
        let logger = log
        keys = try Self.system { () throws(Errno) in
            try KeyKeeper(environment: source.environment, log: logger)
        }
        keys.configure(configuration.issuers, now: Instant.now())
        self.source = source
        self.configuration = configuration
    }

    /// Runs until the process is to end; its exit status: 0 where every request could finish, else 1.
    public func run() -> Int32 {
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
            if case .draining(let deadline) = phase, deadline <= Instant.now() { cutOff() }
        }
    }

    private func start() throws(StartFailure) {
        try watch()
        try openAdmin(configuration.admin)
        let writer = accessWriter
        let prepared: ListenerBook.Prepared
        do throws(ListenerBook.Failure) {
            prepared = try book.prepare(settings.listeners, workers: Self.workerCount(configuration))
        } catch {
            throw StartFailure(listener: error)
        }
        listening = prepared.addresses
        do throws(Errno) {
            _ = try Thread(name: "usher-log") { try? writer.run() }
            try crew.start(settings, listeners: prepared.workers, logWriter: writer)
        } catch {
            throw StartFailure("cannot start a thread: \(error)")
        }
        book.commit(prepared)
    }

    private func watch() throws(StartFailure) {
        do throws(Errno) {
            try poller.add(signals.descriptor, token: Token.signals, for: .readable)
            try poller.add(crew.reports.descriptor, token: Token.inbox, for: .readable)
            try poller.add(crew.keyRequests.descriptor, token: Token.keyRequests, for: .readable)
            try poller.add(keys.lookups.descriptor, token: Token.lookups, for: .readable)
        } catch {
            throw StartFailure("\(error)")
        }
    }

    private static func openAccessLog(_ configuration: Configuration) throws(StartFailure) -> LogWriter {
        do throws(Errno) {
            return try LogWriter(destination: LogDestination(configuration.log.access))
        } catch {
            throw StartFailure("cannot open the access log: \(error)")
        }
    }

    private static func system<Value: ~Copyable>(
        _ open: () throws(Errno) -> Value
    ) throws(StartFailure) -> Value {
        do throws(Errno) {
            return try open()
        } catch {
            throw StartFailure("\(error)")
        }
    }

    private func dispatch(_ token: UInt64) {
        switch token {
        case Token.signals: while let signal = signals.next() { obey(signal) }
        case Token.inbox: for report in crew.reports.receive() { note(report) }
        case Token.admin: admin?.accept(poller, now: Instant.now())
        case Token.keyRequests: noteKeyRequests()
        case Token.lookups: keys.noteLookups(poller, now: Instant.now())
        case _ where Token.isFetch(token): keys.advance(token, poller, now: Instant.now())
        default:
            let state = adminState
            admin?.advance(Token.handle(token), state: state)
        }
    }

    /// How long the poller may wait for the next deadline of the drain, of an admin connection or of keys.
    private func waitMilliseconds() -> Int32 {
        let now = Instant.now()
        var next = admin?.expire(at: now, poller) ?? .never
        if case .draining(let deadline) = phase { next = min(next, deadline) }
        next = min(next, keys.deadline)
        guard next < .never else { return -1 }
        return Int32(clamping: max(0, (next.microseconds(since: now) + 999) / 1000))
    }

    private func finish(_ exitStatus: Int32) -> Int32 {
        admin?.closeAll()
        admin = nil
        log.info("stopped", metadata: ["exit_status": .stringConvertible(Int(exitStatus))])
        accessWriter.stop()
        // A log that is stuck must not keep the process alive.
        if !accessWriter.waitUntilStopped(milliseconds: 1000) {
            log.warning("the end of the access log could not be written")
        }
        messages.finish()
        return exitStatus
    }
}

// MARK: Signals and drain

extension Supervisor {
    private func obey(_ signal: Signal) {
        switch signal {
        case .terminate, .interrupt:
            if case .draining = phase {
                log.warning("second signal: ending at once")
                phase = .over(exitStatus: 1)
            } else {
                drain()
            }
        case .hangUp: reload()
        case .reopen: reopenAccessLog()
        }
    }

    private func drain() {
        let milliseconds = settings.limits.drainTimeoutMilliseconds
        phase = .draining(until: Instant.now().advanced(byMilliseconds: milliseconds))
        log.info(
            "draining", metadata: ["timeout_seconds": .stringConvertible(Int(milliseconds / 1000))])
        crew.drain()
    }

    private func cutOff() {
        log.warning(
            "drain timeout is over: cutting off what is left",
            metadata: ["workers_left": .stringConvertible(crew.count - crew.endedCount)])
        crew.stop()
        phase = .over(exitStatus: 1)
    }

    private func note(_ report: WorkerReport) {
        crew.note(report)
        switch report {
        case .failed(let index, let reason):
            log.critical(
                "worker cannot run", metadata: ["worker": .stringConvertible(index), "reason": "\(reason)"])
            phase = .over(exitStatus: 1)
        case .started:
            guard phase == .starting, crew.isStarted else { return }
            phase = .running
            logListening()
        case .ended(let index):
            noteEnd(of: index)
        }
    }

    private func noteEnd(of worker: Int) {
        guard case .draining = phase else {
            log.critical("worker ended by itself", metadata: ["worker": .stringConvertible(worker)])
            phase = .over(exitStatus: 1)
            return
        }
        log.info(
            "worker drained",
            metadata: [
                "worker": .stringConvertible(worker),
                "left": .stringConvertible(crew.count - crew.endedCount),
            ])
        if crew.isEnded { phase = .over(exitStatus: 0) }
    }

    private func logListening() {
        let addresses = listening.map { "\($0.address) (\($0.name))" }.joined(separator: ", ")
        let workers = Supervisor.counted(crew.count, "worker")
        let routes = Supervisor.counted(settings.policy.routes.count, "route")
        log.info(
            "listening on \(addresses), \(workers), \(routes)",
            metadata: ["version": "\(Version.usher)"])
        if let admin = configuration.admin { log.info("admin pages on \(SocketAddress(admin.address))") }
    }

    private func reopenAccessLog() {
        do {
            try accessWriter.reopen()
            log.info("access log opened again")
        } catch {
            log.error("cannot open the access log again", metadata: ["reason": "\(error)"])
        }
    }

    /// A number and its noun: `1 route`, `2 routes`.
    public static func counted(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }
}

// MARK: Reload

extension Supervisor {
    /// Reads the configuration again and swaps it whole; whatever is wrong with it, the old one stays.
    private func reload() {
        guard phase == .running else { return log.notice("reload ignored: not running") }
        let loaded = source.load()
        for diagnostic in loaded.diagnostics {
            let level: Logger.Level = diagnostic.severity == .error ? .error : .warning
            log.log(level: level, "\(diagnostic.headline(file: loaded.path))")
        }
        guard let new = loaded.configuration else {
            return log.error("configuration not changed", metadata: ["file": "\(loaded.path)"])
        }
        do {
            try swap(to: new)
            log.info(
                "configuration reloaded",
                metadata: [
                    "file": "\(loaded.path)", "routes": .stringConvertible(settings.policy.routes.count),
                ])
        } catch {
            log.error("configuration not changed", metadata: ["reason": "\(error.reason)"])
        }
    }

    private func swap(to new: Configuration) throws(StartFailure) {
        var compiled = try Supervisor.compile(new)
        let prepared: ListenerBook.Prepared
        do throws(ListenerBook.Failure) {
            prepared = try book.prepare(compiled.listeners, workers: crew.count)
        } catch {
            throw StartFailure(listener: error)
        }
        do throws(StartFailure) {
            if new.admin != configuration.admin { try openAdmin(new.admin) }
            try redirectAccessLog(to: LogDestination(new.log.access))
        } catch {
            prepared.abandon()
            throw error
        }
        if Supervisor.workerCount(new) != crew.count {
            log.warning("a change of workers takes effect at the next start")
        }
        keys.configure(new.issuers, now: Instant.now())
        keys.fill(&compiled.policy)
        crew.reconfigure(compiled, listeners: prepared.workers)
        listening = prepared.addresses
        book.commit(prepared)
        log.logLevel = Logger.Level(new.log.level)
        keys.log = log
        configuration = new
        settings = compiled
    }

    private func redirectAccessLog(to destination: LogDestination) throws(StartFailure) {
        guard destination != LogDestination(configuration.log.access) else { return }
        do throws(Errno) {
            try accessWriter.redirect(to: destination)
        } catch {
            throw StartFailure("cannot open the access log: \(error)")
        }
    }

    /// Sees whether the policy of a configuration compiles. Looks up no names, so that a configuration can be checked
    /// where its servers are not known.
    public static func check(_ configuration: Configuration) throws(StartFailure) {
        try check(configuration.policy)
    }

    private static func check(_ policy: PolicySpec) throws(StartFailure) {
        do throws(PolicyError) {
            _ = try PolicySnapshot(policy)
        } catch {
            throw StartFailure("the policy does not compile: \(error)")
        }
    }

    /// The settings that the workers get, after one compilation to see that they do compile.
    private static func compile(_ configuration: Configuration) throws(StartFailure) -> ProxySettings {
        let settings = try ProxySettings(configuration)
        try check(settings.policy)
        return settings
    }

    private static func workerCount(_ configuration: Configuration) -> Int {
        switch configuration.workers {
        case .automatic: ProcessorAllowance.current()
        case .count(let count): count
        }
    }
}

// MARK: Admin

extension Supervisor {
    private func openAdmin(_ wanted: AdminConfiguration?) throws(StartFailure) {
        guard let wanted else {
            admin?.closeAll()
            admin = nil
            return
        }
        let address = SocketAddress(wanted.address)
        do throws(Errno) {
            let opened = try AdminServer(at: address)
            try poller.add(opened.descriptor, token: Token.admin, for: [.readable, .edgeTriggered])
            admin?.closeAll()
            admin = consume opened
        } catch {
            throw StartFailure("cannot listen on \(address) (admin): \(error)")
        }
    }

    private var adminState: AdminState {
        let (counters, lost, reason) = (crew.counters, accessWriter.linesLost, notReadyReason)
        let keyStatus = keys.status(now: Instant.now())
        return AdminState(notReadyReason: reason) {
            MetricsText.render(workers: counters, isReady: reason == nil, linesLostByWriters: lost)
                + KeyStatus.metrics(keyStatus)
        }
    }

    private var notReadyReason: String? {
        switch phase {
        case .starting: "starting"
        case .running: missingKeysReason
        case .draining, .over: "draining"
        }
    }
}
