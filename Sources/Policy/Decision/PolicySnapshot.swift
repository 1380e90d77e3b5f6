public import Bytes
internal import Crypto
public import JOSE

/// A policy as one worker uses it: compiled, with the verifier and the cache of verified tokens inside.
///
/// Each worker makes its own from the same `PolicySpec`; a reload makes a new one, and with it a new cache. Nothing
/// here does I/O, and with a cached token nothing here takes memory.
public struct PolicySnapshot: ~Copyable {
    let routes: RouteTable
    let identity: IdentityRules
    var authorizations: UpstreamAuthorizationTable
    let trust: TrustedProxyTable
    let rates: RateLimits
    /// Limits shared with other proxies.
    var shared: SharedLimits
    let crossOrigins: CrossOriginTable
    let signInPages: SignInPages
    let tokenBytes: Int
    let tokenPlaces: TokenPlaces
    let trustedOrigins: TrustedOrigins
    var verifier: TokenVerifier
    let proofs: ProofRules
    var proofVerifier = DPoPVerifier()
    /// The proof that the request at hand came with, until it counts.
    var unusedProof: UnusedProof?
    /// The `iss` of each issuer; nil where it is not checked.
    let issuerNames: [[UInt8]?]
    /// The tokens that are refused though everything about them holds.
    public private(set) var revocations: RevocationList
    var cache: VerifiedTokenCache
    /// Where an entry is put together before it is known to be good.
    var scratch = VerifiedTokenEntry()
    var tally = CacheTally()
    /// What servers said of credentials that were not accepted.
    var remotes: RemoteVerdicts
    var sessionPlaces: SessionPlaces
    let sessionVerifiers: [SessionVerifier]
    /// The server of each session, a place among those of `remotes`.
    let sessionSources: [Int?]
    /// The credential that is being looked at: all bytes that its verdict depends on.
    var credential = ByteArray()
    /// Whom a second credential of the same request names.
    var otherSubject = ByteArray()
    /// The issuer of the key that the last session's cache had and nobody knows.
    var wantedKeyIssuer: Int?
    /// The issuers that are asked about their tokens.
    let introspecting: IssuerSet
    private let inPlace = InPlace()

    /// Compiles a policy; `PolicyError` says what is wrong with it. `buckets` and `memory` are those that all workers
    /// share; without them the snapshot counts and remembers for itself. `standing` tells how the store of shared limits
    /// is.
    public init(
        _ spec: PolicySpec, sharing buckets: RateBuckets? = nil, _ memory: ProofMemory? = nil,
        standing: SharedStanding? = nil
    ) throws(PolicyError) {
        try spec.check()
        guard let first = Random.uint64(), let second = Random.uint64() else { throw .noRandomness }
        let verifier = try Self.verifier(spec)
        let sessionVerifiers = try Self.sessionVerifiers(spec)
        let routes = try RouteTable(spec)
        let identity = try IdentityRules(spec.identity)
        let authorizations = try UpstreamAuthorizationTable(spec.upstreams)
        let trust = try TrustedProxyTable(spec.listeners)
        let crossOrigins = try CrossOriginTable(spec.crossOrigins)
        let signInPages = try SignInPages(spec.routes)
        proofs = try ProofRules(spec, sharing: memory)
        self.verifier = verifier
        issuerNames =
            spec.issuers.map { $0.spec.issuer.map { Array($0.utf8) } } + spec.sessions.map { _ in nil }
        sessionPlaces = SessionPlaces(spec.sessions, behind: spec.issuers.count)
        self.sessionVerifiers = sessionVerifiers
        sessionSources = spec.sessions.map(\.remote)
        revocations = spec.revocations
        introspecting = spec.introspectingIssuers
        self.routes = routes
        self.identity = identity
        self.authorizations = authorizations
        self.trust = trust
        self.crossOrigins = crossOrigins
        self.signInPages = signInPages
        rates = RateLimits(spec, buckets, seed: (second, first))
        shared = SharedLimits(
            spec.sharedLimits, standing ?? SharedStanding(),
            authorities: spec.authorityNames)
        tokenBytes = spec.tokenBytes
        tokenPlaces = TokenPlaces(spec.issuers)
        trustedOrigins = TrustedOrigins(spec)
        remotes = RemoteVerdicts(spec.remoteSources)
        cache = VerifiedTokenCache(
            capacity: spec.tokensCached, tokenBytes: spec.tokenBytes, seed: (first, second))
    }

    private static func verifier(_ spec: PolicySpec) throws(PolicyError) -> TokenVerifier {
        do throws(IssuerFault) {
            return try TokenVerifier(issuers: spec.issuers.map(\.spec), tokenLimitBytes: spec.tokenBytes)
        } catch {
            throw .issuer(error)
        }
    }

