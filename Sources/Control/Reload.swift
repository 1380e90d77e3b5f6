public import Config
import Logging
import Policy
import Proxy
import Reactor
import Telemetry

extension Supervisor {
    /// Reads the configuration again and swaps it whole; whatever is wrong with it, the old one stays.
    func reload() {
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
            // The last step that can fail: what follows changes everything, and nothing before it changed anything.
            try redirectAccessLog(to: LogDestination(new.log.access))
        } catch {
            prepared.abandon()
            throw error
        }
        if Supervisor.workerCount(new) != crew.count {
            log.warning("a change of workers takes effect at the next start")
        }
        if new.admin != configuration.admin {
            log.warning("a change of the admin address takes effect at the next start")
        }
        if new.limits.connections != configuration.limits.connections {
            log.warning("a change of limits.connections takes effect at the next start")
        }
        keys.configure(new.issuers, now: Instant.now())
        keys.fill(&compiled.policy)
        revocations.configure(new.revocation, now: Instant.now())
        compiled.policy.revocations = revocations.list
        certificates.configure(new.listeners, now: Instant.now())
        crew.reconfigure(compiled, listeners: prepared.workers)
        listening = prepared.addresses
        book.commit(prepared)
        log.logLevel = Logger.Level(new.log.level)
        keys.log = log
        let admin = configuration.admin
        configuration = new
        configuration.admin = admin
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
    static func compile(_ configuration: Configuration) throws(StartFailure) -> ProxySettings {
        let settings = try ProxySettings(configuration)
        try check(settings.policy)
        return settings
    }

    static func workerCount(_ configuration: Configuration) -> Int {
        switch configuration.workers {
        case .automatic: ProcessorAllowance.current()
        case .count(let count): count
        }
    }
}
