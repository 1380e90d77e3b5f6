internal import Bytes
public import Crypto

/// Why a token could not be signed.
public enum SigningError: Error, Equatable, Sendable {
    /// The key and the algorithm do not belong together.
    case algorithmDoesNotFitKey
    /// An HMAC secret of fewer than 32 bytes.
    case secretTooShort
    /// The PEM text holds no usable private key.
    case badKey(KeyError)
    /// The payload is not a strict JSON object.
    case malformedPayload
    /// A claim is named twice, or is one that the minter sets itself.
    case reservedClaim(String)
    /// A lifetime that is not positive.
    case badLifetime
    /// OpenSSL failed.
    case signingFailed
}

/// Signs compact tokens (RFC 7515 §7.1) with any of the algorithms: for `usher token sign` and for tests.
public struct CompactTokenSigner {
    /// What signs.
    public enum Key: Sendable {
        /// A secret for HMAC, at least 32 bytes.
        case secret([UInt8])
        /// A private key as PEM text without a pass phrase.
        case privateKeyPEM([UInt8])
    }

    private enum Material {
        case secret(HMACKey)
        case privateKey(PrivateKey)
    }

    private let algorithm: SignatureAlgorithm
    private let material: Material
    private let header: [UInt8]

    /// A signer whose tokens have this `alg`, and `kid` and `typ` where they are not nil.
    public init(
        algorithm: SignatureAlgorithm, key: Key, keyID: String? = nil, type: String? = "JWT"
    ) throws(SigningError) {
        self.algorithm = algorithm
        header = TokenHeader.text(algorithm, keyID: keyID, type: type)
        switch key {
        case .secret(let secret):
            guard secret.count >= KeySet.smallestSecretBytes else { throw .secretTooShort }
            guard let key = HMACKey(algorithm: algorithm, secret: secret.span) else {
                throw .algorithmDoesNotFitKey
            }
            material = .secret(key)
        case .privateKeyPEM(let pem):
            let key: PrivateKey
            do throws(KeyError) { key = try PrivateKey(pem: pem.span) } catch { throw .badKey(error) }
            guard key.type.algorithms.contains(algorithm) else { throw .algorithmDoesNotFitKey }
            material = .privateKey(key)
        }
    }

    /// The token for this payload, the UTF-8 text of a strict JSON object.
    public func sign(payload: Span<UInt8>) throws(SigningError) -> [UInt8] {
        var document = JSONDocument(capacity: payload.count, limits: .keySet)
        guard document.load(payload) else { throw .malformedPayload }
        return try sign(header: header.span, payload: payload)
    }

    /// The token of these two texts, whatever they are: tests need wrong ones.
    func sign(header: Span<UInt8>, payload: Span<UInt8>) throws(SigningError) -> [UInt8] {
        var token: [UInt8] = []
        token.append(base64URL: header)
        token.append(0x2e)
        token.append(base64URL: payload)
        let signature = try signature(of: token.span)
        token.append(0x2e)
        token.append(base64URL: signature.span)
        return token
    }

    private func signature(of signed: Span<UInt8>) throws(SigningError) -> [UInt8] {
        switch material {
        case .secret(let key):
            var code = [UInt8](repeating: 0, count: key.byteCount)
            var span = code.mutableSpan
            guard key.authenticate(signed, into: &span) != nil else { throw .signingFailed }
            return code
        case .privateKey(let key):
            do throws(KeyError) { return try key.sign(algorithm, signed) } catch { throw .signingFailed }
        }
    }
}

extension TokenHeader {
    /// The JSON text of a header.
    static func text(_ algorithm: SignatureAlgorithm, keyID: String?, type: String?) -> [UInt8] {
        var text = Array("{\"alg\":".utf8)
        JSONWriter.append(string: "\(algorithm.name)", to: &text)
        if let type {
            text += Array(",\"typ\":".utf8)
            JSONWriter.append(string: type, to: &text)
        }
        if let keyID {
            text += Array(",\"kid\":".utf8)
            JSONWriter.append(string: keyID, to: &text)
        }
        text.append(0x7d)
        return text
    }
}

extension [UInt8] {
    /// Appends the base64url text of the bytes.
    mutating func append(base64URL bytes: Span<UInt8>) {
        let start = count
        let size = Base64URL.encodedCount(bytes.count)
        append(contentsOf: repeatElement(0, count: size))
        var span = mutableSpan
        let written = Base64URL.encode(bytes, into: &span, at: start)
        precondition(written == size, "the room is exactly as large as the text")
    }
}
