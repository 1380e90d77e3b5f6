internal import Bytes
public import Crypto

/// A DPoP proof whose form, key and signature hold. What it says of the request is for whoever knows the request to
/// compare; the texts are the verifier's until it reads the next proof.
public struct DPoPProof: BitwiseCopyable {
    /// `iat` in Unix seconds, rounded up.
    public let issuedAt: Int64
    let method: Int
    let target: Int
    let tokenDigest: Int
    let nonce: Int
    let identifier: Int
}

/// Verifies DPoP proofs (RFC 9449 §4.3), apart from what they say of the request. One for each worker.
public struct DPoPVerifier: ~Copyable {
    /// A proof with the largest RSA key and its signature has about 5 KiB.
    public static let largestProofBytes = 8192
    /// `jti` is at most as long: generous for what should be a UUID.
    private static let largestIdentifierBytes = 512
    /// What is accepted: signatures of a key that the client alone has, never HMAC (RFC 9449 §4.2).
    public static let algorithms: [SignatureAlgorithm] = [
        .es256, .es384, .es512, .edDSA, .ps256, .ps384, .ps512, .rs256, .rs384, .rs512,
    ]

    private var header = JSONDocument(capacity: DPoPVerifier.largestProofBytes, limits: .token)
    private var payload = JSONDocument(capacity: DPoPVerifier.largestProofBytes, limits: .token)
    private var signature = [UInt8](repeating: 0, count: PublicKey.largestModulusBits / 8)
    private var parser = JWKParser()
    private var digest = SHA256()

    /// A verifier with memory of its own.
    public init() {}

    /// Verifies the form of a proof, that its key is the one with that thumbprint, and its signature. The key is
    /// compared first, so that nobody has signatures checked with keys that no token names.
    public mutating func verify(
        _ proof: Span<UInt8>, boundTo thumbprint: SHA256Digest
    ) throws(TokenRefusal) -> DPoPProof {
        guard proof.count <= Self.largestProofBytes, let parts = CompactToken(proof),
            header.load(base64URL: proof.extracting(0..<parts.headerEnd)),
            payload.load(base64URL: proof.extracting(parts.headerEnd + 1..<parts.payloadEnd))
        else { throw .proofMalformed }
        let (algorithm, key) = try readHeader()
        let claims = try readClaims()
        guard let own = JWKThumbprint.digest(of: key, in: header, by: &digest) else { throw .proofMalformed }
        guard own == thumbprint else { throw .proofOfOtherKey }
        try verifySignature(proof, parts, algorithm, key)
        return claims
    }

    /// The value of `htm`.
    @_lifetime(borrow self)
    public func method(of proof: DPoPProof) -> Span<UInt8> { payload.bytes(of: proof.method) }

    /// The value of `htu`.
    @_lifetime(borrow self)
    public func target(of proof: DPoPProof) -> Span<UInt8> { payload.bytes(of: proof.target) }

    /// The value of `ath`.
    @_lifetime(borrow self)
    public func tokenDigest(of proof: DPoPProof) -> Span<UInt8> { payload.bytes(of: proof.tokenDigest) }

    /// The value of `nonce`; empty where there is none.
    @_lifetime(borrow self)
    public func nonce(of proof: DPoPProof) -> Span<UInt8> {
        proof.nonce < 0 ? Span() : payload.bytes(of: proof.nonce)
    }

