import Bytes
import CSimulation
import Glibc
import HTTP
import Policy
import TLS
import Telemetry

@testable import Proxy
@testable import Reactor

/// One run: a worker as it is, its clients and its backends, in a kernel and a time that are made up.
final class World {
    static let ports: [UInt16] = [8000, 8001]
    static let addresses = ports.map { SocketAddress.ipv4(0x7f00_0001, port: $0) }
    /// Nothing in any plan takes as long as this, all timeouts together.
    private static let longestMicroseconds: Int64 = 1800 * 1_000_000

    let scenario: Scenario
    let ledger: Ledger
    /// How the store is, for the worker to see.
    let standing = SharedStanding()
    /// Somebody has done what makes unanswered requests right.
    var isDisturbed = false
    private var clients: [Peer] = []
    private var backends: [Peer] = []
    private var connecting: [(at: Int64, stream: Int32, port: UInt16, error: Int32)] = []
    private var inbox: Inbox<WorkerMessage>?
    private var authority: Control?
    private var hasDrained = false
    private var startedAt: Int64 = 0
    private var drainAt = never
    private var reconfigureAt = never

    init(_ scenario: Scenario) {
        self.scenario = scenario
        ledger = Ledger(
            retries: scenario.retries, maximumBody: scenario.maximumBody, refusesHeads: scenario.limits != nil
        )
        startedAt = sim_now()
        for index in 0...Int(sim_below(3)) {
            let plans = scenario.plans(client: index)
            clients.append(sim_below(3) == 0 ? HTTP2Client(self, plans) : Client(self, plans))
        }
        authority = Control(self)
        if scenario.drainsEarly { drainAt = startedAt + Int64(sim_below(200_000)) }
        if scenario.reconfigures { reconfigureAt = startedAt + Int64(sim_below(100_000)) }
    }

    /// Runs the worker to its end, and looks at what it leaves.
    func run() throws {
        let listeners = Self.ports.map { sim_listener($0) }
        let inbox = try Inbox<WorkerMessage>()
        self.inbox = inbox
        let counters = scenario.fixed.counters
        func count(_ what: Counter) -> UInt64 { counters.value(of: what) }
        let before = (count(.connectionsAccepted), count(.connectionsClosed))
        let parts = WorkerParts(
            index: 0, count: 1, inbox: inbox, counters: counters, logWriter: scenario.fixed.logWriter,
            keyRequests: scenario.fixed.keyRequests, questions: scenario.fixed.questions,
            buckets: scenario.course == .sharing ? RateBuckets(seed: (1, 2)) : scenario.fixed.buckets,
            ledger: ConnectionLedger(),
            rateRequests: scenario.fixed.rateRequests, standing: standing,
            proofMemory: scenario.fixed.proofMemory)
        try work(parts, listeners)
        if let fault = sim_tls_fault() { ledger.violate(String(cString: fault)) }
        if sim_is_stuck() { ledger.violate("the worker waits for what never comes") }
        let (accepted, closed) = (
            count(.connectionsAccepted) - before.0, count(.connectionsClosed) - before.1
        )
        if accepted != closed { ledger.violate("\(accepted) connections accepted, \(closed) closed") }
        for peer in clients + backends where peer.stream >= 0 { peer.leave() }
        self.inbox = nil
        authority?.end()
    }

    private func work(_ parts: WorkerParts, _ listeners: [Int32]) throws {
        var worker = try Worker(
            parts, settings(listenerCount: listeners.count), Self.bound(listeners))
        try worker.run()
        let left = [
            ("clients", worker.clients.count), ("exchanges", worker.exchanges.count),
            ("servers", worker.servers.count), ("bytes in buffers", worker.pool.bytesInUse),
            ("streams", worker.streamCount),
        ]
        for (what, count) in left where count != 0 { ledger.violate("\(count) \(what) are left") }
    }

    private func settings(listenerCount: Int) -> ProxySettings {
        var settings = scenario.settings(listenerCount: listenerCount)
        authority?.apply(to: &settings)
        return settings
    }

