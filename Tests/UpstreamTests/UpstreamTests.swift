import Bytes
import Glibc
import HTTP
import Reactor
import Synchronization
import Telemetry
import Testing

@testable import Upstream

/// What this thread has had of a CPU: how many others want it makes no difference.
private func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

private func settings(
    _ weights: [Int], balance: Balance = .leastRequests, connections: Int = 2, pending: Int = 2,
    workers: Int = 1
) -> UpstreamSettings {
    var settings = UpstreamSettings(
        name: "tasks",
        servers: weights.enumerated().map {
            ServerSettings(
                address: .ipv4(0x7f00_0001, port: UInt16(8000 + $0.offset)), weight: $0.element,
                state: ServerState(workers: workers))
        }, state: UpstreamState(workers: workers))
    settings.balance = balance
    settings.maximumConnections = connections
    settings.maximumPending = pending
    return settings
}

private let start = Instant(microseconds: 1_000_000_000)

private func handle(_ index: UInt32) -> Handle { Handle(index: index, generation: 1) }

@Suite("The pool of an upstream")
struct UpstreamPoolTests {
    @Test("a connection that was given back is used again, the last one first")
    func reuse() {
        var pool = UpstreamPool(settings([1]), workers: 1)
        #expect((pool.choose(at: start) == .connect(server: 0)) == true)
        #expect((pool.choose(at: start) == .connect(server: 0)) == true)
        pool.giveBack(handle(1), server: 0)
        pool.giveBack(handle(2), server: 0)
        #expect((pool.choose(at: start) == .reuse(handle(2), server: 0)) == true)
        #expect((pool.choose(at: start) == .reuse(handle(1), server: 0)) == true)
        #expect((pool.connectionCount == 2) == true)
    }

    @Test("what is counted of answers and of connections")
    func counts() {
        let settings = settings([1])
        var pool = UpstreamPool(settings, workers: 1)
        _ = pool.choose(at: start)
        pool.giveBack(handle(1), server: 0)
        _ = pool.choose(at: start)
        pool.noteAnswer(status: 204, microseconds: 251)
        pool.noteAnswer(status: 599, microseconds: -1)
        pool.noteAnswer(status: 42, microseconds: 20_000_000)
        #expect((1...5).map { settings.state.responses(statusClass: $0) } == [0, 1, 0, 0, 1])
        let durations = settings.state.durations
        #expect(durations.counts[0] == 1 && durations.counts[1] == 1 && durations.counts[15] == 1)
        #expect(durations.microseconds == 20_000_251)
        #expect(settings.servers[0].state.connectionsOpened == 1 && settings.servers[0].state.requests == 2)
    }

    @Test("beyond max_connections requests wait, beyond max_pending they are refused")
    func limits() {
        var pool = UpstreamPool(settings([1], connections: 1, pending: 1), workers: 1)
        #expect((pool.choose(at: start) == .connect(server: 0)) == true)
        #expect((pool.choose(at: start) == .wait) == true)
        pool.enqueue(handle(9))
        #expect((pool.choose(at: start) == .refuse) == true)
        #expect((pool.dequeue(at: start) == nil) == true)
        pool.closedInUse(server: 0)
        #expect((pool.dequeue(at: start) == handle(9)) == true)
        #expect((pool.dequeue(at: start) == nil) == true)
    }

    @Test(
        "workers share max_connections exactly",
        arguments: [(3, 2), (7, 4), (8, 4), (2, 2)])
    func shares(limit: Int, workers: Int) {
        let settings = settings([1], connections: limit, workers: workers)
        var opened: [Int] = []
        for worker in 0..<workers {
            var pool = UpstreamPool(settings, workers: workers, worker: worker)
            opened.append(0)
            while pool.choose(at: start) == .connect(server: 0) { opened[worker] += 1 }
            #expect((pool.carrierLimit == opened[worker]) == true)
        }
        #expect(opened.reduce(0, +) == limit)
        #expect(opened.max().map { $0 - (opened.min() ?? 0) <= 1 } == true)
    }

