import Config
import Logging
import Proxy
import Reactor

/// Workers that a reload has left over: they finish what they have.
struct Retirement {
    var workers: Set<Int>
    /// When they close connections that wait for a last request; never, once they have.
    var closesIdleAt: Instant
    /// When they are cut off.
    let endsAt: Instant

    var deadline: Instant { min(closesIdleAt, endsAt) }
}

// How a reload changes the number of workers. New ones share the sockets of the old ones. Those that are too many give
// theirs to the ones that stay, so that nobody in a queue is lost, and drain as in a takeover.

extension Supervisor {
    /// How many workers there are after a reload: as many as now while numbers that are wanted belong to workers that still
    /// drain.
    func workerCount(after new: Configuration) -> Int {
        let wanted = Supervisor.workerCount(new)
        if wanted == crew.count || crew.canBe(wanted) { return wanted }
        log.warning(
            "the number of workers stays: some of those before still drain; reload again later",
            metadata: ["workers": .stringConvertible(crew.count), "wanted": .stringConvertible(wanted)])
        return crew.count
    }

    /// Gives the workers their settings, starts those that are missing, and has those end that are too many.
    func resize(
        to workers: Int, _ settings: ProxySettings, _ listeners: [[WorkerListener]], hired: [Hire]
    ) {
        let before = crew.count
        crew.reconfigure(settings, listeners: listeners, of: workers)
        crew.start(
            hired, of: workers, settings, listeners: listeners, logWriter: accessWriter,
            store: shared.channels)
        if workers < before {
            let now = Instant.now()
            let milliseconds = settings.limits.drainTimeoutMilliseconds
            retirements.append(
                Retirement(
                    workers: crew.retire(from: workers),
                    closesIdleAt: now.advanced(byMilliseconds: milliseconds / 2),
                    endsAt: now.advanced(byMilliseconds: milliseconds)))
        }
        guard workers != before else { return }
        log.notice(
            "number of workers changed",
            metadata: ["workers": .stringConvertible(crew.count), "before": .stringConvertible(before)])
    }

    /// A worker that was to end has: its number may soon be that of another one, which is to be left alone.
    func endRetirement(of worker: Int) {
        for place in retirements.indices { retirements[place].workers.remove(worker) }
        retirements.removeAll { $0.workers.isEmpty }
    }

    /// When `endRetirements` has something to do.
    var retirementDeadline: Instant { retirements.reduce(.never) { min($0, $1.deadline) } }

    /// Hurries workers that were to end, and have not.
    func endRetirements(at now: Instant) {
        for place in retirements.indices where retirements[place].closesIdleAt <= now {
            retirements[place].closesIdleAt = .never
            crew.drain(retirements[place].workers)
        }
        for retirement in retirements where retirement.endsAt <= now { crew.stop(retirement.workers) }
        retirements.removeAll { $0.endsAt <= now }
    }
}
