public import JOSE

/// Why a policy cannot be compiled: a mistake in the configuration that `Config` did not find by itself.
public enum PolicyError: Error, Equatable, Sendable {
    /// The verifier refuses an issuer.
    case issuer(IssuerFault)
    /// Two issuers that one route accepts cannot be told apart by `iss` and `alg` (J4).
    case issuersNotDistinct(route: Int, first: Int, second: Int)
    /// Two routes are equally specific.
    case equallySpecific(first: Int, second: Int)
    /// A route names an issuer or an upstream that is not there, or no issuer at all.
    case danglingReference(route: Int)
    /// A route without authentication has `require` or `scopes`.
    case requirementWithoutAuthentication(route: Int)
    /// `require` uses a capture that the path does not have.
    case unknownCapture(route: Int, name: String)
    /// An empty `require` table, or an entry without values: it would hold for everybody, or for nobody.
    case emptyRequirement(route: Int)
    /// A scope that is empty or has bytes that RFC 6750 §3 does not allow.
    case badScope(route: Int, scope: String)
    /// `strip_prefix` is not a prefix of the route's path in whole segments.
    case badStripPrefix(route: Int)
    /// The text is no claim path.
    case badClaim(String)
    /// The header's name is no token, is one that the proxy itself writes, or is there twice up to H1 and H2.
    case badIdentityHeader(String)
    /// A strip pattern is empty, or has a star before its end.
    case badStripPattern(String)
    /// The static bearer of an upstream is empty or cannot stand in a header.
    case badBearer(upstream: Int)
    /// The minter refuses the mint of an upstream.
    case mint(upstream: Int, SigningError)
    /// A trusted proxy block is everybody (H9).
    case trustsEverybody(listener: Int)
    /// The rule for other origins is empty, allows credentials to everybody, or its lines are none, or too long.
    case badCrossOrigin(String)
    /// The address of a sign-in page is none, or nobody can sign in for the route.
    case badSignIn(route: Int)
    /// `tokens_cached` or `token_bytes` is not positive, or too large.
    case badLimit
    /// The operating system gave no random bytes.
    case noRandomness
}

extension PolicyError: CustomStringConvertible {
    /// One sentence; places are those of `PolicySpec`.
    public var description: String {
        switch self {
        case .issuer(let fault): "issuer \(fault.index): \(fault.error)"
        case .issuersNotDistinct(_, let first, let second):
            "issuers \(first) and \(second) differ neither in iss nor in alg: no token could be told to be for one"
        case .equallySpecific(let first, let second): "routes \(first) and \(second) are equally specific"
        case .danglingReference(let route): "route \(route) names something that is not there"
        case .requirementWithoutAuthentication(let route):
            "route \(route) has require or scopes, and auth = \"none\": nobody could meet them"
        case .unknownCapture(_, let name): "{\(name)} is no capture of the route's path"
        case .emptyRequirement(let route): "route \(route) has an empty requirement"
        case .badScope(_, let scope): "\"\(scope)\" is no scope"
        case .badStripPrefix(let route): "strip_prefix of route \(route) is no prefix of its path"
        case .badClaim(let claim): "\"\(claim)\" is no claim"
        case .badIdentityHeader(let name): "\"\(name)\" cannot carry an identity"
        case .badStripPattern(let pattern):
            "\"\(pattern)\" is no header name, with or without a star at its end"
        case .badBearer(let upstream): "the bearer of upstream \(upstream) cannot stand in a header"
        case .mint(let upstream, let error): "the mint of upstream \(upstream): \(error)"
        case .trustsEverybody(let listener): "listener \(listener) trusts everybody"
        case .badCrossOrigin(let name): "cors.\(name) cannot be used"
        case .badSignIn(let route): "the sign-in page of route \(route) cannot be used"
        case .badLimit: "a limit of the token cache is out of range"
        case .noRandomness: "no random bytes"
        }
    }
}
