public import JOSE

/// Everything that Policy has to know, as plain values: what `Config` makes of the file, and what every worker
/// compiles into its own `PolicySnapshot`.
public struct PolicySpec: Sendable {
    /// Who signs bearer tokens; routes name them by their place here.
    public var issuers: [IssuerEntry]
    /// What is served; a request that no route matches is answered 404.
    public var routes: [RouteSpec]
    /// The headers that carry the proven identity, and the names that no client may send.
    public var identity: IdentitySpec
    /// What each upstream gets to see; routes name them by their place here.
    public var upstreams: [UpstreamPolicySpec]
    /// What each listener believes of its peers; `PeerFacts.listener` is a place in this list.
    public var listeners: [ListenerPolicySpec]
    /// Sessions; routes name them by their place here, counted on from the last issuer's. Together with the issuers at
    /// most 64.
    public var sessions: [SessionEntry] = []
    /// The servers that are asked about credentials.
    public var remoteSources: [RemoteSourceSpec] = []
    /// The tokens that are refused though everything about them holds.
    public var revocations = RevocationList()
    /// The rate limits; routes name them by their place here.
    public var rateLimits: [RateLimitSpec]
    /// How limits are shared with other proxies; nil where they are not.
    public var sharedLimits: SharedLimitSpec?
    /// What pages of other origins may do; routes name them by their place here.
    public var crossOrigins: [CrossOriginSpec] = []
    /// How many tokens of one address may fail to verify; nil is without bound.
    public var failedAuthentications: RateSpec?
    /// How many verified tokens a worker remembers; at least 1.
    public var tokensCached: Int
    /// The longest token that is looked at, in bytes; a longer one is refused unread.
    public var tokenBytes: Int

    /// The tables that vouch for users, in the order of their places: the names of issuers, then of sessions.
    var authorityNames: [String] { issuers.map(\.name) + sessions.map(\.name) }

    /// The issuers that are asked about their tokens.
    var introspectingIssuers: IssuerSet {
        remoteSources.reduce(into: []) { set, source in
            if case .issuer(let issuer) = source.owner { set.insert(IssuerSet(index: issuer)) }
        }
    }

    /// A policy; the defaults are those of the configuration file.
    public init(
        issuers: [IssuerEntry] = [], routes: [RouteSpec] = [], identity: IdentitySpec = IdentitySpec(),
        upstreams: [UpstreamPolicySpec] = [], listeners: [ListenerPolicySpec] = [],
        rateLimits: [RateLimitSpec] = [], failedAuthentications: RateSpec? = nil,
        tokensCached: Int = 10_000, tokenBytes: Int = 8192
    ) {
        self.issuers = issuers
        self.routes = routes
        self.identity = identity
        self.upstreams = upstreams
        self.listeners = listeners
        self.rateLimits = rateLimits
        self.failedAuthentications = failedAuthentications
        self.tokensCached = tokensCached
        self.tokenBytes = tokenBytes
    }
}

/// One `[issuer.NAME]`.
public struct IssuerEntry: Sendable {
    /// The name that routes use.
    public var name: String
    /// What the verifier is built from.
    public var spec: IssuerSpec
    /// Where its tokens are looked for; at least one place.
    public var tokenFrom: [TokenPlace]
    /// Origins besides the request's own whose pages may use a token in a cookie for more than reading.
    public var trustedOrigins: [String]
    /// What is demanded of DPoP proofs; nil: its tokens never come with one.
    public var dpop: DPoPSpec?

    /// The issuer of that name.
    public init(
        name: String, spec: IssuerSpec, tokenFrom: [TokenPlace] = [.header], trustedOrigins: [String] = [],
        dpop: DPoPSpec? = nil
    ) {
        self.dpop = dpop
        self.name = name
        self.spec = spec
        self.tokenFrom = tokenFrom
        self.trustedOrigins = trustedOrigins
    }
}

