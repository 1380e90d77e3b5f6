internal import Crypto
public import JOSE
public import Policy

extension Configuration {
    /// The policy that this configuration describes, routes, issuers, upstreams and listeners in the same order.
    /// Loading found every name, path and claim to be valid, so that nothing can fail here.
    public var policy: PolicySpec {
        var spec = PolicySpec(
            issuers: keyIssuers.map {
                IssuerEntry(
                    name: $0.name, spec: $0.spec, tokenFrom: $0.tokenFrom, trustedOrigins: $0.trustedOrigins,
                    dpop: $0.dpop)
            },
            routes: routes.map { RouteSpec($0, self) }, identity: IdentitySpec(identity),
            upstreams: upstreams.map { UpstreamPolicySpec($0) },
            listeners: listeners.map {
                ListenerPolicySpec(trustedProxies: $0.trustedProxies.map { AddressBlock($0) })
            },
            rateLimits: rateLimits.map { RateLimitSpec($0) },
            failedAuthentications: limits.failedAuthentications.map { RateSpec($0) },
            tokensCached: limits.tokensCached, tokenBytes: limits.tokenBytes)
        spec.crossOrigins = crossOrigins.map { CrossOriginSpec($0) }
        spec.sharedLimits = shared.map { shared in
            SharedLimitSpec(
                prefix: shared.prefix, timeoutMilliseconds: shared.timeout.wholeMilliseconds,
                refusesWithoutStore: shared.whenUnavailable == .refuse,
                checksRevocations: revocation != nil)
        }
        let places = sessions.enumerated().filter { $0.element.url != nil }
        spec.remoteSources = places.map { index, session in
            RemoteSourceSpec(
                name: session.remoteName, owner: .session(index),
                cacheForSeconds: session.cacheFor.components.seconds)
        }
        spec.remoteSources += issuers.enumerated().compactMap { index, issuer in
            guard case .introspection(let introspection) = issuer.keySource else { return nil }
            return RemoteSourceSpec(
                name: issuer.introspectionName, owner: .issuer(index),
                cacheForSeconds: introspection.cacheFor.components.seconds)
        }
        spec.sessions = sessions.enumerated().map { index, session in
            SessionEntry(session, remote: places.firstIndex { $0.offset == index }, self)
        }
        return spec
    }
}

extension SessionEntry {
    fileprivate init(_ session: SessionConfiguration, remote: Int?, _ configuration: Configuration) {
        var spec = SessionSpec(secrets: session.secrets.map(\.bytes))
        spec.version = session.cacheVersion
        spec.cache =
            switch session.cache {
            case .any: .any
            case .compact: .compact
            case .jwt: .jwt
            case .jwe: .jwe
            case .off: .off
            case .jwks: .jwks
            }
        spec.keyIssuer = configuration.keyIssuers.firstIndex { $0.name == session.remoteName }
        spec.keyIssuerNames = session.keyIssuerNames
        self.init(
            name: session.name, spec: spec, cookiePrefix: session.cookiePrefix,
            hasSecureCookies: session.secureCookies, trustedOrigins: session.trustedOrigins, remote: remote)
    }
}

extension IssuerConfiguration {
    /// What a verifier is built from.
    public var spec: IssuerSpec {
        let keys: IssuerSpec.KeySource =
            switch keySource {
            case .secret(let secret): .secret(secret.bytes)
            case .publicKey(let pem, _): .publicKeyPEM(pem)
            case .keySet(let json, _): .jwks(json)
            case .remote, .introspection: .pending
            }
        var spec = IssuerSpec(
            issuer: issuer, audiences: audience, keys: keys,
            algorithms: AlgorithmSet(algorithms.map { SignatureAlgorithm($0) }))
        if case .remote = keySource { spec.fetchesKeys = true }
        spec.subject = subject.map { checked(ClaimPath($0), $0) }
        spec.types = types
        spec.requiresType = requiredType
        spec.requiresNamedKeys = requiresNamedKeys
        spec.leewaySeconds = leeway.components.seconds
        spec.maximumLifetimeSeconds = maximumLifetime?.components.seconds
        spec.refusedClaims = refuseClaims
        return spec
    }
}

