public import Policy

/// One `[issuer.NAME]` table: who signs bearer tokens, and what is demanded of them.
public struct IssuerConfiguration: Sendable, Equatable {
    /// The table's name.
    public var name: String
    /// The exact `iss`; nil = not checked (`"*"`).
    public var issuer: String?
    /// Accepted `aud` values, at least one of which a token must name; nil = not checked (`"*"`). Never empty (J14).
    public var audience: [String]?
    /// The one source of this issuer's keys.
    public var keySource: KeySource
    /// Where the file says the key source.
    public var keyPosition: SourcePosition
    /// Accepted `alg` values; never HMAC and public-key algorithms together (J1).
    public var algorithms: [TokenAlgorithm]
    /// Claims that name the user; the first present wins.
    public var subject: [String]
    /// Accepted `typ` values.
    public var types: [String]
    /// Whether a token without `typ` is refused.
    public var requiredType: Bool
    /// Whether a token without `kid` is refused, and a key of the set that fits several algorithms has to say which one is
    /// its own.
    public var requiresNamedKeys = false
    /// Tolerance for `exp`, `nbf` and `iat`.
    public var leeway: Duration
    /// The greatest `exp - iat`; nil = no bound.
    public var maximumLifetime: Duration?
    /// Tokens with one of these claims are refused.
    public var refuseClaims: [String]
    /// Where its tokens are looked for; at least one place.
    public var tokenFrom: [TokenPlace] = [.header]
    /// Origins whose pages may use a token in a cookie for more than reading, besides the request's own.
    public var trustedOrigins: [String] = []
    /// What is demanded of DPoP proofs (RFC 9449); nil = its tokens never come with one.
    public var dpop: DPoPSpec?
    /// Where the file begins the table.
    public var position: SourcePosition

    /// Whether it is asked about its tokens, and has no keys.
    var isAsked: Bool {
        if case .introspection = keySource { true } else { false }
    }

    /// Whether a token could be for either: both are asked, or they share `iss` and an algorithm.
    func isConfusable(with other: IssuerConfiguration) -> Bool {
        guard !isAsked, !other.isAsked else { return isAsked && other.isAsked }
        return issuer == other.issuer && !Set(algorithms).isDisjoint(with: other.algorithms)
    }
}

/// Where an issuer's keys come from. Files are read when the configuration is loaded.
public enum KeySource: Sendable, Equatable {
    /// An HMAC key, at least 32 bytes (J19).
    case secret(Secret)
    /// One public key as PEM text.
    case publicKey(pem: [UInt8], origin: String)
    /// A JWK set as JSON text.
    case keySet(json: [UInt8], origin: String)
    /// A JWK set that is fetched while the proxy runs.
    case remote(RemoteKeys)
    /// No keys: the issuer is asked about each token (RFC 7662).
    case introspection(IntrospectionConfiguration)

    /// Whether it is a secret, or one key without a name: no token can name it.
    var isNameless: Bool {
        switch self {
        case .secret, .publicKey: true
        case .keySet, .remote, .introspection: false
        }
    }
}

/// An endpoint that is asked about opaque tokens (RFC 7662).
public struct IntrospectionConfiguration: Sendable, Equatable {
    /// The endpoint.
    public var url: RemoteURL
    /// Who asks (RFC 6749 §2.3.1).
    public var clientID: String
    /// With this, by HTTP Basic authentication.
    public var clientSecret: Secret
    /// How long an answer is believed.
    public var cacheFor: Duration
    /// The certificates that are trusted instead of the system's, as PEM text.
    public var authorities: [UInt8]?
}

/// A JWK set that is fetched, and how often.
public struct RemoteKeys: Sendable, Equatable {
    /// Where the key set is.
    public enum Location: Sendable, Equatable {
        /// At this URL.
        case url(RemoteURL)
        /// Where the metadata of the issuer with this URL says (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).
        case discovery(issuer: RemoteURL, name: String)
    }

    /// Where the key set is.
    public var location: Location
    /// The time between two fetches, where the answer does not ask for a shorter one.
    public var refresh: Duration = .seconds(600)
    /// The least time between two fetches for the sake of a key that is not known (J9).
    public var cooldown: Duration = .seconds(10)
    /// How long keys that cannot be refreshed are used on.
    public var staleFor: Duration = .days(1)
    /// The certificates that are trusted instead of the system's, as PEM text.
    public var authorities: [UInt8]?
    /// There may be none, and nothing waits for them: they are fetched once, and while there are none, again only for the
    /// sake of somebody who needs them.
    public var areOptional = false

    /// The key set at that place, with the default times.
    public init(_ location: Location) {
        self.location = location
    }
}

/// Signature algorithms of RFC 7518 and RFC 8037 that are understood.
public enum TokenAlgorithm: String, Sendable, Equatable, CaseIterable {
    /// HMAC with SHA-256.
    case hs256 = "HS256"
    /// HMAC with SHA-384.
    case hs384 = "HS384"
    /// HMAC with SHA-512.
    case hs512 = "HS512"
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    case rs256 = "RS256"
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    case rs384 = "RS384"
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    case rs512 = "RS512"
    /// RSASSA-PSS with SHA-256.
    case ps256 = "PS256"
    /// RSASSA-PSS with SHA-384.
    case ps384 = "PS384"
    /// RSASSA-PSS with SHA-512.
    case ps512 = "PS512"
    /// ECDSA on P-256 with SHA-256.
    case es256 = "ES256"
    /// ECDSA on P-384 with SHA-384.
    case es384 = "ES384"
    /// ECDSA on P-521 with SHA-512.
    case es512 = "ES512"
    /// Ed25519.
    case edDSA = "EdDSA"

    /// What Better Auth's `jwt` plugin can be told to sign with.
    static let ofBetterAuth: [TokenAlgorithm] = [.edDSA, .es256, .es512, .rs256, .ps256]

    /// Whether the key is a shared secret.
    public var isHMAC: Bool {
        switch self {
        case .hs256, .hs384, .hs512: true
        default: false
        }
    }
}
