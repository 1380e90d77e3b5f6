import Bytes
import HTTP
import Reactor
import Synchronization
import Testing

@testable import Upstream

private func upstream(
    _ weights: [Int], _ balance: Balance, connections: Int = 100_000, slowStart: Int64 = 0,
    ejection: EjectionSettings? = nil
) -> UpstreamSettings {
    var settings = UpstreamSettings(
        name: "tasks",
        servers: weights.enumerated().map {
            ServerSettings(address: .ipv4(0x0a00_0001 + UInt32($0.offset), port: 8000), weight: $0.element)
        })
    settings.balance = balance
    settings.maximumConnections = connections
    settings.slowStartMilliseconds = slowStart
    settings.ejection = ejection
    return settings
}

private func seconds(_ count: Double) -> Instant { Instant(microseconds: 1_000_000_000 + Int64(count * 1e6)) }

/// The server of a choice that opens a connection, or -1.
private func server(_ choice: UpstreamPool.Choice) -> Int {
    switch choice {
    case .connect(let server), .reuse(_, let server): server
    case .wait, .refuse, .unavailable: -1
    }
}

/// How often each server is chosen in that many requests, none of which overlap.
private func tally(
    _ pool: inout UpstreamPool, _ count: Int, at now: Instant = seconds(0), servers: Int
) -> [Int] {
    var served = [Int](repeating: 0, count: servers)
    for request in 0..<count {
        let chosen = server(pool.choose(at: now, user: UInt64(request) &* 0x9e37_79b9_7f4a_7c15))
        guard chosen >= 0 else { continue }
        served[chosen] += 1
        pool.closedInUse(server: chosen)
    }
    return served
}

private func isNear(_ value: Int, _ expected: Double, within part: Double) -> Bool {
    abs(Double(value) - expected) <= expected * part
}

private final class Flag: Sendable {
    let value = Atomic(false)
}

@Suite("How servers are chosen")
struct BalancingTests {
    @Test("another worker may eject a server at any moment of a choice")
    func ejectionInTheMiddle() async {
        var pool = UpstreamPool(upstream([1, 1], .leastRequests, slowStart: 60_000), workers: 1)
        let now = seconds(1000)
        // One of them has one request, the other two.
        for _ in 0..<3 { _ = pool.choose(at: now, user: 0) }
        let states = [pool.endpoints[0].state, pool.endpoints[1].state]
        let isOver = Flag()
        async let ejecting: Void = Self.eject(states, at: now, until: isOver)
        for _ in 0..<1_000_000 {
            let chosen = server(pool.choose(at: now, user: 0))
            #expect(chosen >= 0)
            if chosen >= 0 { pool.closedInUse(server: chosen) }
        }
        isOver.value.store(true, ordering: .relaxed)
        await ejecting
    }

    /// Takes them out, and back in at once, as fast as it goes.
    private static func eject(_ states: [ServerState], at now: Instant, until isOver: Flag) async {
        while !isOver.value.load(ordering: .relaxed) {
            for state in states {
                state.eject(until: now)
                state.limitEjection(until: seconds(0))
            }
        }
    }

    @Test(
        "each way spreads as the weights say",
        arguments: [Balance.roundRobin, .randomTwo, .hashUser])
    func weights(balance: Balance) {
        var pool = UpstreamPool(upstream([1, 2, 1], balance), workers: 1)
        let served = tally(&pool, 40_000, servers: 3)
        #expect(isNear(served[1], 20_000, within: 0.05), "\(served)")
        #expect(isNear(served[0], 10_000, within: 0.05), "\(served)")
    }

    @Test("random-two prefers the less busy server, and never draws the same one twice")
    func randomTwo() {
        var pool = UpstreamPool(upstream([1, 1], .randomTwo), workers: 1)
        for _ in 0..<100 { _ = pool.choose(at: seconds(0)) }
        var loads = [0, 0]
        for _ in 0..<2 { loads[server(pool.choose(at: seconds(0)))] += 1 }
        // With two servers both are always drawn: the load differs by one at most.
        #expect(loads == [1, 1])
    }

    @Test("least-requests stays even over many servers")
    func leastRequests() {
        var pool = UpstreamPool(upstream([1, 1, 1, 1], .leastRequests), workers: 1)
        var served = [0, 0, 0, 0]
        for _ in 0..<400 { served[server(pool.choose(at: seconds(0)))] += 1 }
        #expect(served == [100, 100, 100, 100])
    }

