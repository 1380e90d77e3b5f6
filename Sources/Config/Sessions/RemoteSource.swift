/// A server that judges credentials which nobody else can judge, and how it is asked.
public struct RemoteSource: Sendable, Equatable {
    /// What is asked, and how its answers are read.
    public enum Kind: Sendable, Equatable {
        /// `GET` of Better Auth's `get-session`: 200 with an object, or with `null`.
        case betterAuthSession
        /// `POST` to an introspection endpoint: 200 with an object (RFC 7662 §2).
        case introspection(clientID: String, clientSecret: Secret)
    }

    /// A name that no other has: that of the table, such as `session.browser`.
    public var name: String
    /// What is asked, and how its answers are read.
    public var kind: Kind
    /// Whom to ask, path and query included.
    public var url: RemoteURL
    /// The certificates that are trusted instead of the system's, as PEM text.
    public var authorities: [UInt8]?

    /// A server at that URL.
    public init(name: String, kind: Kind, url: RemoteURL, authorities: [UInt8]? = nil) {
        self.name = name
        self.kind = kind
        self.url = url
        self.authorities = authorities
    }
}
