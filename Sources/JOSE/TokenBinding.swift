internal import Bytes
public import Crypto

/// What a token is bound to (`cnf`, RFC 7800 §3.1): whoever sends it must prove to have all of it (rule J20).
public struct TokenBinding: Sendable, Equatable, BitwiseCopyable {
    /// The RFC 7638 thumbprint of a key (`jkt`, RFC 9449 §6.1).
    public private(set) var key: SHA256Digest?
    /// The SHA-256 digest of a client certificate (`x5t#S256`, RFC 8705 §3.1).
    public private(set) var certificate: SHA256Digest?

    /// A token that is bound to nothing.
    public init() {}

    /// True where whoever has the token may use it.
    public var isNone: Bool { key == nil && certificate == nil }

    /// Reads the claim at `node`, -1 for absent. A member that is not known could ask for anything, so that the
    /// token is refused; so is one that binds to nothing.
    init(_ node: Int, _ payload: borrowing JSONDocument) throws(TokenRefusal) {
        self.init()
        guard node >= 0 else { return }
        guard payload.node(node).kind == .object else { throw .boundToKey }
        var next = payload.firstChild(of: node)
        while let name = next {
            guard payload.node(name + 1).kind == .string,
                let digest = SHA256Digest(base64URL: payload.bytes(of: name + 1))
            else { throw .boundToKey }
            if payload.equal(name, Self.keyName.span) {
                key = digest
            } else if payload.equal(name, Self.certificateName.span) {
                certificate = digest
            } else {
                throw .boundToKey
            }
            next = payload.sibling(after: name + 1, in: node)
        }
        guard !isNone else { throw .boundToKey }
    }

    private static let keyName = Array("jkt".utf8)
    private static let certificateName = Array("x5t#S256".utf8)
}

extension SHA256Digest {
    /// The digest in its strict base64url text of 43 characters; nil for anything else.
    public init?(base64URL text: Span<UInt8>) {
        guard Base64URL.decodedCount(text.count) == 32 else { return nil }
        var bytes: [32 of UInt8] = .init(repeating: 0)
        var room = bytes.mutableSpan
        guard Base64URL.decode(text, into: &room) == 32 else { return nil }
        self.init(bytes: bytes)
    }
}
