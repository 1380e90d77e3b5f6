public import Bytes
internal import Crypto
internal import HTTP
internal import JOSE

/// The `dpop` of an issuer (RFC 9449).
public struct DPoPSpec: Sendable, Equatable {
    /// True: each of its tokens must come with a proof. False: those that are bound to a key.
    public var isRequired: Bool
    /// How old a proof may be, in seconds, 1 to 300.
    public var lifetimeSeconds: Int64
    /// True: a proof must carry a nonce that this proxy gave out.
    public var needsNonce: Bool

    /// What is demanded of proofs.
    public init(isRequired: Bool, lifetimeSeconds: Int64 = 60, needsNonce: Bool = false) {
        self.isRequired = isRequired
        self.lifetimeSeconds = lifetimeSeconds
        self.needsNonce = needsNonce
    }
}

/// What a snapshot demands of whoever presents a token that is bound to a key.
struct ProofRules: ~Copyable {
    struct Rule: BitwiseCopyable {
        let isRequired: Bool
        let needsNonce: Bool
        let lifetimeSeconds: Int64
        let leewaySeconds: Int64
    }

    /// The credentials that a route accepts, for its challenge.
    struct Schemes: BitwiseCopyable {
        var bearer = true
        var proof = false
    }

    let memory: ProofMemory?
    let nonces: ProofNonces?
    /// The rule of each issuer; nil where its tokens never come with a proof.
    private var rules: FixedArray<Rule?>
    /// Of each route, in the order of the specification.
    private var schemes: FixedArray<Schemes>

    init(_ spec: PolicySpec, sharing memory: ProofMemory?) throws(PolicyError) {
        rules = FixedArray(capacity: max(spec.issuers.count, 1))
        schemes = FixedArray(capacity: max(spec.routes.count, 1))
        for issuer in spec.issuers { _ = rules.append(issuer.dpop.map { Rule($0, issuer.spec) }) }
        for route in spec.routes { _ = schemes.append(Self.schemes(route, spec)) }
        guard spec.issuers.contains(where: { $0.dpop != nil }) else {
            self.memory = nil
            nonces = nil
            return
        }
        guard let memory = memory ?? ProofMemory(), let made = ProofNonces(secret: memory.nonceSecret) else {
            throw .noRandomness
        }
        self.memory = memory
        nonces = consume made
    }

    /// The rule of an issuer; sessions, which come behind the issuers, have none.
    func rule(_ issuer: Int) -> Rule? { issuer < rules.count ? rules[issuer] : nil }

    /// What the challenge of a route names; Bearer where there is no route.
    func schemes(route: Int?) -> Schemes { route.map { schemes[$0] } ?? Schemes() }

    private static func schemes(_ route: RouteSpec, _ spec: PolicySpec) -> Schemes {
        let accepted: [Int] =
            switch route.authentication {
            case .none: []
            case .required(let issuers), .optional(let issuers): issuers
            }
        // Sessions come behind the issuers, and without proofs.
        let rules = accepted.map { $0 < spec.issuers.count ? spec.issuers[$0].dpop : nil }
        return Schemes(
            bearer: accepted.isEmpty || rules.contains { $0?.isRequired != true },
            proof: rules.contains { $0 != nil })
    }
}

extension ProofRules.Rule {
    /// How far in the future a proof may be dated at most, in seconds, whatever the `leeway` of the issuer's tokens is:
    /// they come from its server's clock, proofs from their sender's, and for so long one sender who fills the memory with
    /// proofs of the future drives everybody else's out.
    private static var largestLeewaySeconds: Int64 { 60 }

    fileprivate init(_ dpop: DPoPSpec, _ issuer: IssuerSpec) {
        self.init(
            isRequired: dpop.isRequired, needsNonce: dpop.needsNonce, lifetimeSeconds: dpop.lifetimeSeconds,
            leewaySeconds: min(issuer.leewaySeconds, Self.largestLeewaySeconds))
    }
}

extension PolicySnapshot {
    /// Adds the line `DPoP-Nonce` with a nonce to use from now on, where a request was refused for want of one
    /// (RFC 9449 §9); false where it does not fit.
    public func appendNonceField(_ rejection: Rejection, now: Int64, to buffer: inout Buffer) -> Bool {
        guard rejection.refusal == .proofNeedsNonce, let nonce = proofs.nonce(at: now) else { return true }
        return buffer.append("DPoP-Nonce: ") && buffer.append(nonce.span) && buffer.append("\r\n")
    }

    /// Adds the challenge for DPoP (RFC 9449 §7.1).
    func appendProofChallenge(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        guard buffer.append("DPoP realm=\"usher\"") && appendProofError(rejection, to: &buffer),
            buffer.append(", algs=\"")
        else { return false }
        for (place, algorithm) in DPoPVerifier.algorithms.enumerated() {
            guard place == 0 || buffer.append(" "), buffer.append(algorithm.name) else { return false }
        }
        return buffer.append("\"")
    }

    private func appendProofError(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        switch rejection.code {
        case .tokenInvalid where rejection.refusal == .proofNeedsNonce:
            buffer.append(", error=\"use_dpop_nonce\", error_description=\"Use the nonce of DPoP-Nonce\"")
        case .tokenInvalid where rejection.refusal?.isOfProof == true:
            buffer.append(", error=\"invalid_dpop_proof\", error_description=\"The DPoP proof is not valid\"")
        default: appendTokenError(rejection, to: &buffer)
        }
    }
}

extension ProofRules {
    /// A fresh nonce; nil where no issuer has proofs.
    func nonce(at now: Int64) -> [UInt8]? {
        switch nonces {
        case .some(let nonces): nonces.nonce(at: now)
        case .none: nil
        }
    }

    /// True where a nonce is one of those given out lately.
    func accepts(nonce: Span<UInt8>, now: Int64) -> Bool {
        switch nonces {
        case .some(let nonces): nonces.accepts(nonce, now: now)
        case .none: false
        }
    }
}
