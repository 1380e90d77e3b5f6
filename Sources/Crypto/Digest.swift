internal import COpenSSL

/// The digests that JOSE signs.
enum DigestKind: Sendable {
    case sha256, sha384, sha512

    var byteCount: Int {
        switch self {
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    var name: String {
        switch self {
        case .sha256: "SHA256"
        case .sha384: "SHA384"
        case .sha512: "SHA512"
        }
    }
}

/// A digest function fetched once and a context that is used again for every message.
@safe final class MessageDigest {
    /// Room for the largest digest, in bytes.
    static let largestByteCount = 64

    let kind: DigestKind
    let function: OpaquePointer
    private let context: OpaquePointer

    init(_ kind: DigestKind) {
        self.kind = kind
        ERR_clear_error()
        // SAFETY: the name is a C string for the call; both objects are owned here and freed in `deinit`.
        guard let function = unsafe EVP_MD_fetch(nil, kind.name, nil), let context = unsafe EVP_MD_CTX_new()
        else {
            preconditionFailure("OpenSSL has no SHA-2")
        }
        unsafe self.function = function
        unsafe self.context = context
    }

    deinit {
        // SAFETY: owned by this object alone.
        unsafe EVP_MD_CTX_free(context)
        unsafe EVP_MD_free(function)
    }

    /// Writes the digest of `bytes` to the front of `output`, which has room for it; false where OpenSSL failed.
    func digest(_ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Bool {
        precondition(output.count >= kind.byteCount)
        ERR_clear_error()
        // SAFETY: the context and function live as long as this object; output's room was checked.
        return unsafe EVP_DigestInit_ex(context, function, nil) == 1
            && EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1
            && EVP_DigestFinal_ex(context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil) == 1
    }
}

/// A SHA-256 digest as a plain value that can be compared, hashed and stored.
public struct SHA256Digest: Hashable, Sendable, BitwiseCopyable {
    /// The 32 bytes as four words in the machine's byte order.
    public var words: (UInt64, UInt64, UInt64, UInt64)

    /// The digest of these words.
    @inlinable
    public init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    /// The digest of these bytes.
    public init(bytes: [32 of UInt8]) {
        self.init(words: (Self.word(bytes, 0), Self.word(bytes, 1), Self.word(bytes, 2), Self.word(bytes, 3)))
    }

    private static func word(_ bytes: [32 of UInt8], _ place: Int) -> UInt64 {
        var word: UInt64 = 0
        for index in 0..<8 { word |= UInt64(bytes[place * 8 + index]) << UInt64(index * 8) }
        return UInt64(littleEndian: word)
    }

    /// True where all 32 bytes are equal.
    @inlinable
    public static func == (a: SHA256Digest, b: SHA256Digest) -> Bool {
        (a.words.0 ^ b.words.0) | (a.words.1 ^ b.words.1) | (a.words.2 ^ b.words.2) | (a.words.3 ^ b.words.3)
            == 0
    }

    /// Feeds the first word: a digest is already uniform.
    @inlinable
    public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// SHA-256 with its context prepared: one for each worker.
public struct SHA256: ~Copyable {
    private let digest = MessageDigest(.sha256)

    /// A hash function of its own.
    public init() {}

    /// The digest of the bytes.
    public mutating func hash(_ bytes: Span<UInt8>) -> SHA256Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let done = unsafe bytes.withUnsafeBytes { input in
            // SAFETY: the tuple's 32 bytes are exactly the digest's.
            unsafe withUnsafeMutableBytes(of: &words) { output in unsafe digest.digest(input, into: output) }
        }
        precondition(done, "SHA-256 of bytes in memory cannot fail")
        return SHA256Digest(words: words)
    }
}
