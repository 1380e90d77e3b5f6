internal import Bytes
internal import Crypto

/// Reads one JSON Web Key (RFC 7517 §4) as a key that verifies signatures, or says why it never will.
struct JWKParser: ~Copyable {
    /// A `kid` may have at most as many bytes: a token that names a longer one finds nothing.
    static let largestKeyIDBytes = 1024

    struct ParsedKey {
        let keyID: [UInt8]?
        let algorithms: AlgorithmSet
        let key: PublicKey
    }

    struct Refusal: Error {
        let reason: String

        init(_ reason: StaticString) { self.reason = "\(reason)" }
    }

    /// Room for a decoded number: a modulus of the largest RSA key, and a leading zero or two.
    private var scratch = [UInt8](repeating: 0, count: PublicKey.largestModulusBits / 8 + 64)

    /// The key at the node of a set's document (rule J23).
    mutating func parse(_ document: borrowing JSONDocument, _ node: Int) throws(Refusal) -> ParsedKey {
        guard document.node(node).kind == .object else { throw Refusal("not an object") }
        try checkUse(document, node)
        if document.member(Self.d.span, of: node) != nil { throw Refusal("it holds a private key") }
        let keyID = try self.keyID(document, node)
        let key = try self.key(document, node)
        var algorithms = key.type.algorithms
        if let alg = document.member(Self.alg.span, of: node) {
            guard document.node(alg).kind == .string,
                let named = SignatureAlgorithm(name: document.bytes(of: alg))
            else { throw Refusal("unsupported alg") }
            guard algorithms.contains(named) else { throw Refusal("alg contradicts kty or crv") }
            algorithms = AlgorithmSet(named)
        }
        return ParsedKey(keyID: keyID, algorithms: algorithms, key: key)
    }

    /// `use` and `key_ops` may be absent, but must not exclude verification (RFC 7517 §4.2, §4.3).
    private func checkUse(_ document: borrowing JSONDocument, _ node: Int) throws(Refusal) {
        if let use = document.member(Self.use.span, of: node) {
            guard document.node(use).kind == .string, document.equal(use, Self.sig.span) else {
                throw Refusal("use is not sig")
            }
        }
        guard let operations = document.member(Self.keyOperations.span, of: node) else { return }
        var element = document.firstElement(of: document.claim(operations))
        while let current = element {
            if current.kind == .string, document.equal(Int(current.node), Self.verify.span) { return }
            element = document.element(after: current, in: document.claim(operations))
        }
        throw Refusal("key_ops without verify")
    }

    private func keyID(_ document: borrowing JSONDocument, _ node: Int) throws(Refusal) -> [UInt8]? {
        guard let kid = document.member(Self.kid.span, of: node) else { return nil }
        guard document.node(kid).kind == .string else { throw Refusal("kid is not a string") }
        guard document.node(kid).count <= Self.largestKeyIDBytes else { throw Refusal("kid too long") }
        return document.copy(of: kid)
    }

    private mutating func key(_ document: borrowing JSONDocument, _ node: Int) throws(Refusal) -> PublicKey {
        guard let type = document.member(Self.kty.span, of: node), document.node(type).kind == .string else {
            throw Refusal("no kty")
        }
        if document.equal(type, Self.oct.span) { throw Refusal("a secret (kty oct), and no public key") }
        do throws(KeyError) {
            switch document.copy(of: type) {
            case Array("RSA".utf8):
                let modulus = try number(document, node, Self.n)
                let exponent = try number(document, node, Self.e)
                return try PublicKey(modulus: modulus.span, exponent: exponent.span)
            case Array("EC".utf8):
                let curve = try curve(document, node)
                let x = try number(document, node, Self.x)
                let y = try number(document, node, Self.y)
                return try PublicKey(curve: curve, x: x.span, y: y.span)
            case Array("OKP".utf8):
                guard let crv = document.member(Self.crv.span, of: node),
                    document.equal(crv, Self.ed25519.span)
                else {
                    throw .unsupportedKey
                }
                let x = try number(document, node, Self.x)
                return try PublicKey(ed25519: x.span)
            default: throw .unsupportedKey
            }
        } catch {
            throw Refusal(error.reason)
        }
    }

    private func curve(_ document: borrowing JSONDocument, _ node: Int) throws(KeyError) -> KeyType {
        guard let crv = document.member(Self.crv.span, of: node), document.node(crv).kind == .string else {
            throw .unsupportedKey
        }
        switch document.copy(of: crv) {
        case Array("P-256".utf8): return .p256
        case Array("P-384".utf8): return .p384
        case Array("P-521".utf8): return .p521
        default: throw .unsupportedKey
        }
    }

    private mutating func number(
        _ document: borrowing JSONDocument, _ node: Int, _ name: [UInt8]
    ) throws(KeyError) -> [UInt8] {
        guard let value = document.member(name.span, of: node), document.node(value).kind == .string else {
            throw .unsupportedKey
        }
        return try Self.decode(document.bytes(of: value), into: &scratch)
    }

    private static func decode(_ text: Span<UInt8>, into scratch: inout [UInt8]) throws(KeyError) -> [UInt8] {
        var span = scratch.mutableSpan
        guard let count = Base64URL.decode(text, into: &span) else { throw .unsupportedKey }
        return Array(scratch.prefix(count))
    }

    private static let d = Array("d".utf8)
    private static let alg = Array("alg".utf8)
    private static let use = Array("use".utf8)
    private static let sig = Array("sig".utf8)
    private static let keyOperations = Array("key_ops".utf8)
    private static let verify = Array("verify".utf8)
    private static let kid = Array("kid".utf8)
    private static let kty = Array("kty".utf8)
    private static let oct = Array("oct".utf8)
    private static let crv = Array("crv".utf8)
    private static let ed25519 = Array("Ed25519".utf8)
    private static let n = Array("n".utf8)
    private static let e = Array("e".utf8)
    private static let x = Array("x".utf8)
    private static let y = Array("y".utf8)
}