    @Test("least-requests keeps to the weights where requests come one by one, and looks at the load first")
    func leastRequestsByWeight() {
        var pool = UpstreamPool(upstream([1, 3], .leastRequests), workers: 1)
        var served = [0, 0]
        for _ in 0..<400 {
            let chosen = server(pool.choose(at: seconds(0)))
            served[chosen] += 1
            pool.closedInUse(server: chosen)
        }
        #expect(served == [100, 300])
        // Under way, each has its share and no more.
        served = [0, 0]
        for _ in 0..<40 { served[server(pool.choose(at: seconds(0)))] += 1 }
        #expect(served == [10, 30])
    }

    @Test("hash-user: a server that goes takes only its users with it, and they come back with it")
    func consistency() {
        let settings = upstream([1, 1, 1, 1, 1], .hashUser)
        var pool = UpstreamPool(settings, workers: 1)
        func home(_ user: UInt64, _ pool: inout UpstreamPool) -> Int {
            let chosen = server(pool.choose(at: seconds(0), user: user))
            if chosen >= 0 { pool.closedInUse(server: chosen) }
            return chosen
        }
        let users = (0..<2000).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
        let before = users.map { home($0, &pool) }
        settings.servers[2].state.setUp(false, at: seconds(0))
        var moved = Set<Int>()
        for (user, old) in zip(users, before) {
            let new = home(user, &pool)
            if old == 2 { moved.insert(new) } else { #expect(new == old) }
        }
        #expect(moved == [0, 1, 3, 4], "its users are spread over all others")
        settings.servers[2].state.setUp(true, at: seconds(0))
        #expect(users.map { home($0, &pool) } == before)
        // Another worker, which never saw these users, agrees; so does one whose servers stand in another order.
        var turned = settings
        turned.servers.reverse()
        var other = UpstreamPool(turned, workers: 4)
        #expect(users.map { 4 - home($0, &other) } == before)
    }

    @Test("hash-user: a new server takes only its own share")
    func growth() {
        let six = upstream([1, 1, 1, 1, 1, 1], .hashUser)
        var five = six
        five.servers.removeLast()
        var before = UpstreamPool(five, workers: 1)
        var after = UpstreamPool(six, workers: 1)
        var moved = 0
        for user in 0..<6000 {
            let user = UInt64(user) &* 0x9e37_79b9_7f4a_7c15
            let old = server(before.choose(at: seconds(0), user: user))
            let new = server(after.choose(at: seconds(0), user: user))
            if old != new {
                #expect(new == 5)
                moved += 1
            }
        }
        #expect(isNear(moved, 1000, within: 0.1), "\(moved)")
    }

    @Test("the logarithm that rendezvous needs is exact enough everywhere")
    func logarithm() {
        #expect(abs(StableHash.negativeLogarithm(1 << 63) - 0.693_147_18) < 1e-7)
        #expect(abs(StableHash.negativeLogarithm(1 << 62) - 1.386_294_36) < 1e-7)
        #expect(abs(StableHash.negativeLogarithm(3 << 62) - 0.287_682_07) < 1e-7)
        #expect(abs(StableHash.negativeLogarithm(0) - 45.054_566_7) < 1e-6)
        #expect(StableHash.negativeLogarithm(.max) >= 0)
        #expect(StableHash.negativeLogarithm(.max - (1 << 40)) < 1e-6)
    }

    @Test("a full server is passed over; with hash-user its users go to their second choice")
    func fullServers() {
        for balance in [Balance.roundRobin, .leastRequests, .randomTwo, .hashUser] {
            var pool = UpstreamPool(upstream([1, 1], balance, connections: 1), workers: 1)
            let first = server(pool.choose(at: seconds(0), user: 7))
            let second = server(pool.choose(at: seconds(0), user: 7))
            #expect(Set([first, second]) == [0, 1])
            #expect((pool.choose(at: seconds(0), user: 7) == .wait) == true)
        }
    }
}

@Suite("Health of servers")
struct ServerHealthTests {
    @Test("an unhealthy server gets nothing; with none healthy there is none")
    func unhealthy() {
        for balance in [Balance.roundRobin, .leastRequests, .randomTwo, .hashUser] {
            let settings = upstream([1, 1], balance)
            var pool = UpstreamPool(settings, workers: 1)
            settings.servers[0].state.setUp(false, at: seconds(0))
            #expect(tally(&pool, 100, servers: 2) == [0, 100])
            settings.servers[1].state.setUp(false, at: seconds(0))
            #expect((pool.choose(at: seconds(0)) == .unavailable) == true)
            #expect(settings.state.unavailable == 1)
            settings.servers[0].state.setUp(true, at: seconds(0))
            #expect(tally(&pool, 100, servers: 2) == [100, 0])
        }
        let single = upstream([1], .leastRequests)
        var pool = UpstreamPool(single, workers: 1)
        single.servers[0].state.setUp(false, at: seconds(0))
        #expect((pool.choose(at: seconds(0)) == .unavailable) == true)
        #expect((pool.chooseFresh(server: 0)) == false)
    }

