import Config
import Logging
import Policy
import Proxy
import Reactor
import Telemetry

// What signals and the workers' reports do, and how the process ends.

extension Supervisor {
    func obey(_ signal: Signal) {
        switch signal {
        case .terminate, .interrupt: end(by: signal)
        case .hangUp: reloadSoon()
        case .reopen: reopenAccessLog()
        }
    }

    /// Drains at the first signal, and ends at the second. The drain that makes way for another process is nobody's signal.
    private func end(by signal: Signal) {
        if case .over = phase { return }
        guard !isToldToEnd else {
            log.warning("second signal: ending at once")
            phase = .over(exitStatus: 1)
            return
        }
        isToldToEnd = true
        signals.takeAgain(signal, withinMilliseconds: Self.repetitionMilliseconds)
        guard phase.deadline != nil else { return drain() }
        log.info("told to end while another process has taken over: idle connections are closed now")
        closesIdleAt = .never
        crew.drain()
    }

    /// Who sends a signal twice and means one does so in the same breath; nobody can have seen what the first one did.
    private static var repetitionMilliseconds: Int { 5 }

    private func drain() {
        guard crew.count > 0 else {
            phase = .over(exitStatus: 0)
            return
        }
        service.stopping("draining")
        closeSuccessors()
        let milliseconds = settings.limits.drainTimeoutMilliseconds
        phase = .draining(until: Instant.now().advanced(byMilliseconds: milliseconds))
        log.info(
            "draining", metadata: ["timeout_seconds": .stringConvertible(Int(milliseconds / 1000))])
        crew.drain()
    }

    func endPhase(at now: Instant) {
        if closesIdleAt <= now {
            closesIdleAt = .never
            crew.drain()
        }
        endRetirements(at: now)
        guard let deadline = phase.deadline, deadline <= now else { return }
        if case .cuttingOff = phase {
            phase = .over(exitStatus: 0)
            return
        }
        log.warning(
            "drain timeout is over: cutting off what is left",
            metadata: ["workers_left": .stringConvertible(crew.runningCount)])
        phase = .cuttingOff(until: now.advanced(byMilliseconds: Self.cutOffMilliseconds))
        crew.stop()
    }

    func note(_ report: WorkerReport) {
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
            relievePredecessor()
            openSuccessors()
            service.ready(serviceStatus, at: Instant.now())
            if isReloadDue { reload() }
        case .ended(let index):
            noteEnd(of: index)
        }
    }

    private func noteEnd(of worker: Int) {
        switch phase {
        case .over: return
        case .cuttingOff:
            // Who was told to end, and ended in time, has not failed: a supervisor would take 1 for a crash.
            if crew.isEnded { phase = .over(exitStatus: 0) }
        case .draining:
            log.info(
                "worker drained",
                metadata: [
                    "worker": .stringConvertible(worker),
                    "left": .stringConvertible(crew.runningCount),
                ])
            if crew.isEnded { phase = .over(exitStatus: 0) }
        case .running where crew.forget(retired: worker):
            endRetirement(of: worker)
            log.info("worker drained", metadata: ["worker": .stringConvertible(worker)])
        case .starting, .running:
            log.critical("worker ended by itself", metadata: ["worker": .stringConvertible(worker)])
            phase = .over(exitStatus: 1)
        }
    }

    private func logListening() {
        let addresses = listening.map { "\($0.address) (\($0.name))" }.joined(separator: ", ")
        let workers = Supervisor.counted(crew.count, "worker")
        let routes = Supervisor.counted(settings.policy.routes.count, "route")
        log.info(
            "listening on \(addresses), \(workers), \(routes)",
            metadata: ["version": "\(Version.usher)"])
        for address in admin?.addresses ?? [] { log.info("admin pages on \(address)") }
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
