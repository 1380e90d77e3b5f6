internal import Bytes
internal import Crypto

/// The cache of a session as a JWE (RFC 7516 §7.1): `dir` and `A256CBC-HS512`, under keys that are derived from the
/// secrets. What Better Auth would also read and never writes is refused.
struct SealedSession {
    private struct Key {
        let key: EncryptionKey
        /// The thumbprint of the key (RFC 7638), which stands in `kid`.
        let identifier: [UInt8]
        let identity: KeyIdentity
    }

    private let keys: [Key]

    /// Nil where OpenSSL failed.
    init?(_ secrets: [[UInt8]], place: Int) {
        var keys: [Key] = []
        for secret in secrets {
            guard let key = Self.key(secret, place) else { return nil }
            keys.append(key)
        }
        self.keys = keys
    }

    private static func key(_ secret: [UInt8], _ place: Int) -> Key? {
        let derived = HKDF.derive(
            secret: secret, salt: Array("better-auth-session".utf8),
            info: Array("BetterAuth.js Generated Encryption Key".utf8), byteCount: EncryptionKey.byteCount)
        guard let derived, let key = EncryptionKey(derived.span) else { return nil }
        let thumbprint =
            Array("{\"k\":\"".utf8) + encode(derived.span) + Array("\",\"kty\":\"oct\"}".utf8)
        var function = SHA256()
        let digest = function.hash(thumbprint.span)
        var bytes: [UInt8] = []
        for word in [digest.words.0, digest.words.1, digest.words.2, digest.words.3] {
            for shift in stride(from: 0, to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word.littleEndian >> UInt64(shift)))
            }
        }
        return Key(
            key: key, identifier: encode(bytes.span),
            identity: KeyIdentity(issuer: place, keyID: nil, algorithms: [], material: derived))
    }

    private static func encode(_ bytes: Span<UInt8>) -> [UInt8] {
        var text = [UInt8](repeating: 0, count: Base64URL.encodedCount(bytes.count))
        var room = text.mutableSpan
        _ = Base64URL.encode(bytes, into: &room)
        return text
    }

    /// Opens a token into `payload`; the key that did.
    func open(
        _ token: Span<UInt8>, _ header: inout JSONDocument, into payload: inout JSONDocument
    ) throws(TokenRefusal) -> KeyIdentity {
        guard let dots = Self.dots(token), dots[1] == dots[0] + 1,
            header.load(base64URL: token.extracting(0..<dots[0]))
        else { throw .malformed }
        try Self.check(header)
        guard let vector = Self.decode(token.extracting(dots[1] + 1..<dots[2])),
            let ciphertext = Self.decode(token.extracting(dots[2] + 1..<dots[3])),
            let tag = Self.decode(token.extracting(dots[3] + 1..<token.count))
        else { throw .malformed }
        let identifier = header.member(Array("kid".utf8).span, of: 0)
        var isNamed = false
        for candidate in keys {
            if let identifier, !header.equal(identifier, candidate.identifier.span) { continue }
            isNamed = true
            var isOpen = false
            let isRead = payload.load { (room: inout MutableSpan<UInt8>) in
                let count = candidate.key.open(
                    ciphertext.span, vector: vector.span, tag: tag.span,
                    associatedData: token.extracting(0..<dots[0]), into: &room)
                isOpen = count != nil
                return count
            }
            if isRead { return candidate.identity }
            if isOpen { throw .malformed }
        }
        throw isNamed ? .badSignature : .unknownKey
    }

    /// `alg` and `enc` are those that are written, `kid` is a text, and nothing changes the meaning.
    private static func check(_ header: borrowing JSONDocument) throws(TokenRefusal) {
        var (hasAlgorithm, hasEncryption) = (false, false)
        var next = header.firstChild(of: 0)
        while let name = next {
            let isText = header.node(name + 1).kind == .string
            let value = header.bytes(of: name + 1)
            let text = header.bytes(of: name)
            if ASCII.equals(text, "alg") {
                hasAlgorithm = isText && ASCII.equals(value, "dir")
            } else if ASCII.equals(text, "enc") {
                hasEncryption = isText && ASCII.equals(value, "A256CBC-HS512")
            } else if ASCII.equals(text, "kid") {
                guard isText else { throw .malformed }
            } else if ASCII.equals(text, "crit") || ASCII.equals(text, "zip") {
                throw .criticalHeader
            }
            next = header.sibling(after: name + 1, in: 0)
        }
        guard hasAlgorithm, hasEncryption else { throw .algorithmNotAllowed }
    }

    /// The four dots; nil where there are fewer or more.
    private static func dots(_ token: Span<UInt8>) -> [4 of Int]? {
        var dots = [4 of Int](repeating: 0)
        var count = 0
        for index in 0..<token.count where token[index] == UInt8(ascii: ".") {
            guard count < 4 else { return nil }
            dots[count] = index
            count += 1
        }
        return count == 4 ? dots : nil
    }

    private static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        guard let count = Base64URL.decodedCount(text.count) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        var room = bytes.mutableSpan
        return Base64URL.decode(text, into: &room) == nil ? nil : bytes
    }
}
