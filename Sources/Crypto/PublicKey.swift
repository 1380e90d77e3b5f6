internal import COpenSSL

/// A public key that verifies signatures: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519.
///
/// Not Sendable: prepared contexts are used again for every signature, so each worker has its own.
@safe public final class PublicKey {
    /// An RSA modulus has at least so many bits (RFC 7518 §3.3).
    public static let smallestModulusBits = 2048
    /// An RSA modulus has at most so many bits: verification at 16384 would cost a millisecond and more.
    public static let largestModulusBits = 8192

    /// The kind of key.
    public let type: KeyType
    private let key: OpaquePointer
    private var contexts: [SignatureContext] = []

    /// Takes over the one reference to `key`, and gives it back where it throws.
    init(adopting key: OpaquePointer) throws(KeyError) {
        do throws(KeyError) {
            type = try unsafe Self.classify(key)
        } catch {
            // SAFETY: ours to free, as nobody else has it.
            unsafe EVP_PKEY_free(key)
            ERR_clear_error()
            throw error
        }
        unsafe self.key = key
    }

    deinit {
        // SAFETY: owned by this object; the contexts hold references of their own.
        unsafe EVP_PKEY_free(key)
    }

    /// The key in a PEM text of label `PUBLIC KEY` (RFC 7468 §13); text in front of it is skipped.
    public convenience init(pem: Span<UInt8>) throws(KeyError) {
        switch PEMLabel.all(in: pem).first {
        case nil: throw .malformedPEM
        case .publicKey: break
        case .privateKey, .other: throw .notAPublicKey
        }
        guard let count = Int32(exactly: pem.count) else { throw .malformedPEM }
        ERR_clear_error()
        // SAFETY: OpenSSL reads `count` bytes of the text and keeps none.
        let read = unsafe pem.withUnsafeBytes { text in unsafe usher_read_public_key(text.baseAddress, count)
        }
        ERR_clear_error()
        guard let read = unsafe read else { throw .malformedPEM }
        try unsafe self.init(adopting: read)
    }

    /// An RSA key from its big-endian modulus and exponent (RFC 7518 §6.3.1).
    public convenience init(modulus: Span<UInt8>, exponent: Span<UInt8>) throws(KeyError) {
        guard modulus.count <= Self.largestModulusBits / 8 + 1 else { throw .modulusTooLarge }
        guard modulus.count >= Self.smallestModulusBits / 8 else { throw .modulusTooSmall }
        guard exponent.count > 0, exponent.count <= 8 else { throw .badExponent }
        ERR_clear_error()
        let made = unsafe modulus.withUnsafeBytes { n in
            // SAFETY: both counts fit after the checks above; OpenSSL copies the numbers.
            unsafe exponent.withUnsafeBytes { e in
                unsafe usher_rsa_public_key(
                    n.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(truncatingIfNeeded: n.count),
                    e.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(truncatingIfNeeded: e.count))
            }
        }
        ERR_clear_error()
        guard let made = unsafe made else { throw .unsupportedKey }
        try unsafe self.init(adopting: made)
    }

    /// A point on P-256, P-384 or P-521, each coordinate exactly as long as the field (RFC 7518 §6.2.1).
    public convenience init(curve: KeyType, x: Span<UInt8>, y: Span<UInt8>) throws(KeyError) {
        guard let group = curve.groupName else { throw .unsupportedKey }
        let size = curve.fieldByteCount
        guard x.count == size, y.count == size else { throw .badCoordinateSize }
        var point: [UInt8] = [0x04]
        for index in 0..<size { point.append(x[index]) }
        for index in 0..<size { point.append(y[index]) }
        ERR_clear_error()
        // SAFETY: the name and the point live for the call; OpenSSL copies both.
        let made = unsafe usher_ec_public_key(group, point, point.count)
        ERR_clear_error()
        guard let made = unsafe made else { throw .pointNotOnCurve }
        try unsafe self.init(adopting: made)
    }

