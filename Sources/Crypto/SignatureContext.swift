internal import COpenSSL

/// One key prepared for one algorithm: what OpenSSL can do once is not done again for each signature.
@safe final class SignatureContext {
    let algorithm: SignatureAlgorithm
    private let type: KeyType
    /// The bytes of a signature: the modulus of RSA, two field elements of ECDSA, 64 of Ed25519.
    private let signatureByteCount: Int
    private let digest: MessageDigest
    /// For RSA and ECDSA, which sign a digest.
    private let key: OpaquePointer?
    /// For Ed25519, which signs the message itself.
    private let message: OpaquePointer?

    /// nil where OpenSSL refuses the combination. The caller has checked that algorithm and key fit.
    init?(_ publicKey: OpaquePointer, _ type: KeyType, _ algorithm: SignatureAlgorithm) {
        self.algorithm = algorithm
        self.type = type
        digest = MessageDigest(algorithm.digest)
        ERR_clear_error()
        // SAFETY: the contexts take their own references to the key and the digest.
        if algorithm == .edDSA {
            unsafe key = nil
            unsafe message = EVP_MD_CTX_new()
            signatureByteCount = 64
            guard unsafe message != nil, unsafe EVP_DigestVerifyInit(message, nil, nil, nil, publicKey) == 1
            else { return nil }
        } else {
            unsafe message = nil
            unsafe key = EVP_PKEY_CTX_new_from_pkey(nil, publicKey, nil)
            signatureByteCount =
                type == .rsa ? Int(unsafe EVP_PKEY_get_size(publicKey)) : 2 * type.fieldByteCount
            guard unsafe key != nil, unsafe EVP_PKEY_verify_init(key) == 1, setParameters() else {
                return nil
            }
        }
    }

    deinit {
        // SAFETY: owned by this object alone; both functions accept nil.
        unsafe EVP_PKEY_CTX_free(key)
        unsafe EVP_MD_CTX_free(message)
    }

    private func setParameters() -> Bool {
        // SAFETY: key is set for these algorithms; the digest outlives the context.
        if type == .rsa {
            let padding = algorithm.isPSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING
            guard unsafe EVP_PKEY_CTX_set_rsa_padding(key, padding) == 1 else { return false }
        }
        guard unsafe EVP_PKEY_CTX_set_signature_md(key, digest.function) == 1 else { return false }
        guard algorithm.isPSS else { return true }
        return unsafe EVP_PKEY_CTX_set_rsa_mgf1_md(key, digest.function) == 1
            && EVP_PKEY_CTX_set_rsa_pss_saltlen(key, RSA_PSS_SALTLEN_DIGEST) == 1
    }

    /// True where `signature` is this key's over `signed`. Leaves nothing on the error queue (rule J18).
    func verify(_ signed: UnsafeRawBufferPointer, _ signature: UnsafeRawBufferPointer) -> Bool {
        guard signature.count == signatureByteCount else { return false }
        ERR_clear_error()
        let holds =
            algorithm == .edDSA
            ? unsafe verifyMessage(signed, signature) : unsafe verifyDigest(signed, signature)
        if !holds { ERR_clear_error() }
        return holds
    }

    private func verifyMessage(_ signed: UnsafeRawBufferPointer, _ signature: UnsafeRawBufferPointer) -> Bool
    {
        // SAFETY: both buffers are as long as said; nil for the key keeps the one that is set.
        unsafe EVP_DigestVerifyInit(message, nil, nil, nil, nil) == 1
            && EVP_DigestVerify(
                message, signature.baseAddress?.assumingMemoryBound(to: UInt8.self), signature.count,
                signed.baseAddress?.assumingMemoryBound(to: UInt8.self), signed.count) == 1
    }

    private func verifyDigest(_ signed: UnsafeRawBufferPointer, _ signature: UnsafeRawBufferPointer) -> Bool {
        let room = MessageDigest.largestByteCount + ECDSASignature.largestDERByteCount
        return unsafe withUnsafeTemporaryAllocation(byteCount: room, alignment: 8) { memory in
            // SAFETY: `memory` has room for the largest digest and, behind it, the largest DER signature.
            let hash = unsafe UnsafeMutableRawBufferPointer(
                rebasing: memory[..<MessageDigest.largestByteCount])
            guard unsafe digest.digest(signed, into: hash) else { return false }
            var encoded = unsafe signature
            if type != .rsa {
                let der = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: memory[MessageDigest.largestByteCount...])
                guard let count = unsafe ECDSASignature.encode(signature, for: type, into: der) else {
                    return false
                }
                unsafe encoded = UnsafeRawBufferPointer(rebasing: der[..<count])
            }
            return unsafe EVP_PKEY_verify(
                key, encoded.baseAddress?.assumingMemoryBound(to: UInt8.self), encoded.count,
                hash.baseAddress?.assumingMemoryBound(to: UInt8.self), digest.kind.byteCount) == 1
        }
    }
}
