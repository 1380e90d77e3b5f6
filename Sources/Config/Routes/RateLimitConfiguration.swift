/// One `[rate_limit.NAME]` table.
public struct RateLimitConfiguration: Sendable, Equatable {
    /// The table's name.
    public var name: String
    /// Whose requests are counted together.
    public var key: RateLimitKey
    /// How many there may be.
    public var rate: RateConfiguration
    /// The budget is that of all proxies together, where there is `[shared]`.
    public var isShared = true
}

/// Whose requests are counted together.
public enum RateLimitKey: String, Sendable, Equatable, CaseIterable {
    /// The verified user's; of nobody, those of the address.
    case user
    /// Those of the client's IPv4 address or IPv6 network of 64 bits.
    case address
}

/// A token bucket.
public struct RateConfiguration: Sendable, Equatable {
    /// How many in the long run, 1 to 1,000,000 …
    public var requests: Int
    /// … in that time, whole seconds.
    public var per: Duration
    /// How many at once, at least 1.
    public var burst: Int
}
