import CSimulation
import JOSE
import Policy
import TLS

@testable import Proxy
@testable import Reactor
@testable import Telemetry

/// What all runs share.
struct FixedParts {
    let listenerSecurity: TLSServerSettings
    private(set) var upstreamSecurity: TLSClientSettings
    /// With one listener, with two, and so on.
    let policies: [PolicySpec]
    /// The same where more becomes of tokens.
    let largePolicies: [PolicySpec]
    let tokens: [String: String]
    /// By key.
    let keyedTokens: [[String: String]]
    let logWriter: LogWriter
    let keyRequests: Inbox<KeyRequest>
    let questions: Inbox<RemoteQuestion>
    let rateRequests: Inbox<RateRequest>
    let proofMemory: ProofMemory
    /// Workers only write to the counts, and a run in which a route has a rate limit has buckets of its own: so that others do
    /// not begin with megabytes.
    let counters = (0..<Crew.most).map { _ in WorkerCounters() }
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
        policies = World.ports.indices.map { $0 + 1 }.map { listenerCount in
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
        let further = [try route("/keyed/**", .required([1])), try route("/asked/**", .required([2]))]
        largePolicies = policies.map { Self.enlarged($0, further) }
        tokens = try Self.tokens(
            of: "i", CompactTokenSigner(algorithm: .hs256, key: .secret(Self.secret)))
        keyedTokens = try Self.keys.enumerated().map { index, key in
            let pem = "-----BEGIN PRIVATE KEY-----\n\(key.pem)\n-----END PRIVATE KEY-----\n"
            return try Self.tokens(
                of: "k",
                CompactTokenSigner(
                    algorithm: .edDSA, key: .privateKeyPEM(Array(pem.utf8)), keyID: String(index + 1)))
        }
        logWriter = try LogWriter(destination: .off)
        keyRequests = try Inbox()
        questions = try Inbox()
        rateRequests = try Inbox()
        guard let memory = ProofMemory() else { throw Violation(description: "no random numbers") }
        proofMemory = memory
    }

    /// Who is believed where somebody is.
    let proxiesInFront = [AddressBlock(Greeting.own)].compactMap { $0 }
    static let users = ["alice", "bob", "carol"]
    /// What the store calls their buckets: the beginning of SHA-256 of "user", the issuer and the name, with NUL between them.
    static let buckets = [
        "alice": "1046061d1ad4b0ee8e6ea88b4988fd52", "bob": "fd92c42e1e328d7625a662dcf15ef6e2",
        "carol": "1804a280246a756403f5575b31640cc2",
    ]
    /// What tokens begin with that only their issuer can read.
    static let opaque = "opaque-"
    /// The keys of RFC 8032 §7.1, tests 1 and 2.
    private static let keys = [
        (
            pem: "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        ),
        (
            pem: "MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7",
            x: "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"
        ),
    ]

    /// What the issuer publishes while it has those keys.
    static func keySource(_ numbers: Set<Int>) -> IssuerSpec.KeySource {
        let texts = numbers.sorted().map {
            #"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"\#($0)","x":"\#(keys[$0 - 1].x)"}"#
        }
        return .jwks(Array(#"{"keys":[\#(texts.joined(separator: ","))]}"#.utf8))
    }

    private static func tokens(of issuer: String, _ signer: CompactTokenSigner) throws -> [String: String] {
        var tokens: [String: String] = [:]
        for user in users {
            let payload = Array(#"{"iss":"\#(issuer)","aud":"a","sub":"\#(user)","exp":4000000000}"#.utf8)
            tokens[user] = String(decoding: try signer.sign(payload: payload.span), as: UTF8.self)
        }
        return tokens
    }

    private static func enlarged(_ policy: PolicySpec, _ routes: [RouteSpec]) -> PolicySpec {
        var policy = policy
        var keyed = IssuerSpec(issuer: "k", audiences: ["a"], keys: .pending)
        keyed.fetchesKeys = true
        policy.issuers += [
            IssuerEntry(name: "k", spec: keyed),
            IssuerEntry(name: "o", spec: IssuerSpec(issuer: nil, audiences: nil, keys: .pending)),
        ]
        policy.remoteSources = [RemoteSourceSpec(name: "o", owner: .issuer(2), cacheForSeconds: 1)]
        policy.routes += routes
        return policy
    }
}
