/// Why a token was refused: for logs and counters, never for the client, who must not learn more than that the
/// token is invalid, or that it expired (rule J21).
public enum TokenRefusal: UInt8, CaseIterable, Error, Sendable {
    /// Not three strict base64url parts with JSON objects in the first two (RFC 7515 §7.1), or not strict JSON.
    case malformed
    /// More bytes than the limit allows.
    case tooLarge
    /// `alg` is absent, unknown, or not one of the issuer's algorithms (rules J1, J2).
    case algorithmNotAllowed
    /// `crit` or `b64` in the header (rule J3).
    case criticalHeader
    /// `typ` is not one of those accepted, or is required and absent.
    case wrongType
    /// `iss` names none of the issuers that the route accepts, or is not a string; or the token came where none of them
    /// looks.
    case wrongIssuer
    /// Two issuers fit `iss` and `alg`; tokens are never tried against one after the other.
    case ambiguousIssuer
    /// The issuer has no key with that `kid`, or the `kid` is required and absent.
    case unknownKey
    /// The keys with that `kid` do not fit the algorithm.
    case keyDoesNotFit
    /// No key of the issuer made this signature.
    case badSignature
    /// A claim is absent that must be there: `exp`, or `iat` under `maximum_lifetime`.
    case missingClaim
    /// A claim has the wrong JSON type, or a number out of range (rules J12, J16).
    case malformedClaim
    /// `aud` is absent or names nobody that the issuer's tokens are accepted for (rule J14).
    case wrongAudience
    /// `nbf` is in the future.
    case notYetValid
    /// `iat` is in the future.
    case issuedInTheFuture
    /// `exp` - `iat` is more than `maximum_lifetime`.
    case lifetimeTooLong
    /// `cnf`: the token is bound to a key, and came without a proof of possession, or is bound in a way that cannot
    /// be verified here (rule J20).
    case boundToKey
    /// `cnf` names a client certificate, and the connection is not this certificate's (RFC 8705 §3).
    case wrongCertificate
    /// It must come with a DPoP proof, and there is none, or more than one (RFC 9449 §4.3).
    case proofMissing
    /// It came with a DPoP proof, but is not bound to a key (RFC 9449 §7.1).
    case notBoundToKey
    /// The proof is no strict token with the header and claims of RFC 9449 §4.2.
    case proofMalformed
    /// The proof's key is not the one that the token is bound to.
    case proofOfOtherKey
    /// The proof's key did not make its signature.
    case proofBadSignature
    /// The proof is for another method or another URI (`htm`, `htu`).
    case proofOfOtherRequest
    /// The proof is for another token (`ath`).
    case proofOfOtherToken
    /// The proof was made too long ago, or in the future (`iat`).
    case proofStale
    /// The proof has none of the nonces that this proxy gave out lately (RFC 9449 §9).
    case proofNeedsNonce
    /// The proof was used before (`jti`).
    case proofReplayed
    /// One of the issuer's `refuse_claims` is present: not a user's token.
    case refusedClaim
    /// No subject claim is present.
    case missingSubject
    /// The subject is not a string of 1 to 256 visible characters that can stand in a header (rules J16, H11).
    case malformedSubject
    /// The session's cookies are genuine, and do not belong together.
    case contradictory
    /// The session's cache has another version than the one that counts.
    case otherVersion
    /// The server that was asked says that it is not, or no longer, good; or there is no server to ask.
    case inactive
    /// The server that was asked says nothing that makes sense: nobody can tell what the token is worth.
    case unusableAnswer
    /// The token, or all of its subject's up to some moment, are revoked.
    case revoked
    /// Everything holds, the signature too, but `exp` is over.
    case expired

    /// The text for logs and counters.
    public var code: StaticString {
        switch self {
        case .malformed: "token_malformed"
        case .tooLarge: "token_too_large"
        case .algorithmNotAllowed: "token_algorithm_not_allowed"
        case .criticalHeader: "token_critical_header"
        case .wrongType: "token_wrong_type"
        case .wrongIssuer: "token_wrong_issuer"
        case .ambiguousIssuer: "token_ambiguous_issuer"
        case .unknownKey: "token_unknown_key"
        case .keyDoesNotFit: "token_key_does_not_fit"
        case .badSignature: "token_bad_signature"
        case .missingClaim: "token_missing_claim"
        case .malformedClaim: "token_malformed_claim"
        case .wrongAudience: "token_wrong_audience"
        case .notYetValid: "token_not_yet_valid"
        case .issuedInTheFuture: "token_issued_in_the_future"
        case .lifetimeTooLong: "token_lifetime_too_long"
        case .boundToKey: "token_bound_to_key"
        case .wrongCertificate: "token_wrong_certificate"
        case .proofMissing: "proof_missing"
        case .notBoundToKey: "token_not_bound_to_key"
        case .proofMalformed: "proof_malformed"
        case .proofOfOtherKey: "proof_of_other_key"
        case .proofBadSignature: "proof_bad_signature"
        case .proofOfOtherRequest: "proof_of_other_request"
        case .proofOfOtherToken: "proof_of_other_token"
        case .proofStale: "proof_stale"
        case .proofNeedsNonce: "proof_needs_nonce"
        case .proofReplayed: "proof_replayed"
        case .refusedClaim: "token_refused_claim"
        case .missingSubject: "token_missing_subject"
        case .malformedSubject: "token_malformed_subject"
        case .contradictory: "session_contradictory"
        case .otherVersion: "session_other_version"
        case .inactive: "token_inactive"
        case .unusableAnswer: "verdict_unusable"
        case .revoked: "token_revoked"
        case .expired: "token_expired"
        }
    }

    /// True where the token holds, but not the DPoP proof that came with it: the client may be told so, or it could
    /// not know what to mend (RFC 9449 §7.1).
    public var isOfProof: Bool {
        switch self {
        case .proofMissing, .proofMalformed, .proofOfOtherKey, .proofBadSignature, .proofOfOtherRequest,
            .proofOfOtherToken, .proofStale, .proofNeedsNonce, .proofReplayed:
            true
        default: false
        }
    }

    /// True where the client may be told `token_expired`: the signature held and nothing else was wrong.
    @inlinable
    public var isExpiredWithValidSignature: Bool { self == .expired }
}