    /// An Ed25519 key from its 32 bytes (RFC 8037 §2).
    public convenience init(ed25519 x: Span<UInt8>) throws(KeyError) {
        guard x.count == 32 else { throw .badCoordinateSize }
        ERR_clear_error()
        let made = unsafe x.withUnsafeBytes { bytes in
            // SAFETY: 32 bytes, which OpenSSL copies.
            unsafe EVP_PKEY_new_raw_public_key(
                EVP_PKEY_ED25519, nil, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        }
        ERR_clear_error()
        guard let made = unsafe made else { throw .unsupportedKey }
        try unsafe self.init(adopting: made)
    }

    /// Prepares for these algorithms as far as they fit, so that the first signature costs no more than others.
    public func prepare(for algorithms: AlgorithmSet) {
        for algorithm in algorithms.intersection(type.algorithms).algorithms { _ = context(for: algorithm) }
    }

    /// True where `signature`, in the form of JOSE, is this key's over `signed`. False too where algorithm and
    /// key do not fit, and where the signature has not exactly the size that they demand (rules J1, J11).
    public func verify(
        _ algorithm: SignatureAlgorithm, signed: Span<UInt8>, signature: Span<UInt8>
    ) -> Bool {
        guard let context = context(for: algorithm) else { return false }
        return unsafe signed.withUnsafeBytes { message in
            unsafe signature.withUnsafeBytes { bytes in unsafe context.verify(message, bytes) }
        }
    }

    /// The key as DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7): the same bytes for the same key; empty where
    /// OpenSSL failed.
    public func encoded() -> [UInt8] {
        ERR_clear_error()
        var output: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_PUBKEY(key, &output)
        ERR_clear_error()
        guard count > 0, let output = unsafe output else { return [] }
        // SAFETY: OpenSSL allocated `count` bytes and gives them to us.
        let bytes = unsafe Array(UnsafeBufferPointer(start: output, count: Int(count)))
        unsafe CRYPTO_free(output, nil, 0)
        return bytes
    }

    private func context(for algorithm: SignatureAlgorithm) -> SignatureContext? {
        for context in contexts where context.algorithm == algorithm { return context }
        guard type.algorithms.contains(algorithm),
            let made = unsafe SignatureContext(key, type, algorithm)
        else { return nil }
        contexts.append(made)
        return made
    }
}

extension PublicKey {
    /// The type of a key that is fit for use; throws what makes it unfit.
    static func classify(_ key: OpaquePointer) throws(KeyError) -> KeyType {
        ERR_clear_error()
        // SAFETY: the key is live for the call.
        switch unsafe EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA:
            let bits = Int(unsafe EVP_PKEY_get_bits(key))
            guard bits >= smallestModulusBits else { throw .modulusTooSmall }
            guard bits <= largestModulusBits else { throw .modulusTooLarge }
            guard unsafe hasGoodExponent(key) else { throw .badExponent }
            return .rsa
        case EVP_PKEY_EC:
            guard let curve = unsafe curve(of: key) else { throw .unsupportedKey }
            guard unsafe usher_check_public_key(key) == 1 else { throw .pointNotOnCurve }
            return curve
        case EVP_PKEY_ED25519:
            guard let point = unsafe edwardsPoint(of: key), !EdwardsPoint.isWeak(point) else {
                throw .weakPoint
            }
            return .ed25519
        default:
            throw .unsupportedKey
        }
    }

    /// The 32 bytes of an Ed25519 key; nil where OpenSSL does not give them.
    private static func edwardsPoint(of key: OpaquePointer) -> [UInt8]? {
        var point = [UInt8](repeating: 0, count: EdwardsPoint.byteCount)
        var count = point.count
        // SAFETY: OpenSSL writes at most the size that is passed.
        guard unsafe EVP_PKEY_get_raw_public_key(key, &point, &count) == 1, count == point.count else {
            return nil
        }
        return point
    }

    private static func hasGoodExponent(_ key: OpaquePointer) -> Bool {
        var exponent: OpaquePointer?
        // SAFETY: OpenSSL makes a number that we free.
        guard unsafe EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 else { return false }
        defer { unsafe BN_free(exponent) }
        let bits = unsafe BN_num_bits(exponent)
        return unsafe BN_is_odd(exponent) == 1 && bits >= 2 && bits <= 64
    }

    private static func curve(of key: OpaquePointer) -> KeyType? {
        var name = [CChar](repeating: 0, count: 64)
        var count = 0
        // SAFETY: OpenSSL writes at most the size that is passed.
        guard unsafe EVP_PKEY_get_group_name(key, &name, name.count, &count) == 1 else { return nil }
        let group = name.prefix(count).map { UInt8(bitPattern: $0) }
        let curves: [KeyType] = [.p256, .p384, .p521]
        return curves.first { curve in curve.groupName.map { Array($0.utf8) == group } ?? false }
    }
}