    /// What tells a proof from all others: a digest of its key and its `jti`, which is unique among those of one key.
    public mutating func mark(of proof: DPoPProof, key: SHA256Digest) -> SHA256Digest {
        var text: [UInt8] = []
        for word in [key.words.0, key.words.1, key.words.2, key.words.3] {
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                text.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        text += payload.copy(of: proof.identifier)
        return digest.hash(text.span)
    }

    /// The SHA-256 digest of a token, for `ath`.
    public mutating func digest(of token: Span<UInt8>) -> SHA256Digest { digest.hash(token) }

    /// `typ`, `alg` and the node of `jwk`.
    private func readHeader() throws(TokenRefusal) -> (SignatureAlgorithm, key: Int) {
        let fields: TokenHeader
        do throws(TokenRefusal) { fields = try TokenHeader(header) } catch { throw .proofMalformed }
        guard fields.type >= 0, TokenType.matches(header.bytes(of: Int(fields.type)), Self.type.span),
            Self.algorithms.contains(fields.algorithm), let key = header.member(Self.jwk.span, of: 0),
            header.node(key).kind == .object
        else { throw .proofMalformed }
        return (fields.algorithm, key)
    }

    private func readClaims() throws(TokenRefusal) -> DPoPProof {
        let identifier = try string(Self.jti)
        guard (1...Self.largestIdentifierBytes).contains(payload.bytes(of: identifier).count),
            let issued = payload.member(Self.iat.span, of: 0), payload.node(issued).kind == .number,
            let issuedAt = JSONNumber.seconds(payload.bytes(of: issued))
        else { throw .proofMalformed }
        let nonce = payload.member(Self.nonce.span, of: 0)
        return DPoPProof(
            issuedAt: issuedAt, method: try string(Self.htm), target: try string(Self.htu),
            tokenDigest: try string(Self.ath), nonce: nonce == nil ? -1 : try string(Self.nonce),
            identifier: identifier)
    }

    /// The node of a claim that must be there as a string.
    private func string(_ name: [UInt8]) throws(TokenRefusal) -> Int {
        guard let node = payload.member(name.span, of: 0), payload.node(node).kind == .string else {
            throw .proofMalformed
        }
        return node
    }

    private mutating func verifySignature(
        _ proof: Span<UInt8>, _ parts: CompactToken, _ algorithm: SignatureAlgorithm, _ key: Int
    ) throws(TokenRefusal) {
        let parsed: JWKParser.ParsedKey
        // Among others a private key is refused here: whoever shows it proves nothing with it.
        do throws(JWKParser.Refusal) { parsed = try parser.parse(header, key) } catch {
            throw .proofMalformed
        }
        guard parsed.algorithms.contains(algorithm) else { throw .proofMalformed }
        let text = proof.extracting(parts.payloadEnd + 1..<proof.count)
        guard let size = Base64URL.decodedCount(text.count), size <= signature.count,
            Self.decode(text, into: &signature) != nil
        else { throw .proofMalformed }
        let signed = proof.extracting(0..<parts.payloadEnd)
        guard
            parsed.key.verify(
                algorithm, signed: signed, signature: signature.span.extracting(0..<size))
        else { throw .proofBadSignature }
    }

    private static func decode(_ text: Span<UInt8>, into signature: inout [UInt8]) -> Int? {
        var span = signature.mutableSpan
        return Base64URL.decode(text, into: &span)
    }

    private static let type = Array("dpop+jwt".utf8)
    private static let jwk = Array("jwk".utf8)
    private static let htm = Array("htm".utf8)
    private static let htu = Array("htu".utf8)
    private static let ath = Array("ath".utf8)
    private static let iat = Array("iat".utf8)
    private static let jti = Array("jti".utf8)
    private static let nonce = Array("nonce".utf8)
}

/// The thumbprint of a JWK (RFC 7638 §3).
enum JWKThumbprint {
    /// The SHA-256 thumbprint of the public key at a node; nil where a required member is missing or holds what would
    /// have to be escaped.
    static func digest(
        of key: Int, in document: borrowing JSONDocument, by function: inout SHA256
    ) -> SHA256Digest? {
        guard let type = document.member(Array("kty".utf8).span, of: key),
            let members = members(ofType: document.copy(of: type))
        else { return nil }
        // RFC 7638 §3.3: the required members in the order of their names, without white space.
        var text = Array("{".utf8)
        for (place, name) in members.enumerated() {
            guard let node = document.member(Array(name.utf8).span, of: key),
                document.node(node).kind == .string
            else { return nil }
            let value = document.copy(of: node)
            guard
                value.allSatisfy({
                    ASCII.isVisible($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
                })
            else { return nil }
            text += Array((place == 0 ? "\"" : ",\"").utf8) + Array(name.utf8) + Array("\":\"".utf8) + value
            text.append(UInt8(ascii: "\""))
        }
        text.append(UInt8(ascii: "}"))
        return function.hash(text.span)
    }

    private static func members(ofType type: [UInt8]) -> [String]? {
        switch type {
        case Array("EC".utf8): ["crv", "kty", "x", "y"]
        case Array("OKP".utf8): ["crv", "kty", "x"]
        case Array("RSA".utf8): ["e", "kty", "n"]
        default: nil
        }
    }
}
