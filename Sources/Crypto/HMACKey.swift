internal import COpenSSL

/// A secret for HMAC with SHA-2 (RFC 2104), with its context prepared: computing costs no key schedule.
///
/// Not Sendable: the context is used again for every message, so each worker has its own.
@safe public final class HMACKey {
    /// The longest code in bytes (HS512).
    public static let largestByteCount = 64

    /// The HMAC algorithm that the key was made for.
    public let algorithm: SignatureAlgorithm
    /// The size of a code in bytes.
    public var byteCount: Int { algorithm.digest.byteCount }
    private let context: OpaquePointer

    /// A key for `algorithm`, which must be one of HMAC; nil where the secret is empty or OpenSSL refused it.
    public init?(algorithm: SignatureAlgorithm, secret: Span<UInt8>) {
        guard algorithm.isHMAC, secret.count > 0 else { return nil }
        ERR_clear_error()
        // SAFETY: a context keeps its own reference to the fetched MAC.
        guard let mac = unsafe EVP_MAC_fetch(nil, "HMAC", nil) else { return nil }
        let made = unsafe EVP_MAC_CTX_new(mac)
        unsafe EVP_MAC_free(mac)
        guard let made = unsafe made else { return nil }
        guard unsafe Self.prepare(made, algorithm.digest, secret) else {
            // SAFETY: owned here, given to nobody.
            unsafe EVP_MAC_CTX_free(made)
            ERR_clear_error()
            return nil
        }
        self.algorithm = algorithm
        unsafe context = made
    }

    deinit {
        // SAFETY: owned by this object alone; OpenSSL cleanses the key.
        unsafe EVP_MAC_CTX_free(context)
    }

    /// Writes the code of `message` to the front of `output`, and gives its size; nil where OpenSSL failed or
    /// `output` is too small.
    public func authenticate(_ message: Span<UInt8>, into output: inout MutableSpan<UInt8>) -> Int? {
        unsafe output.withUnsafeMutableBytes { room in
            unsafe message.withUnsafeBytes { bytes in unsafe compute(bytes, into: room) }
        }
    }

    /// True where `code` is the whole code of `message`; compared in constant time (rule J19).
    public func isValid(_ code: Span<UInt8>, for message: Span<UInt8>) -> Bool {
        guard code.count == byteCount else { return false }
        return unsafe withUnsafeTemporaryAllocation(byteCount: Self.largestByteCount, alignment: 8) { room in
            let computed = unsafe message.withUnsafeBytes { bytes in unsafe compute(bytes, into: room) }
            guard computed == code.count else { return false }
            // SAFETY: both have `code.count` bytes, which is not zero.
            return unsafe code.withUnsafeBytes { given in
                unsafe CRYPTO_memcmp(given.baseAddress, room.baseAddress, given.count) == 0
            }
        }
    }

    private func compute(_ bytes: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) -> Int? {
        guard room.count >= byteCount else { return nil }
        var written = 0
        ERR_clear_error()
        // SAFETY: a null key means the one already set; `room` has the size that is passed.
        let input = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let output = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let done =
            unsafe EVP_MAC_init(context, nil, 0, nil) == 1
            && EVP_MAC_update(context, input, bytes.count) == 1
            && EVP_MAC_final(context, output, &written, room.count) == 1
        return done && written == byteCount ? written : nil
    }

    private static func prepare(_ context: OpaquePointer, _ digest: DigestKind, _ secret: Span<UInt8>) -> Bool
    {
        unsafe secret.withUnsafeBytes { key in
            // SAFETY: OpenSSL copies the key and the digest's name.
            unsafe usher_hmac_init(
                context, digest.name, key.baseAddress?.assumingMemoryBound(to: UInt8.self), key.count) == 1
        }
    }
}
