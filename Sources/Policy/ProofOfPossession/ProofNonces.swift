internal import Bytes
internal import Crypto

/// Nonces that a proof may have to carry (RFC 9449 §8, §9): a time and its code, so that nothing has to be remembered
/// of them.
struct ProofNonces: ~Copyable {
    /// For how long a nonce is accepted.
    static let lifetimeSeconds: Int64 = 300
    /// Of the code: enough that nobody guesses one.
    private static let codeByteCount = 16
    private static let byteCount = 8 + codeByteCount

    private let key: HMACKey

    /// Nonces made with that secret of 32 bytes; nil where OpenSSL failed.
    init?(secret: [UInt8]) {
        guard let key = HMACKey(algorithm: .hs256, secret: secret.span) else { return nil }
        self.key = key
    }

    /// The nonce of that second, as text.
    func nonce(at now: Int64) -> [UInt8] {
        var bytes: [UInt8] = []
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: now >> Int64(shift)))
        }
        var code = [UInt8](repeating: 0, count: HMACKey.largestByteCount)
        var room = code.mutableSpan
        let written = key.authenticate(bytes.span, into: &room)
        precondition(written != nil, "HMAC of bytes in memory cannot fail")
        bytes += code.prefix(Self.codeByteCount)
        var text = [UInt8](repeating: 0, count: Base64URL.encodedCount(bytes.count))
        var output = text.mutableSpan
        _ = Base64URL.encode(bytes.span, into: &output)
        return text
    }

    /// True for a nonce that was made not long ago. One of a worker whose clock is a second ahead is good too.
    func accepts(_ text: Span<UInt8>, now: Int64) -> Bool {
        guard text.count == Base64URL.encodedCount(Self.byteCount) else { return false }
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        var room = bytes.mutableSpan
        guard Base64URL.decode(text, into: &room) == Self.byteCount else { return false }
        let made = bytes.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        // Compared with now first: what is far off may overflow.
        guard made <= now + 2, made > 0, now - made <= Self.lifetimeSeconds else { return false }
        return ConstantTime.equal(nonce(at: made).span, text)
    }
}