    @Test(
        "fewer connections than workers are whose who comes first, and of all together",
        arguments: [(1, 2), (3, 4)])
    func fewerThanWorkers(limit: Int, workers: Int) {
        let few = settings([1], connections: limit, pending: 9, workers: workers)
        var first = UpstreamPool(few, workers: workers, worker: 0)
        var last = UpstreamPool(few, workers: workers, worker: workers - 1)
        #expect(first.sharesConnections == true)
        for _ in 0..<limit { #expect((first.choose(at: start) == .connect(server: 0)) == true) }
        #expect((last.choose(at: start) == .wait) == true)
        last.enqueue(handle(1))
        #expect((last.dequeue(at: start) == nil) == true)
        #expect((last.chooseFresh(server: 0)) == false)
        first.closedInUse(server: 0)
        #expect((last.dequeue(at: start) == handle(1)) == true)
        #expect((last.choose(at: start) == .connect(server: 0)) == true)
        #expect((first.choose(at: start) == .wait) == true)
        // With enough for all, each has its part; over HTTP/2 one connection carries many requests, and each has one.
        let enough = UpstreamPool(settings([1], connections: 4, workers: 4), workers: 4).sharesConnections
        #expect(!enough)
    }

    @Test(
        "who waits calls the worker that has an idle connection, once until it looks; who has room calls those who wait"
    )
    func bells() {
        let few = settings([1], connections: 1, pending: 9, workers: 3)
        let calls = (0..<3).map { _ in Calls() }
        var holder = UpstreamPool(few, workers: 3, worker: 0)
        var waiter = UpstreamPool(few, workers: 3, worker: 1)
        let other = UpstreamPool(few, workers: 3, worker: 2)
        holder.hangBell { calls[0].add() }
        waiter.hangBell { calls[1].add() }
        other.hangBell { calls[2].add() }
        #expect((holder.choose(at: start) == .connect(server: 0)) == true)
        #expect((waiter.choose(at: start) == .wait) == true)
        waiter.enqueue(handle(9))
        waiter.askForConnections()
        #expect(calls.map(\.count) == [0, 0, 0], "it has a request on it")
        #expect((holder.wantedElsewhere == 1 && waiter.wantedElsewhere == 0) == true)
        holder.giveBack(handle(1), server: 0)
        waiter.askForConnections()
        waiter.askForConnections()
        #expect(calls.map(\.count) == [1, 0, 0])
        holder.answerBell()
        waiter.askForConnections()
        #expect(calls.map(\.count) == [2, 0, 0])
        // The one that is idle here is not for who comes later than those who wait elsewhere.
        #expect((holder.choose(at: start) == .wait) == true)
        #expect((waiter.dequeue(at: start) == nil) == true)
        holder.closedIdle(handle(1), server: 0)
        holder.offerRoom()
        #expect(calls.map(\.count) == [2, 1, 0])
        #expect((waiter.dequeue(at: start) == handle(9)) == true)
    }

    @Test("who loses a freed connection to another worker keeps its place")
    func loserKeepsItsPlace() {
        let few = settings([1], connections: 1, pending: 9, workers: 2)
        var winner = UpstreamPool(few, workers: 2, worker: 0)
        var loser = UpstreamPool(few, workers: 2, worker: 1)
        #expect((winner.choose(at: start) == .connect(server: 0)) == true)
        for number in 1...3 { loser.enqueue(handle(UInt32(number))) }
        winner.closedInUse(server: 0)
        #expect((loser.dequeue(at: start) == handle(1)) == true)
        #expect((loser.isWaiting(handle(1)) == false && loser.isWaiting(handle(2)) == true) == true)
        #expect((winner.choose(at: start, hasWaited: true) == .connect(server: 0)) == true)
        #expect((loser.choose(at: start, hasWaited: true) == .wait) == true)
        loser.putBack(handle(1))
        #expect((loser.waitingCount == 3 && winner.wantedElsewhere == 3) == true)
        for number in 1...3 {
            winner.closedInUse(server: 0)
            #expect((loser.dequeue(at: start) == handle(UInt32(number))) == true)
            #expect((winner.choose(at: start, hasWaited: true) == .connect(server: 0)) == true)
        }
    }

    @Test("shared connections are kept only where the queue has room for who has to wait for them")
    func keeping() {
        func keeps(connections: Int, pending: Int) -> Bool {
            UpstreamPool(settings([1], connections: connections, pending: pending, workers: 3), workers: 3)
                .keepsConnections
        }
        #expect(keeps(connections: 2, pending: 3) && keeps(connections: 3, pending: 0))
        #expect(!keeps(connections: 2, pending: 2))
    }

    @Test("the connections of a worker that ends are there for the others")
    func sharedConnectionsOfTheGone() {
        let settings = settings([1], connections: 1, workers: 2)
        do {
            var gone = UpstreamPool(settings, workers: 2, worker: 1)
            #expect((gone.choose(at: start) == .connect(server: 0)) == true)
        }
        var left = UpstreamPool(settings, workers: 2, worker: 0)
        #expect((left.choose(at: start) == .connect(server: 0)) == true)
    }

    @Test("max_pending is of all workers together")
    func sharedQueue() {
        let settings = settings([1], connections: 2, pending: 3, workers: 2)
        var first = UpstreamPool(settings, workers: 2, worker: 0)
        do {
            var second = UpstreamPool(settings, workers: 2, worker: 1)
            _ = first.choose(at: start)
            _ = second.choose(at: start)
            for number in 0..<2 {
                #expect((first.choose(at: start) == .wait) == true)
                first.enqueue(handle(UInt32(number)))
            }
            #expect((second.choose(at: start) == .wait) == true)
            second.enqueue(handle(9))
            #expect((first.choose(at: start) == .refuse) == true)
            #expect((second.choose(at: start) == .refuse) == true)
        }
        // A worker that has ended waits for nothing.
        #expect(settings.state.waiting == 2)
        #expect((first.choose(at: start) == .wait) == true)
    }

    @Test("with max_pending = 0 nobody waits")
    func noQueue() {
        var pool = UpstreamPool(settings([1], connections: 1, pending: 0), workers: 1)
        _ = pool.choose(at: start)
        #expect((pool.choose(at: start) == .refuse) == true)
    }

    @Test("an idle connection that closed is never chosen")
    func closedIdle() {
        var pool = UpstreamPool(settings([1]), workers: 1)
        _ = pool.choose(at: start)
        pool.giveBack(handle(1), server: 0)
        pool.closedIdle(handle(1), server: 0)
        #expect((pool.connectionCount == 0) == true)
        #expect((pool.choose(at: start) == .connect(server: 0)) == true)
        // One that is not there is no reason to miscount.
        pool.closedIdle(handle(7), server: 0)
        #expect((pool.connectionCount == 1) == true)
    }

    @Test("round-robin serves as the weights say")
    func roundRobin() {
        var pool = UpstreamPool(settings([3, 1], balance: .roundRobin, connections: 100), workers: 1)
        var served = [0, 0]
        for _ in 0..<40 {
            guard case .connect(let server) = pool.choose(at: start) else { continue }
            served[server] += 1
        }
        #expect(served == [30, 10])
    }

    @Test("least-requests takes the least busy for its weight, and avoids a server that failed")
    func leastRequests() {
        var pool = UpstreamPool(settings([1, 1], connections: 100), workers: 1)
        #expect((pool.choose(at: start) == .connect(server: 0)) == true)
        #expect((pool.choose(at: start) == .connect(server: 1)) == true)
        pool.closedInUse(server: 1)
        #expect((pool.choose(at: start) == .connect(server: 1)) == true)
        #expect((pool.choose(at: start, avoiding: 0) == .connect(server: 1)) == true)
        var single = UpstreamPool(settings([1]), workers: 1)
        #expect((single.choose(at: start, avoiding: 0) == .connect(server: 0)) == true)
    }

    @Test("a fresh connection is refused where the server may have no further one")
    func fresh() {
        var pool = UpstreamPool(settings([1], connections: 1), workers: 1)
        #expect((pool.chooseFresh(server: 0)) == true)
        #expect((pool.chooseFresh(server: 0)) == false)
    }

    @Test("every idle connection can be found, the one that has waited longest first")
    func oldestIdle() {
        var pool = UpstreamPool(settings([1, 1]), workers: 1)
        _ = pool.choose(at: start)
        _ = pool.choose(at: start)
        pool.giveBack(handle(1), server: 0)
        pool.giveBack(handle(2), server: 1)
        for (place, server) in [(1, 0), (2, 1)] {
            #expect((pool.oldestIdle == handle(UInt32(place))) == true)
            pool.closedIdle(handle(UInt32(place)), server: server)
        }
        #expect((pool.oldestIdle == nil) == true)
        #expect((pool.connectionCount == 0) == true)
    }
}

@Suite("The retry rule (RFC 9110 §9.2.2)")
struct RetryRuleTests {
    @Test(
        "a request that may have been processed is sent again only where twice is the same as once",
        arguments: [
            (Method.get, RequestProgress.maybeProcessed, true), (.head, .maybeProcessed, true),
            (.put, .maybeProcessed, true), (.delete, .maybeProcessed, true), (.post, .maybeProcessed, false),
            (.patch, .maybeProcessed, false), (.other, .maybeProcessed, false), (.post, .nothingSent, true),
            (.get, .answered, false), (.post, .answered, false),
        ])
    func rule(method: Method, progress: RequestProgress, allowed: Bool) {
        #expect(RetryRule.allows(method, after: progress, isReplayable: true) == allowed)
        #expect(!RetryRule.allows(method, after: progress, isReplayable: false))
    }
}

/// How often somebody was called.
private final class Calls: Sendable {
    private let number = Atomic<Int>(0)