    @Test("an upstream whose names have no address yet is not available, and is as soon as they have")
    func withoutServers() {
        var settings = upstream([1], .leastRequests)
        let servers = settings.servers
        settings.servers = []
        var pool = UpstreamPool(settings, workers: 1)
        #expect((pool.choose(at: seconds(0)) == .unavailable) == true)
        #expect((pool.authority(ofServer: 0).count == 0) == true)
        #expect(pool.replaceServers(servers).isEmpty)
        #expect((pool.choose(at: seconds(0)) == .connect(server: 0)) == true)
    }

    @Test("failures in a row eject a server for a while, a success between them does not")
    func ejection() {
        let settings = upstream([1, 1], .roundRobin, ejection: EjectionSettings())
        var pool = UpstreamPool(settings, workers: 1)
        for _ in 0..<4 { pool.noteFailure(server: 0, at: seconds(0)) }
        pool.noteSuccess(server: 0)
        for _ in 0..<4 { pool.noteFailure(server: 0, at: seconds(0)) }
        #expect(!settings.servers[0].state.isEjected(at: seconds(0)))
        pool.noteFailure(server: 0, at: seconds(0))
        #expect(settings.servers[0].state.isEjected(at: seconds(9.9)))
        #expect(tally(&pool, 100, at: seconds(5), servers: 2) == [0, 100])
        #expect(tally(&pool, 100, at: seconds(10), servers: 2) == [50, 50])
        #expect(settings.servers[0].state.ejections == 1 && settings.servers[0].state.failures == 9)
        // Still broken: one more failure is enough now.
        pool.noteFailure(server: 0, at: seconds(10))
        #expect(settings.servers[0].state.isEjected(at: seconds(11)))
    }

    @Test("without eject nobody is ejected")
    func noEjection() {
        let settings = upstream([1, 1], .roundRobin)
        var pool = UpstreamPool(settings, workers: 1)
        for _ in 0..<100 { pool.noteFailure(server: 0, at: seconds(0)) }
        #expect(!settings.servers[0].state.isEjected(at: seconds(0)))
    }

    @Test(
        "at most half of the servers are ejected, and never the only one",
        arguments: [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3)])
    func floor(count: Int, ejected: Int) {
        let settings = upstream(
            [Int](repeating: 1, count: count), .leastRequests, ejection: EjectionSettings())
        var pool = UpstreamPool(settings, workers: 1)
        for server in 0..<count {
            for _ in 0..<10 { pool.noteFailure(server: server, at: seconds(0)) }
        }
        #expect(settings.servers.count { $0.state.isEjected(at: seconds(1)) } == ejected)
    }

    /// Found by simulation: the two disagreed, and the worker took the request out of the queue and put it back for ever.
    @Test(
        "who waits is called only where a server would be chosen: room at an ejected server is none beside others"
    )
    func waitingBesideAnEjectedServer() {
        let settings = upstream([1, 1], .leastRequests, connections: 1, ejection: EjectionSettings())
        var pool = UpstreamPool(settings, workers: 1)
        for _ in 0..<5 { pool.noteFailure(server: 0, at: seconds(0)) }
        let first = server(pool.choose(at: seconds(1)))
        #expect(first == 1)
        let second = server(pool.choose(at: seconds(1)))
        #expect(second == -1)
        pool.enqueue(Handle(index: 7, generation: 1))
        let early = pool.dequeue(at: seconds(1))
        #expect(early == nil)
        // The ejection is over.
        let late = pool.dequeue(at: seconds(11))
        #expect(late == Handle(index: 7, generation: 1))
        let third = server(pool.choose(at: seconds(11)))
        #expect(third == 0)
    }

