public import Bytes
internal import Crypto
public import HTTP
public import JOSE

/// A policy as one worker uses it: compiled, with the verifier and the cache of verified tokens inside.
///
/// Each worker makes its own from the same `PolicySpec`; a reload makes a new one, and with it a new cache. Nothing
/// here does I/O, and with a cached token nothing here takes memory.
public struct PolicySnapshot: ~Copyable {
    let routes: RouteTable
    let identity: IdentityRules
    let upstreams: UpstreamAuthorizationTable
    let listeners: TrustedProxyTable
    let tokenBytes: Int
    var verifier: TokenVerifier
    var cache: VerifiedTokenCache
    var scratch: VerifiedTokenEntry

    /// Compiles a policy; `PolicyError` says what is wrong with it.
    public init(_ spec: PolicySpec) throws(PolicyError) {
        guard (1...(1 << 24)).contains(spec.tokensCached), (1...(1 << 24)).contains(spec.tokenBytes) else {
            throw .badLimit
        }
        guard let first = Random.uint64(), let second = Random.uint64() else { throw .noRandomness }
        try Self.check(spec)
        do throws(IssuerFault) {
            verifier = try TokenVerifier(issuers: spec.issuers.map(\.spec))
        } catch {
            throw .issuer(error)
        }
        routes = try RouteTable(spec)
        identity = try IdentityRules(spec.identity)
        upstreams = try UpstreamAuthorizationTable(spec.upstreams)
        listeners = try TrustedProxyTable(spec.listeners)
        tokenBytes = spec.tokenBytes
        cache = VerifiedTokenCache(
            capacity: spec.tokensCached, tokenBytes: spec.tokenBytes, seed: (first, second))
        scratch = VerifiedTokenEntry()
    }
}
