/// One `[session.NAME]` table: the sessions of a Better Auth.
public struct SessionConfiguration: Sendable, Equatable {
    /// The form of the cookie that caches a session (`cookie_cache`).
    public enum Cache: String, Sendable, Equatable, CaseIterable {
        /// Whichever of the next four it has the form of, the last of them where there is a `url`.
        case any = "auto"
        /// JSON with an HMAC: Better Auth's default.
        case compact
        /// A JWT with HS256.
        case jwt
        /// A JWE.
        case jwe
        /// A JWT with a published key, as the `jwt` plugin signs it.
        case jwks
        /// Not looked at.
        case off
    }

    /// The table's name.
    public var name: String
    /// The current secret, and those before it.
    public var secrets: [Secret]
    /// What cookie names begin with.
    public var cookiePrefix: String
    /// Whether they have `__Secure-` in front.
    public var secureCookies: Bool
    /// The form of the cookie that caches a session.
    public var cache: Cache
    /// The version that the cache must have.
    public var cacheVersion: String
    /// The base URL of Better Auth's API; nil where the cookies alone decide.
    public var url: RemoteURL?
    /// `iss` of a cache with a published key, as it is written; nil: one of the origins that are known to be its own.
    public var issuer: String?
    /// The certificates that are trusted instead of the system's, as PEM text.
    public var authorities: [UInt8]?
    /// How long an answer of Better Auth is believed.
    public var cacheFor: Duration
    /// Origins whose pages may use the cookies for more than reading.
    public var trustedOrigins: [String]
    /// Where the file begins the table.
    public var position: SourcePosition

    /// The name of its issuer of published keys, and of its server: no table's name has a dot.
    var remoteName: String { "session.\(name)" }

    /// The server that is asked.
    var remoteSource: RemoteSource? {
        url.map {
            RemoteSource(
                name: remoteName, kind: .betterAuthSession, url: $0.below("/get-session"),
                authorities: authorities)
        }
    }

    /// The `iss` that a cache with a published key may have. Better Auth writes the origin that users see, which need not be
    /// the one of the URL that the proxy reaches it by: it is one of those whose pages are trusted then.
    var keyIssuerNames: [String] {
        if let issuer { return [issuer] }
        return (url.map { [$0.origin] } ?? []) + trustedOrigins
    }

    /// The issuer of a cache with a published key: of no other token. Its `iss` is looked at with what else of the session
    /// has to fit.
    var keyIssuer: IssuerConfiguration? {
        guard cache == .jwks || cache == .any, let url else { return nil }
        var keys = RemoteKeys(.url(url.below("/jwks")))
        keys.authorities = authorities
        // Without the jwt plugin there are none, and none are needed.
        keys.areOptional = cache == .any
        var issuer = IssuerConfiguration(
            name: remoteName, issuer: nil, audience: ["better-auth:session-cache"],
            keySource: .remote(keys), keyPosition: position,
            algorithms: TokenAlgorithm.ofBetterAuth, subject: ["sub"],
            types: ["better-auth.session-cache+jwt"], requiredType: true, leeway: .zero, maximumLifetime: nil,
            refuseClaims: [], position: position)
        issuer.requiresNamedKeys = true
        return issuer
    }
}

extension Configuration {
    /// The issuers whose keys are needed: those of the file, and those of sessions behind them.
    public var keyIssuers: [IssuerConfiguration] { issuers + sessions.compactMap(\.keyIssuer) }

    /// The names of the issuers and sessions that some route accepts.
    var authenticatorsInUse: Set<String> {
        Set(
            routes.flatMap { route in
                switch route.authentication {
                case .open: [String]()
                case .required(let names), .optional(let names): names
                }
            })
    }

    /// The names of those of `keyIssuers` whose tokens some route accepts: nobody waits for the keys of the others.
    public var keyIssuersInUse: Set<String> {
        let used = authenticatorsInUse
        return used.union(sessions.filter { used.contains($0.name) }.map(\.remoteName))
    }

    /// The servers that are asked about credentials.
    public var remoteSources: [RemoteSource] {
        sessions.compactMap(\.remoteSource) + issuers.compactMap(\.remoteSource)
    }

    /// The place of an issuer or a session among those that routes accept: issuers first, then sessions.
    func authenticatorIndex(named name: String) -> Int? {
        if let issuer = issuerIndex(named: name) { return issuer }
        return sessions.firstIndex { $0.name == name }.map { keyIssuers.count + $0 }
    }
}
