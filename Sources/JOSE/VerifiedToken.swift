/// A token or a session of which everything holds. Only the verifiers make one.
public struct VerifiedToken: ~Copyable {
    /// The index of the issuer; of a session, the place that its verifier was given.
    public let issuer: Int
    /// The issuers whose `iss` the token bears though it is none of theirs: its own issuer's `iss` is not checked. Where
    /// one of them may speak, it does, and this token counts for nothing (rule J4).
    public let namedOthers: IssuerSet
    /// The index of the issuer that `key` belongs to, which may be another than the session's; -1 for a session's own
    /// secret.
    public let keyIssuer: Int
    /// The key that made the signature: a cached verdict dies when `TokenVerifier.contains` says no.
    public let key: KeyIdentity
    /// `exp` in Unix seconds, rounded up.
    public let expires: Int64
    /// `exp` and the issuer's leeway: from this second on the token is refused. Of a session: from then on it has to be
    /// asked about again.
    public let acceptedUntil: Int64
    /// When what the token has permitted must end: `acceptedUntil`, or the end of the session itself.
    public let permitsUntil: Int64
    /// `nbf` in Unix seconds, rounded up.
    public let notBefore: Int64?
    /// `iat` in Unix seconds, rounded up.
    public let issuedAt: Int64?
    /// What the sender must prove to have, besides the token.
    public let binding: TokenBinding
    private let subjectNode: Int32
    /// The node of the claim that identifies the token, where it is no claim `jti`; else -1.
    private let tokenIDNode: Int32
    /// The nodes whose members are the claims: the payload, or of a session the user and what is around them.
    private let claims: Int
    private let outerClaims: Int
    private var document: JSONDocument

    /// Made by the verifier alone, of claims that it checked in that payload; `end` is when the verdict is too old.
    init(
        issuer: Int, namedOthers: IssuerSet, key: KeyIdentity, claims: AcceptedClaims, leewaySeconds: Int64,
        until end: Int64 = .max, document: consuming JSONDocument
    ) {
        self.issuer = issuer
        self.namedOthers = namedOthers
        keyIssuer = issuer
        self.key = key
        expires = claims.expires
        acceptedUntil = min(claims.expires + leewaySeconds, end)
        permitsUntil = claims.expires + leewaySeconds
        tokenIDNode = -1
        self.claims = 0
        outerClaims = 0
        notBefore = claims.notBefore
        issuedAt = claims.issuedAt
        binding = claims.binding
        subjectNode = claims.subject
        self.document = document
    }

    /// Made by the session verifier alone, of a session that it checked in that document.
    init(_ session: SessionFacts, document: consuming JSONDocument) {
        issuer = session.place
        namedOthers = []
        keyIssuer = session.keyIssuer
        key = session.key
        expires = session.expires
        acceptedUntil = session.acceptedUntil
        permitsUntil = session.expires
        notBefore = nil
        issuedAt = session.createdAt
        binding = TokenBinding()
        subjectNode = Int32(truncatingIfNeeded: session.subject)
        tokenIDNode = Int32(truncatingIfNeeded: session.identifier)
        claims = session.user
        outerClaims = session.root
        self.document = document
    }

    /// The memory of the payload, for the next token.
    consuming func takeDocument() -> JSONDocument { document }

    /// The subject: 1 to 256 visible ASCII characters without comma and semicolon.
    public var subject: Span<UInt8> {
        @_lifetime(borrow self)
        get { document.bytes(of: Int(subjectNode)) }
    }

    /// The value at that path, or nil where there is none.
    public func claim(at path: borrowing ClaimPath) -> ClaimValue? {
        if let own = document.value(at: path, in: claims) { return own }
        return claims == outerClaims ? nil : document.value(at: path, in: outerClaims)
    }

    /// What identifies this one token: `jti`, or the identifier of the session.
    public var tokenID: ClaimValue? {
        tokenIDNode < 0 ? claim(at: .tokenID) : document.claim(Int(tokenIDNode))
    }

    /// The text of a string with its escapes decoded (UTF-8), of a number as it is written, `true`, `false` or
    /// `null`; empty for an array or an object.
    @_lifetime(borrow self)
    public func bytes(of value: ClaimValue) -> Span<UInt8> { document.bytes(of: Int(value.node)) }

    /// The first element of an array, or nil where it is empty or no array.
    public func firstElement(of array: ClaimValue) -> ClaimValue? { document.firstElement(of: array) }

    /// The element behind `element` of the same array, or nil behind the last.
    public func element(after element: ClaimValue, in array: ClaimValue) -> ClaimValue? {
        document.element(after: element, in: array)
    }
}
