/// The `[shared]` table: the store that several proxies have in common.
public struct SharedConfiguration: Sendable, Equatable {
    /// Where the server is.
    public var address: EndpointAddress
    /// Whether it is talked to over TLS.
    public var isSecure: Bool
    /// The user of its access list; empty for the default one.
    public var user: String
    /// The password; nil where the server wants none.
    public var password: Secret?
    /// The number of the database.
    public var database: Int
    /// What all names in the store begin with.
    public var prefix = "usher:"
    /// How long a request waits for it at most.
    public var timeout: Duration = .milliseconds(100)
    /// What happens while it does not answer.
    public var whenUnavailable = WhenUnavailable.local
    /// How long revoked tokens are remembered there.
    public var revocationsKept: Duration = .days(30)
    /// The authorities that its certificate is checked with (PEM); nil = the system's.
    public var authorities: [UInt8]?

    /// The host, as a certificate names it; empty for a Unix socket.
    public var host: String {
        switch address {
        case .ip(let address, _): address.description
        case .name(let name, _): name
        case .unix: ""
        }
    }
}

/// What happens while the store does not answer.
public enum WhenUnavailable: String, Sendable, Equatable, CaseIterable {
    /// Each proxy counts for itself, and the last known revocations apply.
    case local
    /// What cannot be checked is refused with 503.
    case refuse
}
