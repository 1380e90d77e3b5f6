internal import Bytes
internal import Reactor

// How a server is chosen. Nothing here takes memory once `candidates` has grown to the number of servers.

extension UpstreamPool {
    /// What came of looking for a server.
    enum Pick {
        case server(Int)
        /// Each one that might serve has all the connections it may have.
        case allBusy
        /// Not one is healthy.
        case none
    }

    /// The least part of its share that a returned server gets, in 1024ths: about a tenth.
    private static var leastShare: Int { 102 }

    /// Finds a server: one that is healthy, not ejected and has room; else one that is healthy and has room, for to
    /// eject everybody helps nobody. Health checks are the last word: they ask what an operator chose to ask.
    mutating func pick(at now: Instant, user: UInt64, avoiding failed: Int?) -> Pick {
        if endpoints.active.count == 1 { return pickOnly(endpoints.active[0]) }
        candidates.removeAll(keepingCapacity: true)
        var isAnyEligible = false
        for place in 0..<endpoints.active.count {
            let server = endpoints.active[place]
            guard isEligible(server, at: now) else { continue }
            isAnyEligible = true
            guard server != failed, endpoints[server].hasRoom, takesPart(server, user, now) else { continue }
            candidates.append(server)
        }
        if candidates.isEmpty {
            let isAnyUp = gatherSecondChoice(isAnyEligible: isAnyEligible, now, avoiding: failed)
            guard !candidates.isEmpty else { return isAnyUp ? .allBusy : .none }
        }
        if candidates.count == 1 { return .server(candidates[0]) }
        return .server(chooseCandidate(now, user))
    }

    private func pickOnly(_ server: Int) -> Pick {
        guard endpoints[server].state.isUp else { return .none }
        return endpoints[server].hasRoom ? .server(server) : .allBusy
    }

    /// Healthy, and not ejected.
    func isEligible(_ server: Int, at now: Instant) -> Bool {
        endpoints[server].state.isUp && !endpoints[server].state.isEjected(at: now)
    }

    /// Without a first choice: those that only just came back, then the ejected ones where nobody else is, then the one
    /// that failed a moment ago. True where any server is healthy.
    private mutating func gatherSecondChoice(
        isAnyEligible: Bool, _ now: Instant, avoiding failed: Int?
    ) -> Bool {
        var isAnyUp = false
        for server in endpoints.active where endpoints[server].state.isUp {
            isAnyUp = true
            let isIn = !isAnyEligible || !endpoints[server].state.isEjected(at: now)
            if isIn, server != failed, endpoints[server].hasRoom { candidates.append(server) }
        }
        if candidates.isEmpty, let failed, endpoints.active.contains(failed), endpoints[failed].state.isUp,
            endpoints[failed].hasRoom
        {
            candidates.append(failed)
        }
        return isAnyUp
    }

    private mutating func chooseCandidate(_ now: Instant, _ user: UInt64) -> Int {
        switch settings.balance {
        case .roundRobin: inTurn()
        case .leastRequests: leastBusy(now)
        case .randomTwo: lessBusyOfTwo(now)
        case .hashUser: byUser(user)
        }
    }

    // MARK: Slow start

    /// How much of its share a server gets, in 1024ths: all of it, but for a while after it came back.
    func share(_ server: Int, at now: Instant) -> Int {
        guard let returned = endpoints[server].state.returned else { return 1024 }
        let elapsed = now.microseconds(since: returned) / 1000
        guard elapsed < settings.slowStartMilliseconds else { return 1024 }
        guard elapsed > 0 else { return Self.leastShare }
        return max(Self.leastShare, Int(elapsed * 1024 / settings.slowStartMilliseconds))
    }

    /// A server that has just come back takes part in some choices only, in more and more of them: cold caches and
    /// empty pools are not met with the full load. With `hashUser` it is the same users each time.
    private mutating func takesPart(_ server: Int, _ user: UInt64, _ now: Instant) -> Bool {
        let share = share(server, at: now)
        guard share < 1024 else { return true }
        let chance =
            settings.balance == .hashUser ? StableHash.draw(~user, endpoints[server].place) : nextRandom()
        return Int(chance & 1023) < share
    }

    // MARK: The four ways

    /// Smooth weighted round-robin: each server earns its weight, the richest serves and pays the sum.
    private mutating func inTurn() -> Int {
        var best = candidates[0]
        var total = 0
        for place in 0..<candidates.count {
            let server = candidates[place]
            endpoints[server].credit += endpoints[server].weight
            total += endpoints[server].weight
            if place > 0, endpoints[server].credit > endpoints[best].credit { best = server }
        }
        endpoints[best].credit -= total
        return best
    }

    /// The fewest requests for its weight; equals in turn, each as often as its weight says: where requests come one by
    /// one nobody is busy, and weights would mean nothing otherwise.
    private mutating func leastBusy(_ now: Instant) -> Int {
        var least = candidates[0]
        for place in 1..<candidates.count where isLessBusy(candidates[place], than: least, now) {
            least = candidates[place]
        }
        var kept = 0
        // Another worker may eject a server at any moment, which changes its share: the least busy one stays whatever it
        // is compared with now, so that somebody is left.
        for place in 0..<candidates.count
        where candidates[place] == least || !isLessBusy(least, than: candidates[place], now) {
            candidates[kept] = candidates[place]
            kept += 1
        }
        candidates.removeLast(candidates.count - kept)
        return inTurn()
    }

    private func isLessBusy(_ server: Int, than other: Int, _ now: Instant) -> Bool {
        let weight = endpoints[server].weight * share(server, at: now)
        let otherWeight = endpoints[other].weight * share(other, at: now)
        return endpoints[server].inFlight * otherWeight < endpoints[other].inFlight * weight
    }

    /// Draws two different servers, each as often as its weight says, and takes the less busy one: nearly as even as
    /// asking all, and workers that know nothing of each other do not run to the same one.
    private mutating func lessBusyOfTwo(_ now: Instant) -> Int {
        let first = drawCandidate(without: -1)
        let second = drawCandidate(without: first)
        return isLessBusy(second, than: first, now) ? second : first
    }

    /// One of the candidates by weight, but not that one.
    private mutating func drawCandidate(without excluded: Int) -> Int {
        var total = 0
        for place in 0..<candidates.count where candidates[place] != excluded {
            total += endpoints[candidates[place]].weight
        }
        var left = Int(nextRandom() % UInt64(total))
        for place in 0..<candidates.count where candidates[place] != excluded {
            left -= endpoints[candidates[place]].weight
            if left < 0 { return candidates[place] }
        }
        preconditionFailure("what was drawn is below the sum")
    }

    /// The server that this user always comes to, as long as it is among the candidates.
    private func byUser(_ user: UInt64) -> Int {
        var best = candidates[0]
        var least = Double.infinity
        for place in 0..<candidates.count {
            let server = candidates[place]
            let draw = StableHash.draw(user, endpoints[server].place)
            let cost = StableHash.cost(draw, weight: endpoints[server].weight)
            if cost < least { (best, least) = (server, cost) }
        }
        return best
    }

    /// xorshift64*: even enough to spread load, and a few instructions.
    private mutating func nextRandom() -> UInt64 {
        randomState ^= randomState >> 12
        randomState ^= randomState << 25
        randomState ^= randomState >> 27
        return (randomState &* 0x2545_f491_4f6c_dd1d) >> 16
    }
}