    @Test("where only ejected servers are healthy, they are used")
    func ejectedAreBetterThanNobody() {
        let settings = upstream([1, 1], .leastRequests, ejection: EjectionSettings())
        var pool = UpstreamPool(settings, workers: 1)
        for _ in 0..<5 { pool.noteFailure(server: 0, at: seconds(0)) }
        settings.servers[1].state.setUp(false, at: seconds(0))
        #expect((pool.choose(at: seconds(1)) == .connect(server: 0)) == true)
    }

    @Test(
        "a server that returns gets a growing part of its share", arguments: [Balance.roundRobin, .hashUser])
    func slowStart(balance: Balance) {
        let settings = upstream([1, 1], balance, slowStart: 10_000)
        var pool = UpstreamPool(settings, workers: 1)
        settings.servers[0].state.setUp(false, at: seconds(0))
        settings.servers[0].state.setUp(true, at: seconds(100))
        let early = tally(&pool, 4000, at: seconds(100.1), servers: 2)[0]
        let middle = tally(&pool, 4000, at: seconds(105), servers: 2)[0]
        let late = tally(&pool, 4000, at: seconds(110), servers: 2)[0]
        #expect(early > 0 && early < 500, "\(early)")
        #expect(early < middle && middle < 1600, "\(middle)")
        #expect(isNear(late, 2000, within: 0.1), "\(late)")
    }

    @Test("slow start keeps nobody out where all come back at once")
    func slowStartOfAll() {
        let settings = upstream([1, 1], .leastRequests, slowStart: 10_000)
        var pool = UpstreamPool(settings, workers: 1)
        for server in settings.servers {
            server.state.setUp(false, at: seconds(0))
            server.state.setUp(true, at: seconds(1))
        }
        let served = tally(&pool, 1000, at: seconds(1), servers: 2)
        #expect(served.reduce(0, +) == 1000 && served.allSatisfy { $0 > 300 }, "\(served)")
    }

    @Test("two workers act on the same ejection, and their counts add up")
    func workers() {
        var settings = upstream([1, 1], .roundRobin, ejection: EjectionSettings())
        for place in settings.servers.indices { settings.servers[place].state = ServerState(workers: 2) }
        settings.state = UpstreamState(workers: 2)
        var first = UpstreamPool(settings, workers: 2, worker: 0)
        var second = UpstreamPool(settings, workers: 2, worker: 1)
        for _ in 0..<3 { first.noteFailure(server: 0, at: seconds(0)) }
        for _ in 0..<2 { second.noteFailure(server: 0, at: seconds(0)) }
        #expect(tally(&first, 10, at: seconds(1), servers: 2) == [0, 10])
        #expect(tally(&second, 10, at: seconds(1), servers: 2) == [0, 10])
        _ = first.choose(at: seconds(1))
        _ = second.choose(at: seconds(1))
        let state = settings.servers[1].state
        #expect(state.inFlight == 2 && state.openConnections == 2 && state.requests == 22)
        second.giveBack(Handle(index: 1, generation: 1), server: 1)
        #expect(state.inFlight == 1 && state.openConnections == 2 && state.idleConnections == 1)
    }
}

