/// How the sessions of one Better Auth are verified: plain values, from which each worker builds its own
/// `SessionVerifier`.
public struct SessionSpec: Sendable, Equatable {
    /// What the cookie `session_data` is, the cache of a session that saves a question to the server.
    public enum Cache: Sendable, Equatable {
        /// Whichever of those below it has the form of. A JWT says by its `alg` which of the two it is: one with HS256 is
        /// proven by the secret alone, and any other by a published key alone (rule J1).
        case any
        /// JSON with an HMAC, as base64url.
        case compact
        /// A JWT with HS256.
        case jwt
        /// A JWE with a key that is derived from the secret.
        case jwe
        /// A JWT with a published key.
        case jwks
        /// Not looked at: the server is asked about every session.
        case off
    }

    /// The secrets, the current one first: with earlier ones only a JWE may still be opened.
    public var secrets: [[UInt8]]
    /// The form of the cache.
    public var cache = Cache.any
    /// The place, in the token verifier, of the issuer whose keys sign a cache, and which accepts such tokens alone; nil
    /// where no cache is signed with a published key.
    public var keyIssuer: Int?
    /// The `iss` that such a cache may have.
    public var keyIssuerNames: [String] = []
    /// The version that the cache must have; one that says none has version "1".
    public var version = "1"

    /// Sessions under these secrets, the current one first, each at least 32 bytes.
    public init(secrets: [[UInt8]]) {
        self.secrets = secrets
    }
}

/// What became of a session's cache, or of what the server says of a session.
public enum SessionVerdict: ~Copyable {
    /// The session is good.
    case verified(VerifiedToken)
    /// It cannot be told from this: it is forged, too old, or of another form. The server may know.
    case unusable(TokenRefusal)
    /// It is signed with a key of that issuer, an index in the token verifier, which is not there.
    case lacksKey(issuer: Int)
    /// It is genuine, and does not belong to the session that it came with.
    case refused(TokenRefusal)
}

/// A session that was checked: what a verified token is made of.
struct SessionFacts {
    let place: Int
    let keyIssuer: Int
    let key: KeyIdentity
    /// The end of the session, in Unix seconds.
    let expires: Int64
    /// The end of the verdict.
    let acceptedUntil: Int64
    let createdAt: Int64?
    /// Nodes of the document; `identifier` is -1 where the session has none.
    let root: Int
    let user: Int
    let subject: Int
    let identifier: Int
}
