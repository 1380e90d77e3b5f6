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
    /// The second listener goes when the worker is reconfigured.
    let dropsListener: Bool
    /// Listeners, by number, at which TLS is spoken.
    let securedListeners: Set<Int>
    let fixed: FixedParts

    init(_ fixed: FixedParts) {
        self.fixed = fixed
        isClean = sim_below(3) == 0
        retries = Int(sim_below(3))
        let ports = (0...sim_below(2)).map { UInt16(9001 + $0) }
        var upstream = UpstreamSettings(
            name: "u", servers: ports.map { ServerSettings(address: .ipv4(0x7f00_0001, port: $0)) })
        upstream.retries = retries
        upstream.speaksHTTP2 = sim_below(3) == 0
        upstream.maximumConnections = isClean ? 64 : 1 + Int(sim_below(4))
        upstream.maximumPending = isClean ? 64 : Int(sim_below(4))
        upstream.responseTimeoutMilliseconds = isClean ? 60_000 : 1000 + Int64(sim_below(20_000))
        if !isClean, sim_below(3) == 0 { upstream.ejection = EjectionSettings() }
        let speaksTLS = sim_below(Self.shareOfTLS) == 0
        securedListeners = speaksTLS ? [[0], [0, 1], [1], [0]][Int(sim_below(4))] : []
        if speaksTLS, sim_below(2) == 0 {
            upstream.security = fixed.upstreamSecurity
            upstream.security?.protocols = upstream.speaksHTTP2 ? [.h2] : [.http11]
        }
        self.upstream = upstream
        deadPorts = !isClean && sim_below(6) == 0 ? Set(ports.prefix(1 + Int(sim_below(2)))) : []
        let often: UInt32 = isClean || sim_below(3) > 0 ? 0 : 40
        faults = sim_faults(
            accept_exhausted: often, accept_aborted: often, socket_exhausted: often,
            connect_unreachable: often, watch_exhausted: often, interrupted: 20,
            stopped: isClean ? 0 : 2, clock_steps: 2, wire: isClean ? 0 : 150)
        drainsEarly = !isClean && sim_below(8) == 0
        reconfigures = sim_below(8) == 0
        dropsListener = reconfigures && sim_below(2) == 0
    }

    /// TLS is in one run of so many: a handshake costs what a dozen requests do.
    private static let shareOfTLS: UInt32 = 8

    func settings(listenerCount: Int) -> ProxySettings {
        let listeners = World.addresses.prefix(listenerCount).enumerated().map { index, address in
            var listener = ListenerSettings(name: "l\(index)", address: address)
            listener.protocols = [.http1, .http2]
            if securedListeners.contains(index) { listener.security = fixed.listenerSecurity }
            return listener
        }
        return ProxySettings(
            listeners: listeners, upstreams: [upstream], policy: fixed.policies[listenerCount - 1])
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
                return Plan(
                    id: id, user: user, method: method, credential: credential,
                    body: Ledger.content(of: id, byteCount: byteCount),
                    isChunked: hasBody && !isTunnel && sim_below(3) == 0,
                    expectsContinue: hasBody && !isTunnel && sim_below(6) == 0, isTunnel: isTunnel)
            }
        }
    }

    /// The same of HTTP/2.
    func fields(of plan: Plan) -> [(String, String)] {
        let route = plan.credential == .notNeeded ? "public" : "api"
        var fields = [
            (":method", plan.isTunnel ? "CONNECT" : plan.method), (":scheme", "http"), (":authority", "h"),
            (":path", "/\(route)/\(plan.id)"),
        ]
        if plan.isTunnel { fields += [(":protocol", "websocket"), ("sec-websocket-version", "13")] }
        fields.append(("x-user-id", "mallory"))
        switch plan.credential {
        case .good: fields.append(("authorization", "Bearer \(fixed.tokens[plan.user] ?? "")"))
        case .forged:
            fields.append(("authorization", "Bearer \(fixed.tokens[plan.user]?.dropLast(4) ?? "")AAAA"))
        case .missing, .notNeeded: break
        }
        if !plan.isChunked, !plan.isTunnel, !plan.body.isEmpty {
            fields.append(("content-length", String(plan.body.count)))
        }
        return fields
    }

    func bytes(of plan: Plan) -> [UInt8] {
        let route = plan.credential == .notNeeded ? "public" : "api"
        var head = "\(plan.method) /\(route)/\(plan.id) HTTP/1.1\r\nHost: h\r\nX-User-Id: mallory\r\n"
        switch plan.credential {
        case .good: head += "Authorization: Bearer \(fixed.tokens[plan.user] ?? "")\r\n"
        case .forged: head += "Authorization: Bearer \(fixed.tokens[plan.user]?.dropLast(4) ?? "")AAAA\r\n"
        case .missing, .notNeeded: break
        }
        if plan.isTunnel {
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            return Array((head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").utf8)
        }
        if plan.expectsContinue { head += "Expect: 100-continue\r\n" }
        if plan.isChunked {
            return Array((head + "Transfer-Encoding: chunked\r\n\r\n").utf8)
                + chunks(plan.body, size: 1 + Int(sim_below(3000)))
        }
        if !plan.body.isEmpty || plan.method == "POST" { head += "Content-Length: \(plan.body.count)\r\n" }
        return Array((head + "\r\n").utf8) + plan.body
    }
}

/// What all runs share.
struct FixedParts {
    let listenerSecurity: TLSServerSettings
    private(set) var upstreamSecurity: TLSClientSettings
    /// With one listener, and with two.
    let policies: [PolicySpec]
    let tokens: [String: String]
    let logWriter: LogWriter
    let keyRequests: Inbox<KeyRequest>
    let questions: Inbox<RemoteQuestion>
    let rateRequests: Inbox<RateRequest>
    let proofMemory: ProofMemory
    /// The worker only writes to the counts, and no route has a rate limit: so that a run does not begin with megabytes.
    let counters = WorkerCounters()
    let buckets = RateBuckets(seed: (1, 2))
    private static let secret = Array("a-simulated-secret-of-32-bytes-or-more".utf8)

    init() throws {
        sim_tls_prepare()
        let certificate = Array(String(cString: sim_tls_certificate()).utf8)
        let key = Array(String(cString: sim_tls_key()).utf8)
        var security = TLSServerSettings(
            name: "l", certificates: [CertifiedKeyText(certificate: certificate, key: key)])
        security.protocols = [.h2, .http11]
        listenerSecurity = security
        upstreamSecurity = TLSClientSettings(trusting: certificate)
        upstreamSecurity.serverName = "simulated.test"
        func route(_ path: String, _ auth: RouteSpec.Authentication) throws -> RouteSpec {
            RouteSpec(
                hosts: [], methods: [], path: try PathTemplate(path), authentication: auth, require: [],
                scopes: [], denied: .forbidden, upstream: 0, stripPrefix: nil)
        }
        let routes = [try route("/api/**", .required([0])), try route("/public/**", .none)]
        policies = [1, 2].map { listenerCount in
            PolicySpec(
                issuers: [
                    IssuerEntry(
                        name: "i", spec: IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(Self.secret))
                    )
                ],
                routes: routes,
                identity: IdentitySpec(headers: [.init(name: "X-User-Id", claim: "sub")]),
                upstreams: [UpstreamPolicySpec(name: "u", authorization: .remove, preserveHost: true)],
                listeners: Array(repeating: ListenerPolicySpec(trustedProxies: []), count: listenerCount),
                tokensCached: 2)
        }
        var tokens: [String: String] = [:]
        for user in ["alice", "bob", "carol"] {
            let signer = try CompactTokenSigner(algorithm: .hs256, key: .secret(Self.secret))
            let payload = Array(#"{"iss":"i","aud":"a","sub":"\#(user)","exp":4000000000}"#.utf8)
            tokens[user] = String(decoding: try signer.sign(payload: payload.span), as: UTF8.self)
        }
        self.tokens = tokens
        logWriter = try LogWriter(destination: .off)
        keyRequests = try Inbox()
        questions = try Inbox()
        rateRequests = try Inbox()
        guard let memory = ProofMemory() else { throw Violation(description: "no random numbers") }
        proofMemory = memory
    }
}
