internal import Bytes
internal import Reactor
internal import Upstream

// Where a server gets fewer connections than there are workers, they share them: a worker keeps one for its next request
// until a request of another worker waits.

extension Worker {
    /// How often a worker looks for a connection that another one has closed, called or not: two that wait, or close, at the
    /// same instant may miss each other.
    private static var sharedRoomMilliseconds: Int64 { 2 }
    /// How long a worker that has requests of its own keeps a connection which others wait for: a connect for each request
    /// would take all ports of a fast server far away.
    private static var sharedTurnMilliseconds: Int64 { 5 }

    mutating func lookForRoomSoon() {
        lookForRoomAt = min(lookForRoomAt, now.advanced(byMilliseconds: Self.sharedRoomMilliseconds))
    }

    mutating func askOtherWorkers(_ upstream: Handle) {
        guard pools[upstream.index].sharesConnections else { return }
        pools[upstream.index].askForConnections()
        lookForRoomSoon()
    }

    /// Gives up idle connections that requests of other workers wait for, and lets those try again who wait for one that
    /// another worker may have closed.
    mutating func lookForSharedRoom() {
        if lookForRoomAt <= now { lookForRoom() }
    }

    @inline(never)
    private mutating func lookForRoom() {
        lookForRoomAt = .never
        freed += crowded
        crowded.removeAll(keepingCapacity: true)
        for slot in 0..<pools.slots where pools.isLive(slot) && pools[slot].sharesConnections {
            pools[slot].answerBell()
            for _ in 0..<pools[slot].wantedElsewhere {
                guard let idle = pools[slot].oldestIdle, isWantedElsewhere(idle.index) else { break }
                closeServer(idle.index, wasBusy: false)
            }
            guard pools[slot].waitingCount > 0 else { continue }
            freed.append(pools.handle(at: slot))
            pools[slot].askForConnections()
            lookForRoomSoon()
        }
    }

    /// True for a shared connection that another worker is to have next.
    func isWantedElsewhere(_ server: UInt32) -> Bool {
        let upstream = servers[server].pool.index
        guard pools[upstream].sharesConnections, pools[upstream].wantedElsewhere > 0 else { return false }
        return pools[upstream].waitingCount == 0
            || servers[server].openedAt.advanced(byMilliseconds: Self.sharedTurnMilliseconds) <= now
    }
}
