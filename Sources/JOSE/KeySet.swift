/// Why a JWK Set as a whole cannot be used.
public enum KeySetError: Error, Equatable, Sendable {
    /// More than 256 KiB (rule J10).
    case tooLarge
    /// Not a strict JSON object with an array `keys` (RFC 7517 §5).
    case malformed
    /// More than 100 keys (rule J10).
    case tooManyKeys
    /// Not one key that could verify a signature for this issuer.
    case noUsableKey
}

/// A key of a JWK Set that was left out, for the log.
public struct SkippedKey: Sendable, Equatable {
    /// The place in the set, from 0.
    public let index: Int
    /// The reason as a short phrase.
    public let reason: String
}

/// What became of a JWK Set.
public struct KeySetReport: Sendable, Equatable {
    /// The number of keys that can verify signatures for the issuer.
    public var usableKeys = 0
    /// The keys that were left out (rule J23).
    public var skipped: [SkippedKey] = []

    /// A report of nothing.
    public init() {}
}

/// A key that verified a token: equal as long as the issuer, the `kid`, the algorithms and the key material are.
public struct KeyIdentity: Hashable, Sendable, BitwiseCopyable {
    let high: UInt64
    let low: UInt64
}
