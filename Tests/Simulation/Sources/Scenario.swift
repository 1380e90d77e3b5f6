import Bytes
import CSimulation
import Crypto
import HTTP
import JOSE
import Policy
import TLS

@testable import Proxy
@testable import Reactor
@testable import Telemetry
@testable import Upstream

/// What a run is made of, drawn from its seed; besides what never changes.
struct Scenario {
    /// Nobody does anything wrong: then every request is answered.
    let isClean: Bool
    let retries: Int
    let faults: sim_faults
    let upstream: UpstreamSettings
    let deadPorts: Set<UInt16>
    let drainsEarly: Bool
    let reconfigures: Bool
    /// How many workers there are, and how many there are to be later, the next number last.
    let workers: Int
    let sizes: [Int]
    /// The second listener goes when the worker is reconfigured.
    let dropsListener: Bool
    /// Listeners, by number, at which TLS is spoken.
    let securedListeners: Set<Int>
    /// Those at which a proxy in front says first whose connection it is.
    let greetedListeners: Set<Int>
    let course: Course
    /// Nil: those of the configuration.
    let limits: LimitSettings?
    let maximumBody: Int?
    /// What the store has to allow passes only where it does.
    let refusesWithoutStore: Bool
    /// The upstream's servers come and go, are well and are not.
    let movesServers: Bool
    let fixed: FixedParts

    /// What becomes of tokens in the middle.
    enum Course {
        /// Nothing: they are good for ever.
        case plain
        /// Keys are fetched, and change; an issuer is asked.
        case asking
        /// Besides, tokens are revoked.
        case revoking
        /// Besides, a store counts requests with those of other proxies, and has the list of revoked tokens.
        case sharing
    }

    init(_ fixed: FixedParts) {
        self.fixed = fixed
        isClean = sim_below(3) == 0
        retries = Int(sim_below(3))
        movesServers = sim_below(4) == 0
        let ports = (0...sim_below(movesServers ? 3 : 2)).map { UInt16(9001 + $0) }
        var upstream = UpstreamSettings(
            name: "u",
            servers: ports.map {
                ServerSettings(
                    address: .ipv4(0x7f00_0001, port: $0), state: ServerState(workers: Crew.most))
            }, state: UpstreamState(workers: Crew.most))
        upstream.retries = retries
        upstream.speaksHTTP2 = sim_below(3) == 0
        upstream.maximumConnections = isClean ? 64 : 1 + Int(sim_below(4))
        upstream.maximumPending = isClean ? 64 : Int(sim_below(4))
        let areSeveral = sim_below(Self.shareOfSeveral) == 0
        let most = UInt32(Crew.most)
        workers = areSeveral ? 1 + Int(sim_below(most)) : 1
        sizes = areSeveral ? (0..<sim_below(3)).map { _ in 1 + Int(sim_below(most)) } : []
        if workers > 1, sim_below(2) == 0 {
            // They share connections. Nobody is to be sent away for having to wait.
            upstream.maximumConnections = 1 + Int(sim_below(UInt32(workers - 1)))
            if isClean { upstream.connectTimeoutMilliseconds = 1_000_000 }
        }
        upstream.responseTimeoutMilliseconds = isClean ? 60_000 : 1000 + Int64(sim_below(20_000))
        upstream.balance = [.leastRequests, .roundRobin, .randomTwo, .hashUser][Int(sim_below(4))]
        if movesServers {
            upstream.slowStartMilliseconds = Int64(sim_below(3)) * 100
            for index in upstream.servers.indices { upstream.servers[index].weight = 1 + Int(sim_below(3)) }
        }
        if !isClean, sim_below(3) == 0 { upstream.ejection = EjectionSettings() }
        let speaksTLS = sim_below(Self.shareOfTLS) == 0
        securedListeners = speaksTLS ? [[0], [0, 1], [1], [0]][Int(sim_below(4))] : []
        greetedListeners = sim_below(8) == 0 ? [[0], [0, 1], [1]][Int(sim_below(3))] : []
        if speaksTLS, sim_below(2) == 0 {
            upstream.security = fixed.upstreamSecurity
            upstream.security?.protocols = upstream.speaksHTTP2 ? [.h2] : [.http11]
        }
        self.upstream = upstream
        deadPorts = !isClean && sim_below(6) == 0 ? Set(ports.prefix(1 + Int(sim_below(2)))) : []
        course = sim_below(4) > 0 ? .plain : [.asking, .revoking, .sharing][Int(sim_below(3))]
        refusesWithoutStore = sim_below(4) > 0
        let isTight = !isClean && sim_below(4) == 0
        limits = isTight ? Self.tightLimits() : nil
        maximumBody = isTight && sim_below(2) == 0 ? Int(sim_below(20_000)) : nil
        let often: UInt32 = isClean || sim_below(3) > 0 ? 0 : 40
        faults = sim_faults(
            accept_exhausted: often, accept_aborted: often, socket_exhausted: often,
            connect_unreachable: often, watch_exhausted: often, interrupted: 20,
            stopped: isClean ? 0 : 2, clock_steps: course == .plain ? 2 : 0, wire: isClean ? 0 : 150)
        drainsEarly = !isClean && sim_below(8) == 0
        reconfigures = sim_below(8) == 0 || !sizes.isEmpty
        dropsListener = reconfigures && sim_below(2) == 0
    }

