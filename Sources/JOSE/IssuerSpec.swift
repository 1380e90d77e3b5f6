public import Crypto

/// Who signs tokens, with which keys, and what their claims must say: plain values, from which each worker builds
/// its own `TokenVerifier`.
public struct IssuerSpec: Sendable {
    /// Where the keys come from. They belong to this issuer alone (rule J4).
    public enum KeySource: Sendable, Equatable {
        /// A secret for HMAC, at least 32 bytes (rule J19).
        case secret([UInt8])
        /// One public key as PEM text (`PUBLIC KEY`, RFC 7468 §13).
        case publicKeyPEM([UInt8])
        /// A JWK Set as JSON text (RFC 7517 §5).
        case jwks([UInt8])
        /// Keys that come later, by `TokenVerifier.replaceKeys`: until then the verdict is `keysUnavailable`.
        case pending
    }

    /// The exact `iss`; nil = not checked (`"*"`).
    public var issuer: String?
    /// The audiences, one of which `aud` must name; nil = not checked (`"*"`). An empty list is refused.
    public var audiences: [String]?
    /// Where the keys come from.
    public var keys: KeySource
    /// True where keys are fetched while the proxy runs: a token whose key is not known may find it a moment later.
    public var fetchesKeys = false
    /// The accepted algorithms; HMAC never mixes with the others. nil = the default for the key source.
    public var algorithms: AlgorithmSet?
    /// The claims that may name the user: the first one present does.
    public var subject: [ClaimPath] = [.subject]
    /// The accepted `typ`, compared without regard to case and to the prefix `application/`.
    public var types: [String] = ["JWT", "at+jwt"]
    /// True where a token without `typ` is refused.
    public var requiresType = false
    /// True where a token without `kid` is refused, and a JWK that fits several of the algorithms has to name its own by
    /// `alg`: an RSA key that is not said to be for PKCS #1 or for PSS is left out.
    public var requiresNamedKeys = false
    /// How far the clocks may differ, in seconds.
    public var leewaySeconds: Int64 = 30
    /// The most that `exp` - `iat` may be, in seconds; nil = no bound.
    public var maximumLifetimeSeconds: Int64?
    /// Claims that a user's token never has, by their literal names.
    public var refusedClaims: [String] = []

    /// An issuer with the defaults for everything that is not named here.
    public init(issuer: String?, audiences: [String]?, keys: KeySource, algorithms: AlgorithmSet? = nil) {
        self.issuer = issuer
        self.audiences = audiences
        self.keys = keys
        self.algorithms = algorithms
    }

    /// The algorithms in force: as written, or HS256 for a secret and RS256, ES256 and EdDSA for the rest.
    public var effectiveAlgorithms: AlgorithmSet {
        if let algorithms { return algorithms }
        if case .secret = keys { return AlgorithmSet(.hs256) }
        return AlgorithmSet([.rs256, .es256, .edDSA])
    }

    /// True where a token can be told to be for one of the two and not the other: another `iss`, or no algorithm
    /// in common. Issuers that one route accepts must be distinct in this sense.
    public func isDistinct(from other: IssuerSpec) -> Bool {
        issuer != other.issuer || effectiveAlgorithms.isDisjoint(with: other.effectiveAlgorithms)
    }
}

/// Why an issuer cannot be used.
public enum IssuerError: Error, Equatable, Sendable {
    /// More than 64 issuers: a route's set of them is one machine word.
    case tooManyIssuers
    /// The secret has fewer than 32 bytes (rule J19).
    case secretTooShort
    /// The secret is the published default of a library, or a PEM text: everybody may know it (rule J1).
    case secretIsPublic
    /// HMAC for public keys, or the opposite, or no algorithm at all (rule J1).
    case algorithmsDoNotFitKeySource
    /// None of the algorithms fits the PEM key.
    case algorithmsDoNotFitKey
    /// The PEM text holds no usable public key.
    case badKey(KeyError)
    /// The JWK Set cannot be used.
    case badKeySet(KeySetError)
    /// The list of audiences is empty (rule J14).
    case emptyAudience
    /// No claim is named for the subject.
    case emptySubject
    /// A negative leeway, or a maximum lifetime that is not positive.
    case badDuration
}

/// The issuer among several, and what is wrong with it.
public struct IssuerFault: Error, Equatable, Sendable {
    /// The index in the list that was given to the verifier.
    public let index: Int
    /// What is wrong.
    public let error: IssuerError

    /// The fault of the issuer at that index.
    public init(index: Int, error: IssuerError) {
        self.index = index
        self.error = error
    }
}