/// One `[[route]]`.
public struct RouteSpec: Sendable {
    /// The name for logs and `usher routes`; the text of the path where the file gives no other.
    public var name: String
    /// The hosts it is bound to, lower case, without port and trailing dot; empty means any.
    public var hosts: [String]
    /// The methods it serves, as they are written on the wire; empty means any.
    public var methods: [String]
    /// The path it matches.
    public var path: PathTemplate
    /// Who must prove to be whom.
    public var authentication: Authentication
    /// The `require` tables: every entry of one of them must hold; empty means no requirement.
    public var require: [[Requirement]]
    /// The scopes that a token must have, all of them.
    public var scopes: [String]
    /// How a requirement that does not hold is answered.
    public var denied: Denied
    /// The upstream, a place in `PolicySpec.upstreams`; any number where requests are redirected.
    public var upstream: Int
    /// Not nil: requests are sent to the same place over TLS, at this port. Nothing goes upstream.
    public var redirectPort: UInt16?
    /// The longest the whole exchange may take, in milliseconds; nil is without end.
    public var timeoutMilliseconds: Int64?
    /// The largest request body, in bytes.
    public var maxBodyBytes: Int64
    /// The prefix that is taken off the path before it goes upstream, e.g. `/v1`; whole segments.
    public var stripPrefix: String?
    /// True: a tunnel or a long answer ends when the token expires (`stream_lifetime = "token"`).
    public var endsWithToken: Bool
    /// The rate limit, a place in `PolicySpec.rateLimits`; nil is none.
    public var rateLimit: Int?
    /// What pages of other origins may do, a place in `PolicySpec.crossOrigins`; nil leaves it to the backend.
    public var crossOrigin: Int?
    /// Where browsers go that ask for a page without valid credentials: an absolute URL or a path, without fragment.
    public var signIn: String?

    /// A route; what is left out is as if the file did not mention it.
    public init(
        name: String? = nil, hosts: [String] = [], methods: [String] = [], path: PathTemplate,
        authentication: Authentication, require: [[Requirement]] = [], scopes: [String] = [],
        denied: Denied = .forbidden, upstream: Int, timeoutMilliseconds: Int64? = 60_000,
        maxBodyBytes: Int64 = 10 << 20, stripPrefix: String? = nil, endsWithToken: Bool = true,
        rateLimit: Int? = nil
    ) {
        self.name = name ?? path.text
        self.hosts = hosts
        self.methods = methods
        self.path = path
        self.authentication = authentication
        self.require = require
        self.scopes = scopes
        self.denied = denied
        self.upstream = upstream
        self.timeoutMilliseconds = timeoutMilliseconds
        self.maxBodyBytes = maxBodyBytes
        self.stripPrefix = stripPrefix
        self.endsWithToken = endsWithToken
        self.rateLimit = rateLimit
    }

    /// The `auth` of a route: places in `PolicySpec.issuers`.
    public enum Authentication: Sendable, Equatable {
        /// `"none"`: nobody is asked, and nobody is known.
        case none
        /// A token of one of these issuers, or 401.
        case required([Int])
        /// No token at all is allowed and means nobody; a token that is there must be good.
        case optional([Int])
    }

    /// The `denied` of a route.
    public enum Denied: Sendable, Equatable {
        /// 403, code `not_yours`.
        case forbidden
        /// 404, which does not tell that there is something.
        case notFound
    }
}

/// One entry of a `require` table: a claim, and the values of which it must have one.
public struct Requirement: Sendable, Equatable {
    /// The claim, as written: dots go into nested objects.
    public var claim: String
    /// Any of these.
    public var anyOf: [RequiredValue]

    /// The claim must have one of the values.
    public init(claim: String, anyOf: [RequiredValue]) {
        self.claim = claim
        self.anyOf = anyOf
    }
}

