/// What an authorization server says of itself in its metadata document (OpenID Connect Discovery 1.0 §3,
/// RFC 8414 §2), as far as keys are concerned.
public struct IssuerMetadata: Sendable, Equatable {
    /// The `issuer`, which must be the one that was asked for (RFC 8414 §3.3).
    public let issuer: String
    /// The `jwks_uri`: where its keys are.
    public let keySetURL: String

    /// The largest document that is read, in bytes: real ones have about 2 KiB.
    public static let largestByteCount = 262_144

    /// Reads a document; nil where it is not a strict JSON object with both members.
    public init?(_ text: [UInt8]) {
        guard text.count <= Self.largestByteCount else { return nil }
        var document = JSONDocument(capacity: text.count, limits: .keySet)
        guard document.load(text.span), let issuer = Self.string("issuer", document),
            let keySetURL = Self.string("jwks_uri", document)
        else { return nil }
        self.issuer = issuer
        self.keySetURL = keySetURL
    }

    private static func string(_ name: String, _ document: borrowing JSONDocument) -> String? {
        guard let node = document.member(Array(name.utf8).span, of: 0), document.node(node).kind == .string
        else { return nil }
        return String(decoding: document.copy(of: node), as: UTF8.self)
    }
}