    private static func bound(_ descriptors: [Int32?]) -> [WorkerListener] {
        descriptors.enumerated().map { index, descriptor in
            WorkerListener(name: "l\(index)", address: addresses[index], descriptor: descriptor)
        }
    }

    /// Nobody has done anything that makes an unanswered request right.
    var isFaultless: Bool { scenario.isClean && !isDisturbed }

    /// A client has read an answer.
    func noteAnswered(_ plan: Plan, _ answer: Answer) {
        ledger.noteAnswered(plan, answer)
        // Without retries, what a server of HTTP/2 refuses that takes its leave is not sent again.
        let isRelayed = answer.echo != nil || scenario.upstream.speaksHTTP2 && answer.status != 401
        let isDue = plan.isForwarded ? isRelayed && answer.isWhole : answer.status == 401
        if isFaultless, !isDue {
            ledger.violate("\(plan.id) got \(answer.status), and nobody did anything wrong")
        }
    }

    /// Everybody whose time has come acts; gives the time of the next who means to.
    func step(_ now: Int64) -> Int64 {
        ledger.step += 1
        if let most = scenario.mostConnections, Int(sim_held()) > most {
            ledger.violate("\(sim_held()) connections, and \(most) are allowed")
        }
        meetConnections(now)
        for peer in clients { turn(peer, now) }
        for peer in backends { turn(peer, now) }
        backends.removeAll { $0.stream < 0 }
        control(now)
        var next = min(hasDrained ? never : drainAt, reconfigureAt, authority?.next ?? never)
        for peer in clients { next = min(next, peer.next) }
        for peer in backends { next = min(next, peer.next) }
        for connection in connecting { next = min(next, connection.at) }
        return next
    }

    private func turn(_ peer: Peer, _ now: Int64) {
        if peer.next == never, peer.hasNews { peer.next = peer.pause(now) }
        guard peer.next <= now else { return }
        peer.next = never
        peer.act(now)
        if peer.next == never, peer.hasNews { peer.next = peer.pause(now) }
    }

    private func meetConnections(_ now: Int64) {
        var port: UInt16 = 0
        while true {
            let stream = sim_next_outgoing(&port)
            guard stream >= 0 else { break }
            ledger.noteConnection(to: port)
            let isDead = scenario.deadPorts.contains(port)
            let isLost = !scenario.isClean && sim_below(64) == 0
            connecting.append(
                (isLost ? never : now + Int64(sim_below(2000)), stream, port, isDead ? ECONNREFUSED : 0))
        }
        for (index, connection) in connecting.enumerated().reversed() {
            if sim_is_closed_by_process(connection.stream) {
                sim_peer_release(connection.stream)
                connecting.remove(at: index)
            } else if connection.at <= now {
                connecting.remove(at: index)
                sim_finish_connect(connection.stream, connection.error)
                if connection.error == 0 {
                    let backend =
                        scenario.upstream.speaksHTTP2 ? HTTP2Backend(self) : BackendConnection(self)
                    (backend.stream, backend.port) = (connection.stream, connection.port)
                    if let security = scenario.upstream.security {
                        sim_peer_secure(backend.stream, false, security.protocols == [.h2])
                    }
                    backends.append(backend)
                } else {
                    sim_peer_release(connection.stream)
                }
            }
        }
    }

    private func control(_ now: Int64) {
        if let inbox { authority?.act(now, inbox) }
        if reconfigureAt <= now {
            reconfigureAt = never
            let count = scenario.dropsListener ? 1 : Self.ports.count
            isDisturbed = isDisturbed || scenario.dropsListener
            inbox?.send(
                .reconfigure(
                    settings(listenerCount: count), Self.bound(Array(repeating: nil, count: count)),
                    workers: 1))
        }
        let isOver = clients.allSatisfy(\.isDone)
        if !hasDrained, isOver || drainAt <= now {
            hasDrained = true
            isDisturbed = isDisturbed || !isOver
            inbox?.send(.drain)
        }
        if sim_is_stuck() || now - startedAt > Self.longestMicroseconds {
            if !sim_is_stuck() { ledger.violate("it goes on and on") }
            inbox?.send(.stop)
        }
    }
}
