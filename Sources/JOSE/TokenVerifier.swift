/// What became of a token.
public enum Verdict: ~Copyable {
    /// Signature and claims hold.
    case verified(VerifiedToken)
    /// Something does not hold.
    case refused(TokenRefusal)
    /// The issuer's keys were never loaded: not the client's fault.
    case keysUnavailable
}

/// Verifies compact tokens (RFC 7515 §7.1, RFC 7519 §7.2) against the keys and rules of their issuers.
///
/// One for each worker: contexts and scratch memory are used again for every token.
public struct TokenVerifier: ~Copyable {
    /// A token may have at most as many bytes where nothing else is said: far above real ones, far below harm.
    public static let defaultTokenLimitBytes = 8192
    /// A higher limit cannot be configured: no header field is larger.
    public static let largestTokenLimitBytes = 65_536

    /// The index of the issuer that the last token was for, whatever became of it; nil where none was found.
    public private(set) var chosenIssuer: Int?

    /// A verifier for these issuers, at most 64; an `IssuerSet` names them by their indices.
    public init(
        issuers: [IssuerSpec], tokenLimitBytes: Int = TokenVerifier.defaultTokenLimitBytes
    ) throws(IssuerFault) {
        throw IssuerFault(index: 0, error: .emptySubject)
    }

    /// Verifies a token for a route that accepts these issuers. `now` is in Unix seconds.
    public mutating func verify(_ token: Span<UInt8>, acceptedBy issuers: IssuerSet, now: Int64) -> Verdict {
        .refused(.malformed)
    }

    /// Gives the memory of a token back, so that the next one allocates nothing. Optional.
    public mutating func recycle(_ token: consuming VerifiedToken) {}

    /// Exchanges all keys of an issuer at once (rules J7, J22); after an error the old ones stay.
    public mutating func replaceKeys(
        ofIssuer index: Int, with source: IssuerSpec.KeySource
    ) throws(IssuerError) {
    }

    /// Drops all keys of an issuer: its tokens get `keysUnavailable` from now on.
    public mutating func removeKeys(ofIssuer index: Int) {}

    /// How often the keys of an issuer were exchanged: while it is the same, so are the keys.
    public func keyGeneration(ofIssuer index: Int) -> UInt32 { 0 }

    /// True while the key is among its issuer's: cached verdicts of other keys are void (rule J6).
    public func contains(_ key: KeyIdentity, ofIssuer index: Int) -> Bool { false }

    /// What became of the key set of an issuer.
    public func keyReport(ofIssuer index: Int) -> KeySetReport { KeySetReport() }
}
