public import Config
import Logging
import Policy
import Proxy
import Reactor
import TLS
import Telemetry

/// What has become of reloads since the start.
struct ReloadTally {
    /// Those that took effect.
    private(set) var count = 0
    /// When the last was tried, in milliseconds since 1970; 0 without one.
    private(set) var lastMilliseconds: Int64 = 0
    /// What was wrong with the last.
    private(set) var failure: String?
    /// Those that changed nothing, because something was wrong.
    private(set) var failures = 0
    /// When the configuration that is in force was read, in milliseconds since 1970.
    private(set) var successMilliseconds = wallClockMicroseconds() / 1000

    mutating func note(_ failure: String?) {
        self.failure = failure
        lastMilliseconds = wallClockMicroseconds() / 1000
        guard failure == nil else { return failures += 1 }
        count += 1
        successMilliseconds = lastMilliseconds
    }
}

/// What became of a reload that was asked for.
enum ReloadOutcome {
    /// The new configuration is in force.
    case done
    /// It is done behind the start.
    case waits
    /// The old one stays, and why.
    case failed(String)
}

extension Supervisor {
    /// Reads the configuration again, or does so once the start is over: whoever has changed the file does not say so twice.
    func reloadSoon() {
        guard phase == .starting else { return _ = reload() }
        log.notice("reload waits for the start")
        isReloadDue = true
    }

    /// As `reloadSoon`, for somebody who waits to be told what came of it.
    func reloadAndTell() -> ReloadOutcome {
        guard phase == .starting else { return reload().map(ReloadOutcome.failed) ?? .done }
        reloadSoon()
        return .waits
    }

    /// Reads the configuration again and swaps it whole; whatever is wrong with it, the old one stays.
    ///
    /// Gives nil where the new one is in force, else what is wrong.
    @discardableResult
    func reload() -> String? {
        guard phase == .running else {
            log.notice("reload ignored: not running")
            return "not running"
        }
        service.reloading(at: Instant.now())
        let failure = loadAnew()
        reloads.note(failure)
        service.ready(
            failure == nil ? serviceStatus : "configuration not changed; \(serviceStatus)", at: Instant.now())
        return failure
    }

    private func loadAnew() -> String? {
        let loaded = source.load(waits: false)
        watch(loaded, inForce: false)
        let headlines = loaded.diagnostics.map { $0.headline(file: loaded.path) }
        for (diagnostic, headline) in zip(loaded.diagnostics, headlines) {
            log.log(level: diagnostic.severity == .error ? .error : .warning, "\(headline)")
        }
        guard let new = loaded.configuration else {
            log.error("configuration not changed", metadata: ["file": "\(loaded.path)"])
            return headlines.joined(separator: "\n")
        }
        do {
            try swap(to: new)
            watch(loaded, inForce: true)
            log.info(
                "configuration reloaded",
                metadata: [
                    "file": "\(loaded.path)", "routes": .stringConvertible(settings.policy.routes.count),
                ])
            return nil
        } catch {
            backends.refuse(now: Instant.now())
            log.error(
                "configuration not changed",
                metadata: ["file": "\(loaded.path)", "reason": "\(error.reason)"])
            return error.reason
        }
    }

    private func watch(_ loaded: LoadedConfiguration, inForce: Bool) {
        watcher.watch(
            loaded.watchedFiles(inForce: inForce), as: loaded.stamps,
            isOn: loaded.configuration?.watch ?? configuration.watch, now: Instant.now())
    }

    /// A worker's turn takes far less; one that is stuck must not hold the control thread for long.
    private static let settleMilliseconds: Int32 = 1000

    private func swap(to new: Configuration) throws(StartFailure) {
        let workers = workerCount(after: new)
        var compiled = try Supervisor.compile(new, backends, keys, workers: workers)
        // An address that the reload before gave up may be wanted again before every worker has closed it.
        if book.opensAny(of: compiled.listeners) { crew.settle(milliseconds: Self.settleMilliseconds) }
        let prepared: ListenerBook.Prepared
        do throws(ListenerBook.Failure) {
            prepared = try book.prepare(compiled.listeners, workers: workers, before: crew.count)
        } catch {
            throw StartFailure(listener: error)
        }
        let hired: [Hire]
        do throws(StartFailure) {
            hired = try hire(workers)
        } catch {
            prepared.abandon()
            throw error
        }
        do throws(StartFailure) {
            // The last step that can fail: what follows changes everything, and nothing before it changed anything.
            try redirectAccessLog(to: LogDestination(new.log.access))
        } catch {
            for hire in hired { hire.dismiss() }
            prepared.abandon()
            throw error
        }
        if new.admin?.address != configuration.admin?.address {
            log.warning(
                "a change of the admin address takes effect at the next start: until then usher healthcheck, which goes by the file, asks in vain",
                metadata: ["in_force": "\(configuration.admin.map { "\($0.address)" } ?? "none")"])
        }
        backends.commit(new, compiled.upstreams, now: Instant.now())
        keys.configure(new.keyIssuers, used: new.keyIssuersInUse, now: Instant.now())
        keys.fill(&compiled.policy)
        verdicts.configure(new.remoteSources)
        verdicts.fill(&compiled.policy)
        revocations.configure(new, now: Instant.now())
        compiled.policy.revocations = revocations.list
        certificates.configure(new, now: Instant.now())
        compiled.rows = labels.rows(of: compiled.policy)
        resize(to: workers, compiled, prepared.workers, hired: hired)
        listening = prepared.addresses
        book.commit(prepared)
        log = messages.logger(for: new.log)
        keys.log = log
        verdicts.log = log
        backends.log = log
        spanExporter.log = log
        spanExporter.configure(new.tracing, now: Instant.now())
        let admin = configuration.admin
        let isTakeoverMoved = new.takeover?.path != configuration.takeover?.path
        configuration = new
        // The pages stay where they are; who may ask for what changes.
        configuration.admin = admin
        if let new = new.admin, admin != nil {
            configuration.admin?.token = new.token
            configuration.admin?.names = new.names
        }
        if isTakeoverMoved {
            successors?.dismiss()
            closeSuccessors()
            openSuccessors()
        }
        settings = compiled
        configureShared()
    }

    private func hire(_ workers: Int) throws(StartFailure) -> [Hire] {
        do throws(Errno) { return try crew.hire(workers) } catch {
            throw StartFailure("cannot start a worker: \(error)")
        }
    }

    private func redirectAccessLog(to destination: LogDestination) throws(StartFailure) {
        guard destination != LogDestination(configuration.log.access) else { return }
        do throws(Errno) {
            try accessWriter.redirect(to: destination)
        } catch {
            throw destination.failure(error)
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

    /// The settings that the workers get, after one compilation to see that they do compile: with the keys that there are
    /// already, for a worker that could not take them over would have to end.
    static func compile(
        _ configuration: Configuration, _ backends: BackendKeeper, _ keys: KeyKeeper? = nil,
        workers: Int? = nil
    ) throws(StartFailure) -> ProxySettings {
        var policy = configuration.policy
        keys?.preview(&policy, under: configuration.keyIssuers)
        try check(policy)
        let settings = ProxySettings(
            configuration, upstreams: try backends.prepare(configuration, workers: workers))
        for listener in settings.listeners {
            do throws(CertificateFault) { _ = try listener.security?.check() } catch {
                throw StartFailure("[listen.\(listener.name)]: TLS cannot be set up: \(error)")
            }
        }
        return settings
    }

    static func workerCount(_ configuration: Configuration) -> Int {
        switch configuration.workers {
        case .automatic: ProcessorAllowance.current()
        case .count(let count): count
        }
    }
}
