import CSimulation
import Policy
import Telemetry

@testable import Proxy
@testable import Reactor
@testable import Upstream

/// The workers of a run. Most runs have one, which waits by itself; several take turns, and wait together.
final class Crew {
    /// A worker, and the way to it.
    final class Member {
        let index: Int
        let inbox: Inbox<WorkerMessage>
        fileprivate var worker: Worker
        fileprivate(set) var hasEnded = false
        /// It is to end while others stay.
        fileprivate var isRetiring = false

        fileprivate init(_ parts: WorkerParts, _ settings: ProxySettings, _ bound: [WorkerListener]) throws {
            index = parts.index
            inbox = parts.inbox
            worker = try Worker(parts, settings, bound)
        }

        /// One turn, where there is something for it to do.
        fileprivate func turn() -> Bool {
            let events = worker.poller.wait(timeoutMilliseconds: 0)
            worker.now = Instant.now()
            guard events > 0 || worker.waitMilliseconds == 0 else { return false }
            worker.turn(events)
            return true
        }

        /// When it does something unasked.
        fileprivate var deadline: Int64 {
            let milliseconds = worker.waitMilliseconds
            return milliseconds < 0 ? never : sim_now() + Int64(milliseconds) * 1000
        }
    }

    static let most = 3

    private unowned let world: World
    private var members: [Member] = []
    /// How many of them stay: the first ones.
    private(set) var count = 0
    /// For each port, the descriptors that workers have of it, and which worker each belongs to.
    private var sockets: [[(descriptor: Int32, holder: Int)]]
    /// When workers that are to end hear it again.
    private var farewells: [(at: Int64, member: Member, message: WorkerMessage)] = []
    private let buckets: RateBuckets
    private let ledger = ConnectionLedger()

    init(_ world: World) {
        self.world = world
        sockets = World.ports.map { _ in [] }
        buckets =
            world.scenario.course == .sharing ? RateBuckets(seed: (1, 2)) : world.scenario.fixed.buckets
    }

    /// Lets the first workers begin.
    func begin(_ settings: ProxySettings) throws {
        let total = world.scenario.workers
        for (place, port) in World.ports.enumerated() {
            sockets[place] = (0..<total).map { (sim_listener(port), $0) }
        }
        for index in 0..<total {
            let bound = World.addresses.indices.map { listener($0, sockets[$0][index].descriptor) }
            try start(index, of: total, settings, bound)
        }
    }

    private func listener(_ place: Int, _ descriptor: Int32?) -> WorkerListener {
        WorkerListener(name: "l\(place)", address: World.addresses[place], descriptor: descriptor)
    }

    private func start(_ index: Int, of total: Int, _ settings: ProxySettings, _ bound: [WorkerListener])
        throws
    {
        let fixed = world.scenario.fixed
        let parts = WorkerParts(
            index: index, count: total, inbox: try Inbox(), counters: fixed.counters[index],
            logWriter: fixed.logWriter, keyRequests: fixed.keyRequests, questions: fixed.questions,
            buckets: buckets, ledger: ledger, rateRequests: fixed.rateRequests, standing: world.standing,
            proofMemory: fixed.proofMemory)
        members.append(try Member(parts, settings, bound))
        count = index + 1
    }

    /// Runs all of them to their end.
    func run() throws {
        if world.scenario.isAlone, let member = members.first {
            try member.worker.run()
            return end(member)
        }
        while !members.isEmpty {
            let first = Int(sim_below(UInt32(members.count)))
            var hasWorked = false
            for place in members.indices where members[(first + place) % members.count].turn() {
                hasWorked = true
            }
            for member in members where member.worker.isFinished {
                try member.worker.end()
                end(member)
            }
            members.removeAll(where: \.hasEnded)
            if !hasWorked, !members.isEmpty { sim_wait_for_any(members.map(\.deadline).min() ?? never) }
        }
    }

    /// Looks at what a worker leaves.
    private func end(_ member: Member) {
        member.hasEnded = true
        let left = [
            ("clients", member.worker.clients.count), ("exchanges", member.worker.exchanges.count),
            ("servers", member.worker.servers.count),
            ("bytes in buffers", member.worker.pool.bytesInUse), ("streams", member.worker.streamCount),
        ]
        for (what, count) in left where count != 0 { world.ledger.violate("\(count) \(what) are left") }
        // A worker is called where it shares connections: what calls it would keep the way to it open.
        world.scenario.upstream.state.cells(ofWorker: member.index).bell.hang {}
    }

    /// Tells every worker that has not ended.
    func send(_ message: WorkerMessage) {
        for member in members where !member.hasEnded { member.inbox.send(message) }
    }

    /// Asks every worker for a sign that it knows what it was told so far.
    func beat() -> [(member: Member, heartbeat: Heartbeat)] {
        members.filter { !$0.hasEnded }.map { member in
            let heartbeat = Heartbeat()
            member.inbox.send(.beat(heartbeat))
            return (member, heartbeat)
        }
    }

    /// True where there can be so many from now on: a number is given again when its worker has ended.
    func canBe(_ wanted: Int) -> Bool { !members.contains { $0.isRetiring && $0.index < wanted } }

    /// Gives everybody new settings, and has more workers or fewer: as `ListenerBook` and `Supervisor.resize` do it.
    func reconfigure(_ settings: ProxySettings, to total: Int) throws {
        let bound = share(settings.listeners.count, among: total)
        for member in members where !member.hasEnded {
            let listeners = member.isRetiring ? [] : bound[member.index]
            member.inbox.send(.reconfigure(settings, listeners, workers: total))
        }
        for index in count..<max(count, total) { try start(index, of: total, settings, bound[index]) }
        let patience = settings.limits.drainTimeoutMilliseconds * 1000
        for member in members where member.index >= total && !member.isRetiring {
            member.isRetiring = true
            member.inbox.send(.retire)
            farewells.append((sim_now() + patience / 2, member, .drain))
            farewells.append((sim_now() + patience, member, .stop))
        }
        count = total
    }

    /// What each worker gets of the first ports: those that stay keep what they have, and get what only others have.
    private func share(_ portCount: Int, among total: Int) -> [[WorkerListener]] {
        var bound: [[WorkerListener]] = Array(repeating: [], count: max(count, total))
        for place in 0..<portCount {
            let held = sockets[place]
            for holder in Set(held.map(\.holder)) { bound[holder].append(listener(place, nil)) }
            func give(_ descriptor: Int32, to worker: Int) {
                let copy = sim_listener_again(descriptor)
                bound[worker].append(listener(place, copy))
                sockets[place].append((copy, worker))
            }
            sockets[place].removeAll { $0.holder >= total }
            for socket in held where socket.holder >= total {
                give(socket.descriptor, to: socket.holder % total)
            }
            for worker in 0..<total where !held.contains(where: { $0.holder == worker }) {
                give(held[worker % held.count].descriptor, to: worker)
            }
        }
        return bound
    }

    /// Workers that were to end are told so again.
    func hurry(_ now: Int64) {
        for farewell in farewells where farewell.at <= now && !farewell.member.hasEnded {
            farewell.member.inbox.send(farewell.message)
        }
        farewells.removeAll { $0.at <= now || $0.member.hasEnded }
    }

    var next: Int64 { farewells.map(\.at).min() ?? never }
}
