import Config
import Logging
import Reactor
import TLS
import Upstream

/// What the control thread knows of the servers behind the proxy: their addresses, and how they are.
///
/// One for the whole process, and not one for each worker: a server gets one check at a time however many workers
/// there are, and all of them act on the same verdict. It reaches them without a message, by the `ServerState` that
/// they read for each choice.
final class BackendKeeper {
    let names: NameBook
    private let checker: HealthChecker
    /// How many workers the states have room for, and those that were prepared last.
    private var workers: Int
    private var preparedWorkers: Int
    /// What the log gets; its level may change.
    var log: Logger {
        didSet {
            names.log = log
            checker.log = log
        }
    }
    private var configured: [UpstreamConfiguration] = []
    private(set) var current: [UpstreamSettings] = []
    private var servers: [ServerKey: ServerState] = [:]
    private var upstreams: [String: UpstreamState] = [:]
    private var ejectionsSeen: [ServerKey: Int] = [:]
    private var nextLook = Instant.never

    private struct ServerKey: Hashable {
        let upstream: String
        let authority: String
        let address: SocketAddress
    }

    /// How long a start or a reload waits for names that are new: most answer at once, and who does not must not hold
    /// up the others.
    private static let patienceMilliseconds: Int64 = 2000
    /// How often the log is told of servers that were ejected.
    private static let lookMilliseconds: Int64 = 1000

    init(workers: Int, log: Logger) throws(Errno) {
        (self.workers, preparedWorkers) = (workers, workers)
        self.log = log
        names = try NameBook(log: log)
        checker = HealthChecker(log: log)
    }

    // MARK: Settings

    /// The upstreams of a configuration with the addresses that are known, and room for that many workers, or for those
    /// that there are, in what is known of upstreams and servers. Waits up to two seconds for names that were never looked
    /// up; what has no address then gets it later. Either `commit` or `refuse` follows.
    func prepare(_ configuration: Configuration, workers count: Int? = nil) throws(StartFailure)
        -> [UpstreamSettings]
    {
        names.add(Self.names(of: configuration.upstreams), now: .now())
        names.waitForAnswers(milliseconds: Self.patienceMilliseconds)
        preparedWorkers = max(count ?? workers, workers)
        var known = current.compactMap(\.security?.trusted)
        return try configuration.upstreams.map { (upstream) throws(StartFailure) in
            let settings = try settings(upstream, known)
            if let trusted = settings.security?.trusted { known.append(trusted) }
            return settings
        }
    }

    /// The configuration that was prepared last holds from now on: forgets what it does not name, and checks what it says.
    func commit(_ configuration: Configuration, _ settings: [UpstreamSettings], now: Instant) {
        configured = configuration.upstreams
        workers = preparedWorkers
        names.retain(Self.names(of: configured))
        adopt(settings, now)
        upstreams = Dictionary(settings.map { ($0.name, $0.state) }) { first, _ in first }
    }

    /// What was prepared last does not come to hold: all is as before, and its names are looked up no more.
    func refuse(now: Instant) {
        preparedWorkers = workers
        let names = Self.names(of: configured)
        self.names.add(names, now: now)
        self.names.retain(names)
    }

    private func adopt(_ settings: [UpstreamSettings], _ now: Instant) {
        current = settings
        checker.configure(settings, now: now)
        var kept: [ServerKey: ServerState] = [:]
        for upstream in settings {
            let end = now.advanced(byMilliseconds: upstream.ejection?.milliseconds ?? 0)
            for server in upstream.servers {
                kept[Self.key(upstream.name, server)] = server.state
                // Out by a rule that is gone: not known to fail. By a longer one: no longer than the new one says.
                server.state.limitEjection(until: end)
            }
        }
        servers = kept
        ejectionsSeen = ejectionsSeen.filter { kept[$0.key] != nil }
        let isWatched = settings.contains { $0.ejection != nil }
        nextLook = isWatched ? now.advanced(byMilliseconds: Self.lookMilliseconds) : .never
    }

    private static func names(of upstreams: [UpstreamConfiguration]) -> [NameBook.Name: Int64] {
        var names: [NameBook.Name: Int64] = [:]
        for upstream in upstreams {
            for server in upstream.servers {
                guard case .name(let host, let port) = server.address else { continue }
                let name = NameBook.Name(host: host, port: port)
                names[name] = min(names[name] ?? .max, upstream.resolveInterval.wholeMilliseconds)
            }
        }
        return names
    }

    private func settings(_ upstream: UpstreamConfiguration, _ known: [TrustedAuthorities])
        throws(StartFailure) -> UpstreamSettings
    {
        var state = upstreams[upstream.name] ?? UpstreamState(workers: preparedWorkers)
        if preparedWorkers > workers { state = UpstreamState(state, workers: preparedWorkers) }
        return try UpstreamSettings(
            upstream, servers: serverSettings(upstream), state: state, knowing: known)
    }

    private func serverSettings(_ upstream: UpstreamConfiguration) -> [ServerSettings] {
        var list: [ServerSettings] = []
        for server in upstream.servers {
            for address in addresses(of: server.address)
            where !list.contains(where: { $0.address == address }) {
                var settings = ServerSettings(
                    address: address, authority: server.address.authority, weight: server.weight,
                    state: ServerState(workers: preparedWorkers))
                if let known = servers[Self.key(upstream.name, settings)] {
                    settings.state =
                        preparedWorkers > workers ? ServerState(known, workers: preparedWorkers) : known
                }
                list.append(settings)
            }
        }
        return list
    }

    private func addresses(of server: EndpointAddress) -> [SocketAddress] {
        guard case .name(let host, let port) = server else { return [SocketAddress(server)] }
        return names.addresses(of: NameBook.Name(host: host, port: port))
    }

    private static func key(_ upstream: String, _ server: ServerSettings) -> ServerKey {
        ServerKey(upstream: upstream, authority: server.authority, address: server.address)
    }

    // MARK: The loop

    /// When `run` is to be called next.
    var deadline: Instant { min(names.deadline, checker.deadline, nextLook) }

    /// Does what is due.
    func run(_ poller: borrowing Poller, now: Instant) {
        names.run(now: now)
        checker.run(poller, now: now)
        if nextLook <= now {
            nextLook = now.advanced(byMilliseconds: Self.lookMilliseconds)
            logEjections()
        }
    }

    /// The poller reports something of a check.
    func advance(_ token: UInt64, now: Instant) {
        checker.advance(token, now: now)
    }

    /// Takes in the answers to look-ups; the upstreams whose servers have changed, as they are now.
    func noteAnswers(now: Instant) -> [UpstreamSettings] {
        guard names.noteAnswers(now: now) else { return [] }
        var changed: [UpstreamSettings] = []
        var all = current
        for (place, upstream) in configured.enumerated() where place < all.count {
            let servers = serverSettings(upstream)
            guard servers != all[place].servers else { continue }
            all[place].servers = servers
            changed.append(all[place])
        }
        adopt(all, now)
        return changed
    }

    private func logEjections() {
        for (key, state) in servers {
            let count = state.ejections
            guard count > ejectionsSeen[key, default: 0] else { continue }
            ejectionsSeen[key] = count
            log.warning(
                "server ejected for a while: requests to it fail",
                metadata: ["upstream": "\(key.upstream)", "server": "\(key.address)"])
        }
    }

    // MARK: Metrics

    /// The text of /metrics about upstreams and their servers.
    func metrics(now: Instant) -> String { UpstreamMetrics.text(current, now: now) }
}
