import Config
import Crypto
import JOSE
import Policy

extension PolicySpec {
    /// The policy that a configuration describes, routes in the same order.
    init(_ configuration: Configuration) throws(StartFailure) {
        var routes: [RouteSpec] = []
        for route in configuration.routes { routes.append(try RouteSpec(route, configuration)) }
        var issuers: [IssuerEntry] = []
        for issuer in configuration.issuers {
            issuers.append(IssuerEntry(name: issuer.name, spec: try IssuerSpec(issuer)))
        }
        self.init(
            issuers: issuers, routes: routes, identity: IdentitySpec(configuration.identity),
            upstreams: configuration.upstreams.map { UpstreamPolicySpec($0) },
            listeners: configuration.listeners.map { listener in
                // The text of a range that was parsed is a range.
                ListenerPolicySpec(trustedProxies: listener.trustedProxies.compactMap { AddressBlock("\($0)") })
            },
            tokensCached: configuration.limits.tokensCached, tokenBytes: configuration.limits.tokenBytes)
    }
}

extension IssuerSpec {
    fileprivate init(_ issuer: IssuerConfiguration) throws(StartFailure) {
        let keys: IssuerSpec.KeySource =
            switch issuer.keySource {
            case .secret(let secret): .secret(secret.bytes)
            case .publicKey(let pem, _): .publicKeyPEM(pem)
            case .keySet(let json, _): .jwks(json)
            }
        self.init(
            issuer: issuer.issuer, audiences: issuer.audience, keys: keys,
            algorithms: AlgorithmSet(issuer.algorithms.compactMap { SignatureAlgorithm($0.rawValue) }))
        var paths: [ClaimPath] = []
        for claim in issuer.subject {
            guard let path = ClaimPath(claim) else {
                throw StartFailure("issuer \(issuer.name): \"\(claim)\" is no claim")
            }
            paths.append(path)
        }
        subject = paths
        types = issuer.types
        requiresType = issuer.requiredType
        leewaySeconds = issuer.leeway.components.seconds
        maximumLifetimeSeconds = issuer.maximumLifetime?.components.seconds
        refusedClaims = issuer.refuseClaims
    }
}

extension RouteSpec {
    fileprivate init(_ route: RouteConfiguration, _ configuration: Configuration) throws(StartFailure) {
        let path: PathTemplate
        do throws(PathTemplateError) {
            path = try PathTemplate(route.path.text)
        } catch {
            throw StartFailure("route \(route.path.text): \(error)")
        }
        guard let upstream = configuration.upstreamIndex(named: route.upstream) else {
            throw StartFailure("route \(route.path.text): there is no upstream \"\(route.upstream)\"")
        }
        var require: [[Requirement]] = []
        for table in route.require {
            var entries: [Requirement] = []
            for entry in table.entries { entries.append(try Requirement(entry)) }
            require.append(entries)
        }
        self.init(
            hosts: route.hosts, methods: route.methods, path: path,
            authentication: Authentication(route.authentication, configuration), require: require,
            scopes: route.scopes, denied: route.denied == 404 ? .notFound : .forbidden, upstream: upstream,
            timeoutMilliseconds: route.timeout?.milliseconds,
            maxBodyBytes: route.maxBodyBytes.map { Int64($0) } ?? .max, stripPrefix: route.stripPrefix)
    }
}

extension RouteSpec.Authentication {
    fileprivate init(_ authentication: RouteAuthentication, _ configuration: Configuration) {
        func places(_ names: [String]) -> [Int] { names.compactMap { configuration.issuerIndex(named: $0) } }
        switch authentication {
        case .open: self = .none
        case .required(let issuers): self = .required(places(issuers))
        case .optional(let issuers): self = .optional(places(issuers))
        }
    }
}

extension Requirement {
    fileprivate init(_ entry: RequiredClaim) throws(StartFailure) {
        var values: [RequiredValue] = []
        for expectation in entry.anyOf {
            do throws(PathTemplateError) {
                values.append(try RequiredValue(template: expectation.text))
            } catch {
                throw StartFailure("require \(entry.claim): \(error)")
            }
        }
        self.init(claim: entry.claim, anyOf: values)
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
            case .mint(let mint):
                .mint(
                    MintSpec(
                        secret: mint.secret.bytes, lifetimeSeconds: mint.lifetime.components.seconds,
                        claims: mint.claims.map { MintSpec.Claim(name: $0.name, value: .string($0.value)) }))
            }
        self.init(name: upstream.name, authorization: authorization, preserveHost: upstream.preserveHost)
    }
}