    /// How long the word of the issuer that is asked counts, and so an answer that it has permitted may take.
    var wordSeconds: Int64 { isClean ? 3600 : 1 }

    /// Several workers are in one run of so many.
    private static let shareOfSeveral: UInt32 = 6
    /// It is one worker, all the time.
    var isAlone: Bool { workers == 1 && sizes.isEmpty }

    /// TLS is in one run of so many: a handshake costs what a dozen requests do.
    private static let shareOfTLS: UInt32 = 8

    func settings(listenerCount: Int) -> ProxySettings {
        let listeners = World.addresses.prefix(listenerCount).enumerated().map { index, address in
            var listener = ListenerSettings(name: "l\(index)", address: address)
            listener.protocols = [.http1, .http2]
            // Questions are asked over HTTP/1.1 alone.
            if index == World.questionListener {
                (listener.mode, listener.protocols) = (.forwardAuth, .http1)
            }
            listener.expectsProxyHeader = greetedListeners.contains(index)
            if securedListeners.contains(index) { listener.security = fixed.listenerSecurity }
            return listener
        }
        var settings = ProxySettings(
            listeners: listeners, upstreams: [upstream],
            policy: (course == .plain ? fixed.policies : fixed.largePolicies)[listenerCount - 1])
        if course != .plain { settings.policy.remoteSources[0].cacheForSeconds = wordSeconds }
        if course == .sharing { share(&settings.policy) }
        for listener in greetedListeners.union([World.questionListener]) where listener < listenerCount {
            settings.policy.listeners[listener].trustedProxies = fixed.proxiesInFront
        }
        if let limits { settings.limits = limits }
        if let maximumBody {
            for index in settings.policy.routes.indices {
                settings.policy.routes[index].maxBodyBytes = Int64(maximumBody)
            }
        }
        return settings
    }

    /// A request a minute and so many at once, of each user.
    static let burst = 8

    private func share(_ policy: inout PolicySpec) {
        policy.rateLimits = [
            RateLimitSpec(
                name: "r", key: .user,
                rate: RateSpec(requests: 1, perSeconds: 60, burst: isClean ? 1000 : Self.burst))
        ]
        policy.routes[0].rateLimit = 0
        policy.sharedLimits = SharedLimitSpec(
            prefix: "s:", timeoutMilliseconds: 1000, refusesWithoutStore: refusesWithoutStore,
            checksRevocations: true)
    }

    private static func tightLimits() -> LimitSettings {
        var limits = LimitSettings()
        func some(_ range: ClosedRange<Int>) -> Int? {
            sim_below(3) == 0
                ? range.lowerBound + Int(sim_below(UInt32(range.count))) : nil
        }
        limits.connections = some(1...6)
        limits.connectionsPerAddress = some(1...6)
        limits.bufferBytes = some(1...400_000)
        limits.headBytes = some(150...1000) ?? limits.headBytes
        limits.fieldCount = some(2...8) ?? limits.fieldCount
        limits.targetBytes = some(8...24) ?? limits.targetBytes
        limits.handshakeTimeoutMilliseconds = Int64(some(1...3000) ?? 10_000)
        limits.headerTimeoutMilliseconds = Int64(some(1...3000) ?? 10_000)
        limits.idleTimeoutMilliseconds = Int64(some(1...3000) ?? 75_000)
        limits.bodyTimeoutMilliseconds = Int64(some(1...3000) ?? 30_000)
        limits.drainTimeoutMilliseconds = Int64(some(1...3000) ?? 30_000)
        return limits
    }

