/// Some of a verifier's issuers: what a route accepts.
public struct IssuerSet: OptionSet, Sendable, Hashable, BitwiseCopyable {
    /// Bit i stands for the issuer at index i.
    public let rawValue: UInt64

    /// The set of these bits.
    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The set of the one issuer at `index`, 0 to 63.
    @inlinable
    public init(index: Int) {
        precondition(index >= 0 && index < 64)
        rawValue = 1 << UInt64(index)
    }

    /// True where the issuer at `index` is in the set.
    @inlinable
    public func contains(index: Int) -> Bool { rawValue & 1 << UInt64(index) != 0 }
}