    private static func sessionVerifiers(_ spec: PolicySpec) throws(PolicyError) -> [SessionVerifier] {
        var verifiers: [SessionVerifier] = []
        for (index, session) in spec.sessions.enumerated() {
            let place = spec.issuers.count + index
            do throws(IssuerError) {
                verifiers.append(try SessionVerifier(session.spec, place: place))
            } catch {
                throw .issuer(IssuerFault(index: place, error: error))
            }
        }
        return verifiers
    }

    // MARK: What is known of whoever has a permit

    /// The verified subject; empty for nobody. 1 to 256 visible ASCII characters.
    @_lifetime(borrow self)
    public func subject(of permit: borrowing Permit) -> Span<UInt8> {
        permit.isAnonymous ? Span() : cache.subject(permit.identity)
    }

    /// As above, of whoever was refused with a token that is good, but not for this request.
    @_lifetime(borrow self)
    public func subject(of rejection: Rejection) -> Span<UInt8> {
        cache.contains(rejection.identity) ? cache.subject(rejection.identity) : Span()
    }

    /// Who issued the token, a place in `PolicySpec.issuers`; nil for nobody.
    public func issuer(of permit: borrowing Permit) -> Int? {
        permit.isAnonymous ? nil : cache[permit.identity].issuer
    }

    /// As above, of whoever was refused with a token that is good, but not for this request.
    public func issuer(of rejection: Rejection) -> Int? {
        cache.contains(rejection.identity) ? cache[rejection.identity].issuer : nil
    }

    /// The identity headers that go upstream, as whole lines with CRLF; empty for nobody.
    @_lifetime(borrow self)
    public func identityLines(of permit: borrowing Permit) -> Span<UInt8> {
        permit.isAnonymous ? Span() : cache.lines(permit.identity)
    }

    /// True where no client may send a field of this name (H1, H2): for tests and `usher explain`.
    public func strips(_ name: Span<UInt8>) -> Bool { identity.strips(name) }

    // MARK: Keys and tokens that go

    /// What the cache did since this was asked last.
    public mutating func takeCacheTally() -> CacheTally {
        var taken = tally
        tally = CacheTally()
        (taken.verified, taken.evicted) = (cache.inserted, cache.evicted)
        (cache.inserted, cache.evicted) = (0, 0)
        return taken
    }

    /// How many verified tokens are remembered.
    public var cachedTokenCount: Int { cache.count }

    /// What the remembered tokens take, in bytes.
    public var cachedTokenBytes: Int { cache.byteCount }

    /// Exchanges the keys of an issuer, and forgets every token that a key verified which is no longer there
    /// (J7, J22). After an error the old keys stay.
    public mutating func replaceKeys(
        ofIssuer index: Int, with source: IssuerSpec.KeySource
    ) throws(IssuerError) {
        try verifier.replaceKeys(ofIssuer: index, with: source)
        cache.removeAll(ofIssuer: index, notIn: verifier)
    }

    /// Drops the keys of an issuer and the tokens that they verified; its tokens are answered 503 from now on.
    public mutating func removeKeys(ofIssuer index: Int) {
        verifier.removeKeys(ofIssuer: index)
        cache.removeAll(ofIssuer: index, notIn: verifier)
    }

    /// True while the token of an earlier permit of this snapshot is known to be good. False also where it made way for
    /// others: then nobody can tell.
    public func remembers(_ verdict: Handle) -> Bool { cache.contains(verdict) }

    /// What an earlier permit of this snapshot was given by; nil where its token made way for others.
    public func permittingKey(_ verdict: Handle) -> PermittingKey? {
        guard cache.contains(verdict) else { return nil }
        return cache[verdict].key.map {
            PermittingKey(issuer: cache[verdict].keyIssuer, key: $0, mark: cache[verdict].mark)
        }
    }

    /// True while the key is among those of its issuer.
    public func has(_ key: PermittingKey) -> Bool { verifier.contains(key.key, ofIssuer: key.issuer) }

    /// Exchanges the list of revoked tokens, and forgets those of them that were verified before.
    public mutating func replaceRevocations(_ list: RevocationList) {
        revocations = list
        cache.removeAll(revokedBy: list, issuerNames)
    }
}

/// The key that made the signature of a token that something is permitted by, or the word of a server.
public struct PermittingKey: Sendable, BitwiseCopyable {
    /// Whose it is: a place among the policy's issuers; -1 where no issuer's keys matter, or nobody can tell whose it is.
    public var issuer: Int
    let key: KeyIdentity
    /// What stands for the credential where a server may say no to it: `PolicySnapshot.note` gives the same; else 0.
    public let mark: UInt64
}

/// How often the verified-token cache had an answer, and how often a token had to be verified.
public struct CacheTally: Sendable, BitwiseCopyable, Equatable {
    /// Tokens whose verdict was remembered.
    public internal(set) var hits = 0
    /// Tokens that were verified anew.
    public internal(set) var misses = 0
    /// Tokens that were found good, and are remembered from now on.
    public internal(set) var verified = 0
    /// Tokens that made way for others.
    public internal(set) var evicted = 0
}
