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
    static let ports: [UInt16] = [8000, 8001, 8002]
    /// The listener at which a proxy in front asks about requests.
    static let questionListener = 2
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
    private var crew: Crew?
    private var authority: Control?
    private var hasDrained = false
    private var startedAt: Int64 = 0
    private var drainAt = never
    private var reconfigureAt = never
    /// How many workers there are to be, the next number last.
    private var sizes: [Int]
    /// Some workers are to end: they lose nothing but tunnels, which they close as is due.
    private var cutsTunnels = false

    /// Where the address of a client counts, which all have in common: proxies in front are not counted.
    private let countedPorts: [UInt16]

    private func checkConnections() {
        guard let limits = scenario.limits else { return }
        func expect(_ ports: [UInt16], atMost most: Int) {
            let held = ports.reduce(0) { $0 + Int(sim_held($1)) }
            if held > most { ledger.violate("\(held) connections, and \(most) are allowed") }
        }
        // All workers have it together, however many there are, the old ones that end included.
        if let most = limits.connections { expect(Self.ports, atMost: most) }
        if let most = limits.connectionsPerAddress { expect(countedPorts, atMost: most) }
    }

    init(_ scenario: Scenario) {
        self.scenario = scenario
        sizes = scenario.sizes
        countedPorts = Self.ports.indices.filter {
            $0 != Self.questionListener && !scenario.greetedListeners.contains($0)
        }.map { Self.ports[$0] }
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

    /// Runs the workers to their end, and looks at what they leave.
    func run() throws {
        let counters = scenario.fixed.counters
        func count(_ what: Counter) -> UInt64 { counters.reduce(0) { $0 + $1.value(of: what) } }
        let before = (count(.connectionsAccepted), count(.connectionsClosed))
        let crew = Crew(self)
        self.crew = crew
        try crew.begin(settings(listenerCount: Self.ports.count))
        try crew.run()
        if let fault = sim_tls_fault() { ledger.violate(String(cString: fault)) }
        if sim_is_stuck() { ledger.violate("the worker waits for what never comes") }
        let (accepted, closed) = (
            count(.connectionsAccepted) - before.0, count(.connectionsClosed) - before.1
        )
        if accepted != closed { ledger.violate("\(accepted) connections accepted, \(closed) closed") }
        for peer in clients + backends where peer.stream >= 0 { peer.leave() }
        self.crew = nil
        authority?.end()
    }

    private func settings(listenerCount: Int) -> ProxySettings {
        var settings = scenario.settings(listenerCount: listenerCount)
        authority?.apply(to: &settings)
        return settings
    }

    /// Nobody has done anything that makes an unanswered request right.
    var isFaultless: Bool { scenario.isClean && !isDisturbed }

    /// A client has read an answer.
    func noteAnswered(_ plan: Plan, _ answer: Answer) {
        ledger.noteAnswered(plan, answer)
        // Without retries, what a server of HTTP/2 refuses that takes its leave is not sent again.
        let isRelayed = answer.echo != nil || scenario.upstream.speaksHTTP2 && answer.status != 401
        let isRight = plan.isQuestion ? answer.status == 200 : isRelayed && answer.isWhole
        let isDue = plan.isForwarded ? isRight : answer.status == 401
        if isFaultless, !isDue, !(plan.isTunnel && cutsTunnels) {
            ledger.violate("\(plan.id) got \(answer.status), and nobody did anything wrong")
        }
    }

    /// Everybody whose time has come acts; gives the time of the next who means to.
    func step(_ now: Int64) -> Int64 {
        ledger.step += 1
        checkConnections()
        meetConnections(now)
        for peer in clients { turn(peer, now) }
        for peer in backends { turn(peer, now) }
        backends.removeAll { $0.stream < 0 }
        control(now)
        var next = min(
            hasDrained ? never : drainAt, reconfigureAt, authority?.next ?? never, crew?.next ?? never)
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
            let (count, most) = (Int(sim_connections_to(port)), scenario.upstream.maximumConnections)
            if !scenario.upstream.speaksHTTP2, count > most, !ledger.hasOldPool {
                ledger.violate("\(count) connections to \(port), and \(most) are allowed")
            }
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
        guard let crew else { return }
        authority?.act(now, crew)
        crew.hurry(now)
        if reconfigureAt <= now { reconfigure(now, crew) }
        let isOver = clients.allSatisfy(\.isDone)
        if !hasDrained, isOver || drainAt <= now {
            hasDrained = true
            isDisturbed = isDisturbed || !isOver
            crew.send(.drain)
        }
        if sim_is_stuck() || now - startedAt > Self.longestMicroseconds {
            if !sim_is_stuck() { ledger.violate("it goes on and on") }
            crew.send(.stop)
        }
    }

    private func reconfigure(_ now: Int64, _ crew: Crew) {
        reconfigureAt = never
        if hasDrained { return }
        let count = scenario.dropsListener ? 1 : Self.ports.count
        let workers = sizes.popLast() ?? crew.count
        guard crew.canBe(workers) else { return }
        isDisturbed = isDisturbed || scenario.dropsListener
        cutsTunnels = cutsTunnels || workers < crew.count
        if workers != crew.count { ledger.hasOldPool = true }
        do { try crew.reconfigure(settings(listenerCount: count), to: workers) } catch {
            ledger.violate("no further worker: \(error)")
        }
        if !sizes.isEmpty { reconfigureAt = now + Int64(sim_below(100_000)) }
    }
}