extension SignatureAlgorithm {
    fileprivate init(_ algorithm: TokenAlgorithm) {
        self = checked(SignatureAlgorithm(algorithm.rawValue), algorithm.rawValue)
    }
}

extension RouteSpec {
    fileprivate init(_ route: RouteConfiguration, _ configuration: Configuration) {
        self.init(
            hosts: route.hosts, methods: route.methods,
            path: checked(try? PathTemplate(route.path.text), route.path.text),
            authentication: Authentication(route.authentication, configuration),
            require: route.require.map { $0.entries.map { Requirement($0) } }, scopes: route.scopes,
            denied: route.denied == 404 ? .notFound : .forbidden,
            upstream: route.redirectPort != nil
                ? -1 : checked(configuration.upstreamIndex(named: route.upstream), route.upstream),
            timeoutMilliseconds: route.timeout?.wholeMilliseconds,
            maxBodyBytes: route.maxBodyBytes.map { Int64($0) } ?? .max, stripPrefix: route.stripPrefix,
            endsWithToken: route.streamLifetime == .token,
            rateLimit: route.rateLimit.map { checked(configuration.rateLimitIndex(named: $0), $0) })
        crossOrigin = route.crossOrigin.map { checked(configuration.crossOriginIndex(named: $0), $0) }
        signIn = route.signIn
        redirectPort = route.redirectPort
    }
}

extension RouteSpec.Authentication {
    fileprivate init(_ authentication: RouteAuthentication, _ configuration: Configuration) {
        func places(_ names: [String]) -> [Int] {
            names.map { checked(configuration.authenticatorIndex(named: $0), $0) }
        }
        switch authentication {
        case .open: self = .none
        case .required(let issuers): self = .required(places(issuers))
        case .optional(let issuers): self = .optional(places(issuers))
        }
    }
}

extension RateLimitSpec {
    fileprivate init(_ limit: RateLimitConfiguration) {
        self.init(name: limit.name, key: limit.key == .user ? .user : .address, rate: RateSpec(limit.rate))
        isShared = limit.isShared
    }
}

extension RateSpec {
    fileprivate init(_ rate: RateConfiguration) {
        self.init(requests: rate.requests, perSeconds: rate.per.components.seconds, burst: rate.burst)
    }
}

extension Requirement {
    fileprivate init(_ required: RequiredClaim) {
        self.init(
            claim: required.claim,
            anyOf: required.anyOf.map { checked(try? RequiredValue(template: $0.text), $0.text) })
    }
}

extension IdentitySpec {
    fileprivate init(_ identity: IdentityConfiguration) {
        self.init(
            headers: identity.headers.map { Header(name: $0.name, claim: $0.claim) },
            strip: identity.strip.map { $0.name + ($0.isPrefix ? "*" : "") })
    }
}

extension UpstreamPolicySpec {
    fileprivate init(_ upstream: UpstreamConfiguration) {
        let authorization: UpstreamAuthorization =
            switch upstream.authorization {
            case .remove: .remove
            case .forward: .forward
            case .bearer(let secret): .bearer(secret.bytes)
            case .mint(let mint): .mint(MintSpec(mint))
            }
        self.init(name: upstream.name, authorization: authorization, preserveHost: upstream.preserveHost)
    }
}

extension MintSpec {
    fileprivate init(_ mint: MintConfiguration) {
        self.init(
            secret: mint.secret.bytes, lifetimeSeconds: mint.lifetime.components.seconds,
            claims: mint.claims.map { Claim(name: $0.name, value: .string($0.value)) })
    }
}

extension AddressBlock {
    fileprivate init(_ range: AddressRange) {
        self = checked(AddressBlock(range.description), range.description)
    }
}

extension Duration {
    /// Rounded up, so that a time that was written never becomes 0.
    public var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}

/// What loading has checked cannot be wrong here, unless loading is.
private func checked<Value>(_ value: Value?, _ text: String) -> Value {
    guard let value else { preconditionFailure("\"\(text)\" was accepted when it was loaded") }
    return value
}
