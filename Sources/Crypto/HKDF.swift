internal import Bytes

/// Key derivation with HMAC-SHA256 (RFC 5869).
public enum HKDF {
    /// `byteCount` bytes, at most 255 times 32, out of a secret; nil where the secret or the salt is empty, or OpenSSL
    /// failed.
    public static func derive(
        secret: [UInt8], salt: [UInt8], info: [UInt8], byteCount: Int
    ) -> [UInt8]? {
        precondition(byteCount > 0 && byteCount <= 255 * 32)
        guard !secret.isEmpty, let extract = code(of: secret, under: salt) else { return nil }
        var output: [UInt8] = []
        var block: [UInt8] = []
        var counter: UInt8 = 1
        while output.count < byteCount {
            guard let next = code(of: block + info + [counter], under: extract) else { return nil }
            block = next
            output += next
            counter &+= 1
        }
        return Array(output.prefix(byteCount))
    }

    private static func code(of message: [UInt8], under secret: [UInt8]) -> [UInt8]? {
        guard let key = HMACKey(algorithm: .hs256, secret: secret.span) else { return nil }
        var code = [UInt8](repeating: 0, count: key.byteCount)
        var room = code.mutableSpan
        return key.authenticate(message.span, into: &room) == nil ? nil : code
    }
}
