internal import COpenSSL

/// A private key that signs: for development tokens and for tests, never on the request path.
@safe public final class PrivateKey {
    /// The kind of key.
    public let type: KeyType
    private let key: OpaquePointer

    private init(adopting key: OpaquePointer) throws(KeyError) {
        do throws(KeyError) {
            type = try unsafe PublicKey.classify(key)
        } catch {
            // SAFETY: ours to free, as nobody else has it.
            unsafe EVP_PKEY_free(key)
            ERR_clear_error()
            throw error
        }
        unsafe self.key = key
    }

    deinit {
        // SAFETY: owned by this object alone; OpenSSL cleanses it.
        unsafe EVP_PKEY_free(key)
    }

    /// The key in a PEM text without a pass phrase: PKCS #8, or OpenSSL's older forms for RSA and EC.
    public convenience init(pem: Span<UInt8>) throws(KeyError) {
        guard !PEMLabel.all(in: pem).isEmpty, let count = Int32(exactly: pem.count) else {
            throw .malformedPEM
        }
        ERR_clear_error()
        // SAFETY: OpenSSL reads `count` bytes of the text and keeps none.
        let read = unsafe pem.withUnsafeBytes { text in unsafe usher_read_private_key(text.baseAddress, count)
        }
        ERR_clear_error()
        guard let read = unsafe read else { throw .malformedPEM }
        try unsafe self.init(adopting: read)
    }

    /// A new key of that type; `modulusBits` matters for RSA alone.
    public convenience init(generating type: KeyType, modulusBits: Int = 2048) throws(KeyError) {
        ERR_clear_error()
        // SAFETY: the names live for the calls; the key is ours.
        let made: OpaquePointer? =
            switch type {
            case .rsa: unsafe usher_generate_rsa_key(modulusBits)
            case .ed25519: unsafe usher_generate_ed25519_key()
            case .p256, .p384, .p521: unsafe usher_generate_ec_key(type.groupName ?? "")
            }
        ERR_clear_error()
        guard let made = unsafe made else { throw .operationFailed }
        try unsafe self.init(adopting: made)
    }

    /// The public half.
    public func publicKey() throws(KeyError) -> PublicKey {
        // SAFETY: the public half reads and verifies only; it holds a reference of its own.
        guard unsafe EVP_PKEY_up_ref(key) == 1 else { throw .operationFailed }
        return try unsafe PublicKey(adopting: key)
    }

    /// Calls `body` with OpenSSL's own handle: for tests, which write and misuse keys.
    func withHandle<R>(_ body: (OpaquePointer) -> R) -> R { unsafe body(key) }

    /// The signature of `message` in the form of JOSE: r and s side by side for ECDSA.
    public func sign(_ algorithm: SignatureAlgorithm, _ message: Span<UInt8>) throws(KeyError) -> [UInt8] {
        guard type.algorithms.contains(algorithm) else { throw .algorithmDoesNotFit }
        let signature = unsafe message.withUnsafeBytes { bytes in unsafe encoded(algorithm, bytes) }
        ERR_clear_error()
        guard let signature else { throw .operationFailed }
        guard type.fieldByteCount > 0 else { return signature }
        guard let raw = Self.rawECDSA(signature, type.fieldByteCount) else { throw .operationFailed }
        return raw
    }

    /// The signature in OpenSSL's form.
    private func encoded(_ algorithm: SignatureAlgorithm, _ message: UnsafeRawBufferPointer) -> [UInt8]? {
        let digest = MessageDigest(algorithm.digest)
        ERR_clear_error()
        // SAFETY: all objects live until the context is freed at the end; sizes are those of the buffers.
        let context = unsafe EVP_MD_CTX_new()
        defer { unsafe EVP_MD_CTX_free(context) }
        var parameters: OpaquePointer?
        let function = unsafe algorithm == .edDSA ? nil : digest.function
        guard unsafe EVP_DigestSignInit(context, &parameters, function, nil, key) == 1 else { return nil }
        if algorithm.isPSS {
            guard unsafe EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1,
                unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1
            else { return nil }
        }
        var output = [UInt8](repeating: 0, count: Int(unsafe EVP_PKEY_get_size(key)))
        var count = output.count
        let bytes = unsafe message.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard unsafe EVP_DigestSign(context, &output, &count, bytes, message.count) == 1 else { return nil }
        return Array(output.prefix(count))
    }

    private static func rawECDSA(_ der: [UInt8], _ size: Int) -> [UInt8]? {
        unsafe der.withUnsafeBufferPointer { bytes in
            // SAFETY: OpenSSL reads `bytes.count` bytes; r and s belong to the parsed signature, freed at the end.
            var start = bytes.baseAddress
            guard let parsed = unsafe d2i_ECDSA_SIG(nil, &start, bytes.count) else { return nil }
            defer { unsafe ECDSA_SIG_free(parsed) }
            var r = [UInt8](repeating: 0, count: size)
            var s = r
            guard unsafe BN_bn2binpad(ECDSA_SIG_get0_r(parsed), &r, Int32(size)) == Int32(size),
                unsafe BN_bn2binpad(ECDSA_SIG_get0_s(parsed), &s, Int32(size)) == Int32(size)
            else { return nil }
            return r + s
        }
    }
}
