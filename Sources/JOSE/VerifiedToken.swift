/// A token whose signature and claims hold. Only the verifier makes one.
public struct VerifiedToken: ~Copyable {
    /// The index of the issuer.
    public let issuer: Int
    /// The key that made the signature: a cached verdict dies when `TokenVerifier.contains` says no.
    public let key: KeyIdentity
    /// `exp` in Unix seconds, rounded up.
    public let expires: Int64
    /// `exp` and the issuer's leeway: from this second on the token is refused.
    public let acceptedUntil: Int64
    /// `nbf` in Unix seconds, rounded up.
    public let notBefore: Int64?
    /// `iat` in Unix seconds, rounded up.
    public let issuedAt: Int64?
    /// What the sender must prove to have, besides the token.
    public let binding: TokenBinding
    private let subjectNode: Int32
    private var document: JSONDocument

    /// Made by the verifier alone, of claims that it checked in that payload.
    init(
        issuer: Int, key: KeyIdentity, claims: AcceptedClaims, leewaySeconds: Int64,
        document: consuming JSONDocument
    ) {
        self.issuer = issuer
        self.key = key
        expires = claims.expires
        acceptedUntil = claims.expires + leewaySeconds
        notBefore = claims.notBefore
        issuedAt = claims.issuedAt
        binding = claims.binding
        subjectNode = claims.subject
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
    public func claim(at path: borrowing ClaimPath) -> ClaimValue? { document.value(at: path) }

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