@Suite("Servers whose addresses change")
struct ReplacingTests {
    @Test("who stays keeps its connections; who goes finishes, and its idle ones are closed")
    func replace() {
        let settings = upstream([1, 1, 1], .roundRobin)
        var pool = UpstreamPool(settings, workers: 1)
        for _ in 0..<3 { _ = pool.choose(at: seconds(0)) }
        _ = pool.choose(at: seconds(0))
        for server in 0..<3 { pool.giveBack(Handle(index: UInt32(server), generation: 1), server: server) }
        // Server 0 has one idle and one busy connection; it goes.
        let dropped = pool.replaceServers(Array(settings.servers[1...]))
        #expect(dropped == [Handle(index: 0, generation: 1)])
        #expect((pool.connectionCount == 3 && pool.isRetired(0) && !pool.isRetired(1)) == true)
        #expect((pool.serverCount == 2) == true)
        for _ in 0..<10 { #expect(server(pool.choose(at: seconds(0))) != 0) }
        #expect((pool.chooseFresh(server: 0)) == false)
        pool.closedInUse(server: 0)
        #expect(settings.servers[0].state.openConnections == 0)
        // It comes back with the same number.
        #expect(pool.replaceServers(settings.servers).isEmpty)
        #expect((pool.serverCount == 3 && !pool.isRetired(0)) == true)
    }

    @Test("a number is given again for the same name only")
    func numbers() {
        func named(_ name: String, _ host: UInt32) -> ServerSettings {
            ServerSettings(address: .ipv4(host, port: 80), authority: name)
        }
        var pool = UpstreamPool(UpstreamSettings(name: "a", servers: [named("a:80", 1)]), workers: 1)
        _ = pool.replaceServers([named("b:80", 2)])
        #expect((pool.choose(at: seconds(0)) == .connect(server: 1)) == true)
        _ = pool.replaceServers([named("a:80", 3)])
        #expect((pool.choose(at: seconds(0)) == .connect(server: 0)) == true)
        #expect((pool.address(ofServer: 0) == .ipv4(3, port: 80)) == true)
    }

    @Test("a connect that fails goes on to the next address of the same name, not to another server")
    func siblings() {
        func named(_ name: String, _ host: UInt32) -> ServerSettings {
            ServerSettings(address: .ipv4(host, port: 80), authority: name)
        }
        let servers = [named("a:80", 1), named("b:80", 2), named("a:80", 3)]
        var pool = UpstreamPool(UpstreamSettings(name: "a", servers: servers), workers: 1)
        #expect((pool.siblingCount(of: 0) == 1 && pool.siblingCount(of: 1) == 0) == true)
        #expect((pool.chooseSibling(of: 0, at: seconds(0)) == .connect(server: 2)) == true)
        #expect((pool.chooseSibling(of: 1, at: seconds(0)) == nil) == true)
        servers[2].state.setUp(false, at: seconds(0))
        #expect((pool.chooseSibling(of: 0, at: seconds(0)) == nil) == true)
    }
}

@Suite("The retry budget")
struct RetryBudgetTests {
    @Test("ten retries without traffic, then a fifth of the requests, then three a second")
    func budget() {
        var pool = UpstreamPool(upstream([1, 1], .roundRobin), workers: 1)
        var permitted = 0
        while pool.permitsRetry(at: seconds(0)) { permitted += 1 }
        #expect(permitted == 10)
        _ = tally(&pool, 50, servers: 2)
        permitted = 0
        while pool.permitsRetry(at: seconds(0)) { permitted += 1 }
        #expect(permitted == 10)
        permitted = 0
        while pool.permitsRetry(at: seconds(1)) { permitted += 1 }
        #expect(permitted == 3)
        #expect((pool.settings.state.retries == 23 && pool.settings.state.retriesRefused == 3) == true)
    }

    @Test("what is saved up is bounded")
    func bound() {
        var pool = UpstreamPool(upstream([1, 1], .roundRobin), workers: 1)
        _ = tally(&pool, 10_000, servers: 2)
        var permitted = 0
        while pool.permitsRetry(at: seconds(0)) { permitted += 1 }
        #expect(permitted == 100)
    }
}

@Suite("Health checks")
struct HealthCheckTests {
    private func check(healthy: Bool = true) -> HealthCheck {
        HealthCheck(HealthSettings(path: "/"), isHealthy: healthy, now: seconds(0), random: 0)
    }

    @Test("so many failures in a row take a server out, so many successes bring it back")
    func thresholds() {
        var check = check()
        func run(_ outcomes: [Bool]) -> [Bool] { outcomes.map { check.end(passed: $0) } }
        #expect(run([false, false, true, false, false]) == [false, false, false, false, false])
        #expect(check.isHealthy)
        #expect(run([false]) == [true])
        #expect(!check.isHealthy)
        #expect(run([false, true, false, true]) == [false, false, false, false])
        #expect(!check.isHealthy)
        #expect(run([true]) == [true])
        #expect(check.isHealthy)
    }

    @Test("one check at a time, at the interval, a tenth earlier or later")
    func schedule() {
        var check = check()
        #expect(check.due == seconds(0))
        check.begin(at: seconds(0), random: 0)
        #expect(check.due == .never)
        _ = check.end(passed: true)
        #expect(check.due == seconds(4.5))
        check.begin(at: seconds(5), random: 1000)
        _ = check.end(passed: true)
        #expect(check.due == seconds(10.5))
    }

    @Test("the first checks of many servers do not come at once")
    func spread() {
        let check = HealthCheck(HealthSettings(path: "/"), now: seconds(0), random: 249)
        #expect(check.due == seconds(0.249))
        var fast = HealthSettings(path: "/")
        fast.intervalMilliseconds = 100
        #expect(HealthCheck(fast, now: seconds(0), random: 150).due == seconds(0.05))
    }

    @Test("an unhealthy server stays so when its settings change")
    func keptVerdict() {
        #expect(!check(healthy: false).isHealthy)
    }
}