    var count: Int { number.load(ordering: .relaxed) }
    func add() { number.wrappingAdd(1, ordering: .relaxed) }
}

@Suite("The requests that wait for a connection")
struct RequestQueueTests {
    @Test("they leave in the order in which they came, but for those who left before")
    func order() {
        var queue = RequestQueue()
        for index in 0..<200 { queue.append(handle(UInt32(index))) }
        for index in 0..<200 where index % 3 != 0 { #expect(queue.remove(handle(UInt32(index))) == true) }
        #expect(queue.remove(handle(1)) == false)
        #expect(queue.remove(handle(200)) == false)
        #expect(queue.count == 67)
        queue.append(handle(1))
        var left: [UInt32] = []
        while let next = queue.popFirst() { left.append(next.index) }
        #expect(left == (0..<67).map { $0 * 3 } + [1])
        #expect(queue.isEmpty)
    }

    @Test("who is put back in front is the next one, whoever left, came or was put back before")
    func prepending() {
        var queue = RequestQueue()
        queue.prepend(handle(7))
        #expect(queue.popFirst() == handle(7))
        for index in 0..<100 { queue.append(handle(UInt32(index))) }
        for index in 0..<100 {
            for _ in 0..<3 {
                #expect(queue.popFirst() == handle(UInt32(index)))
                #expect(queue.contains(handle(UInt32(index))) == false)
                queue.prepend(handle(UInt32(index)))
                #expect(queue.contains(handle(UInt32(index))) && queue.count == 100 - index)
            }
            #expect(queue.remove(handle(UInt32(index))) == true)
        }
        #expect(queue.isEmpty)
    }

    @Test("100,000 that lose patience together hold nobody up")
    func leavingTogether() {
        var queue = RequestQueue()
        for index in 0..<100_000 { queue.append(handle(UInt32(index))) }
        let start = cpuSeconds()
        for index in (0..<100_000).reversed() { _ = queue.remove(handle(UInt32(index))) }
        #expect(queue.isEmpty)
        #expect(queue.popFirst() == nil)
        // One by one from an array it takes a quarter of a minute, optimized.
        #expect(cpuSeconds() - start < 5)
    }
}