    /// A client's requests, by connection.
    func plans(client: Int) -> [[Plan]] {
        // What goes wrong with TLS goes wrong with what is more than a record.
        let often: UInt32 = securedListeners.isEmpty ? 16 : 6
        let user = ["alice", "bob", "carol"][Int(sim_below(3))]
        return (0...Int(sim_below(3))).map { connection in
            (0...Int(sim_below(4))).map { number in
                let method = ["GET", "GET", "POST", "PUT", "HEAD", "DELETE"][Int(sim_below(6))]
                let isTunnel = method == "GET" && sim_below(4) == 0
                let hasBody = method == "POST" || method == "PUT" || isTunnel
                let byteCount =
                    !hasBody ? 0 : sim_below(often) == 0 ? Int(sim_below(100_000)) : Int(sim_below(200))
                let id = "r\(client)-\(connection)-\(number)"
                let credential: Plan.Credential =
                    switch sim_below(10) {
                    case 0: .forged
                    case 1: .missing
                    case 2: .notNeeded
                    default: .good
                    }
                let places: [Plan.Place] =
                    credential == .notNeeded
                    ? [.open] : course == .plain ? [.api] : [.api, .keyed, .keyed, .asked]
                return Plan(
                    id: id, user: user, method: method, credential: credential,
                    place: places[Int(sim_below(UInt32(places.count)))], key: 1 + Int(sim_below(2)),
                    body: Ledger.content(of: id, byteCount: byteCount),
                    isChunked: hasBody && !isTunnel && sim_below(3) == 0,
                    expectsContinue: hasBody && !isTunnel && sim_below(6) == 0,
                    hasTrailers: hasBody && !isTunnel && sim_below(8) == 0, isTunnel: isTunnel)
            }
        }
    }

    /// What stands behind `Bearer`; nil: nothing does.
    private func token(of plan: Plan) -> String? {
        let good =
            switch plan.place {
            case .api, .open: fixed.tokens[plan.user] ?? ""
            case .keyed: fixed.keyedTokens[plan.key - 1][plan.user] ?? ""
            case .asked: FixedParts.opaque + plan.user
            }
        return switch plan.credential {
        case .good: good
        case .forged: good.dropLast(4) + "AAAA"
        case .missing, .notNeeded: nil
        }
    }

    private func target(of plan: Plan) -> String {
        plan.isQuestion ? "/ask" : "/\(plan.place.rawValue)/\(plan.id)"
    }

    /// What a proxy in front says of a request.
    private func question(of plan: Plan) -> [(String, String)] {
        [
            ("x-forwarded-method", plan.method), ("x-forwarded-host", "h"),
            ("x-forwarded-uri", "/\(plan.place.rawValue)/\(plan.id)"),
        ]
    }

    /// The same of HTTP/2.
    func fields(of plan: Plan) -> [(String, String)] {
        var fields = [
            (":method", plan.isTunnel ? "CONNECT" : plan.method), (":scheme", "http"), (":authority", "h"),
            (":path", target(of: plan)),
        ]
        if plan.isTunnel { fields += [(":protocol", "websocket"), ("sec-websocket-version", "13")] }
        fields.append(("x-user-id", "mallory"))
        if let token = token(of: plan) { fields.append(("authorization", "Bearer \(token)")) }
        if !plan.isChunked, !plan.isTunnel, !plan.body.isEmpty {
            fields.append(("content-length", String(plan.body.count)))
        }
        return fields
    }

    /// The head and the body.
    func bytes(of plan: Plan) -> ([UInt8], [UInt8]) {
        let method = plan.isQuestion ? "GET" : plan.method
        var head = "\(method) \(target(of: plan)) HTTP/1.1\r\nHost: h\r\nX-User-Id: mallory\r\n"
        for (name, value) in plan.isQuestion ? question(of: plan) : [] { head += "\(name): \(value)\r\n" }
        if let token = token(of: plan) { head += "Authorization: Bearer \(token)\r\n" }
        if plan.isTunnel {
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            return (Array((head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").utf8), [])
        }
        if plan.expectsContinue { head += "Expect: 100-continue\r\n" }
        if plan.isChunked {
            return (
                Array((head + "Transfer-Encoding: chunked\r\n\r\n").utf8),
                chunks(
                    plan.body, size: 1 + Int(sim_below(3000)),
                    trailers: plan.hasTrailers ? PlainBody.trailerLines : "")
            )
        }
        if !plan.body.isEmpty || method == "POST" {
            head += "Content-Length: \(plan.body.count)\r\n"
        }
        return (Array((head + "\r\n").utf8), plan.body)
    }
}
