internal import Bytes
internal import COpenSSL

/// A key for AES-256-CBC with HMAC-SHA512 (RFC 7518 §5.2.5), for opening what others have sealed.
///
/// Not Sendable: its contexts are used again for every message, so each worker has its own.
@safe public final class EncryptionKey {
    /// The size of a key: half of it authenticates, half of it encrypts.
    public static let byteCount = 64
    /// The size of an initialization vector.
    public static let vectorByteCount = 16
    /// The size of an authentication tag.
    public static let tagByteCount = 32

    private let authentication: HMACKey
    private let cipher: OpaquePointer
    private let context: OpaquePointer
    private let key: [UInt8]

    /// The key of these 64 bytes; nil for any other count, or where OpenSSL failed.
    public init?(_ key: Span<UInt8>) {
        guard key.count == Self.byteCount,
            let authentication = HMACKey(algorithm: .hs512, secret: key.extracting(0..<32))
        else { return nil }
        ERR_clear_error()
        // SAFETY: the names are C strings for the call; both objects are owned here and freed in `deinit`.
        guard let cipher = unsafe EVP_CIPHER_fetch(nil, "AES-256-CBC", nil) else { return nil }
        guard let context = unsafe EVP_CIPHER_CTX_new() else {
            // SAFETY: owned here, given to nobody.
            unsafe EVP_CIPHER_free(cipher)
            return nil
        }
        self.authentication = authentication
        unsafe self.cipher = cipher
        unsafe self.context = context
        self.key = (32..<64).map { key[$0] }
    }

    deinit {
        // SAFETY: owned by this object alone; OpenSSL cleanses the key.
        unsafe EVP_CIPHER_CTX_free(context)
        unsafe EVP_CIPHER_free(cipher)
    }

    /// Writes the plaintext to the front of `output`, which has room for the whole ciphertext, and gives its size.
    /// Nil where the tag is not the one of exactly these bytes: then nothing was decrypted.
    public func open(
        _ ciphertext: Span<UInt8>, vector: Span<UInt8>, tag: Span<UInt8>, associatedData: Span<UInt8>,
        into output: inout MutableSpan<UInt8>
    ) -> Int? {
        guard vector.count == Self.vectorByteCount, ciphertext.count > 0, ciphertext.count % 16 == 0,
            output.count >= ciphertext.count, isAuthentic(ciphertext, vector, tag, associatedData)
        else { return nil }
        return decrypt(ciphertext, vector, into: &output)
    }

    /// Compares the tag in constant time, before anything is decrypted.
    private func isAuthentic(
        _ ciphertext: Span<UInt8>, _ vector: Span<UInt8>, _ tag: Span<UInt8>, _ associatedData: Span<UInt8>
    ) -> Bool {
        guard tag.count == Self.tagByteCount else { return false }
        var input = ByteArray()
        input.append(associatedData)
        input.append(vector)
        input.append(ciphertext)
        let bits = UInt64(associatedData.count) * 8
        for shift in stride(from: 56, through: 0, by: -8) {
            input.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        var code = [64 of UInt8](repeating: 0)
        var room = code.mutableSpan
        guard authentication.authenticate(input.span, into: &room) == 64 else { return false }
        return ConstantTime.equal(code.span.extracting(0..<Self.tagByteCount), tag)
    }

    private func decrypt(
        _ ciphertext: Span<UInt8>, _ vector: Span<UInt8>, into output: inout MutableSpan<UInt8>
    ) -> Int? {
        ERR_clear_error()
        defer { ERR_clear_error() }
        // SAFETY: the four memories are borrowed for the call.
        return unsafe output.withUnsafeMutableBytes { room in
            unsafe key.withUnsafeBytes { key in
                unsafe vector.withUnsafeBytes { vector in
                    unsafe ciphertext.withUnsafeBytes { bytes in
                        unsafe decrypt(bytes, key, vector, room)
                    }
                }
            }
        }
    }

    private func decrypt(
        _ bytes: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer, _ vector: UnsafeRawBufferPointer,
        _ room: UnsafeMutableRawBufferPointer
    ) -> Int? {
        func octets(_ memory: UnsafeRawBufferPointer) -> UnsafePointer<UInt8>? {
            // SAFETY: bytes are read as what they are.
            unsafe memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
        }
        // SAFETY: key and vector have the sizes of the cipher, and the room is at least as large as the ciphertext,
        // which a decryption never outgrows.
        guard let target = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
        var written: Int32 = 0
        var rest: Int32 = 0
        let done =
            unsafe EVP_DecryptInit_ex2(context, cipher, octets(key), octets(vector), nil) == 1
            && EVP_DecryptUpdate(context, target, &written, octets(bytes), Int32(bytes.count)) == 1
            && EVP_DecryptFinal_ex(context, target + Int(written), &rest) == 1
        return done ? Int(written + rest) : nil
    }
}
