internal import COpenSSL

/// SHA-1, which the handshake of WebSocket is answered with (RFC 6455 §4.2.2). It protects nothing there, and nothing
/// else here uses it.
public enum SHA1 {
    /// The digest of the bytes; nil where OpenSSL has none.
    public static func hash(_ bytes: Span<UInt8>) -> [20 of UInt8]? {
        var digest: [20 of UInt8] = .init(repeating: 0)
        ERR_clear_error()
        let done = unsafe bytes.withUnsafeBytes { input in
            // SAFETY: the array has the 20 bytes of the digest; input and output are live for the length of the call.
            unsafe withUnsafeMutableBytes(of: &digest) { output in
                unsafe EVP_Digest(
                    input.baseAddress, input.count, output.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    nil,
                    EVP_sha1(), nil) == 1
            }
        }
        return done ? digest : nil
    }
}