/// The headers that carry the identity.
public struct IdentitySpec: Sendable {
    /// Header name and the claim whose value it carries, in the order in which they are sent.
    public var headers: [Header]
    /// Names that no client may send; a trailing `*` stands for anything. Compared as H1 and H2 say: case and
    /// separators do not matter.
    public var strip: [String]

    /// An identity header.
    public struct Header: Sendable, Equatable {
        /// The field name, a token (RFC 9110 §5.1).
        public var name: String
        /// The claim, as written; `sub` is the verified subject, whichever claim the issuer takes it from.
        public var claim: String

        /// The header that carries that claim.
        public init(name: String, claim: String) {
            self.name = name
            self.claim = claim
        }
    }

    /// The defaults of the configuration file.
    public init(
        headers: [Header] = [Header(name: "X-User-Id", claim: "sub")],
        strip: [String] = IdentitySpec.defaultStrip
    ) {
        self.headers = headers
        self.strip = strip
    }

    /// What is stripped where the file does not say.
    public static let defaultStrip = [
        "X-User-*", "X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Auth-Request-*",
    ]
}

/// What an upstream gets to see of the client's request.
public struct UpstreamPolicySpec: Sendable {
    /// The name that routes use.
    public var name: String
    /// What it gets as `Authorization`.
    public var authorization: UpstreamAuthorization
    /// True: it gets the client's `Host`.
    public var preserveHost: Bool

    /// An upstream; the defaults are those of the configuration file.
    public init(
        name: String, authorization: UpstreamAuthorization = .remove, preserveHost: Bool = true
    ) {
        self.name = name
        self.authorization = authorization
        self.preserveHost = preserveHost
    }
}

/// The `authorization` of an upstream.
public enum UpstreamAuthorization: Sendable {
    /// None.
    case remove
    /// The client's, byte for byte.
    case forward
    /// `Bearer` and these bytes, whoever the client is.
    case bearer([UInt8])
    /// A fresh HMAC token that names the verified user; none for nobody.
    case mint(MintSpec)
}

/// One `[rate_limit.NAME]`.
public struct RateLimitSpec: Sendable, Equatable {
    /// The name, which the client is told: 1 to 64 letters, digits, `-` and `_`.
    public var name: String
    /// Whose requests are counted together.
    public var key: Key
    /// How many there may be.
    public var rate: RateSpec
    /// The budget is that of all proxies together, where `PolicySpec.sharedLimits` says how.
    public var isShared = true

    /// The limit of that name.
    public init(name: String, key: Key, rate: RateSpec) {
        self.name = name
        self.key = key
        self.rate = rate
    }

    /// Whose requests are counted together.
    public enum Key: Sendable, Equatable {
        /// The verified user's; of nobody, those of the address.
        case user
        /// Those of the client's IPv4 address or IPv6 network of 64 bits.
        case address
    }
}

/// A token bucket.
public struct RateSpec: Sendable, Equatable {
    /// How many in the long run, at least 1 and at most one a microsecond …
    public var requests: Int
    /// … in so many seconds, at least 1.
    public var perSeconds: Int64
    /// How many at once, at least 1.
    public var burst: Int

    /// So many requests in that time, and `burst` of them at once.
    public init(requests: Int, perSeconds: Int64, burst: Int) {
        self.requests = requests
        self.perSeconds = perSeconds
        self.burst = burst
    }
}

/// What a listener believes of its peers.
public struct ListenerPolicySpec: Sendable {
    /// The networks whose forwarding headers are believed.
    public var trustedProxies: [AddressBlock]

    /// A listener that believes those; by default nobody.
    public init(trustedProxies: [AddressBlock] = []) {
        self.trustedProxies = trustedProxies
    }

    /// True where everybody whom the other listener believes is believed here.
    public func believes(all other: ListenerPolicySpec) -> Bool {
        other.trustedProxies.allSatisfy { block in trustedProxies.contains { $0.contains(block) } }
    }
}
