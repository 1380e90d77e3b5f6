internal import COpenSSL

/// Comparison whose time depends on the lengths alone (rule J19).
public enum ConstantTime {
    /// True where both have the same bytes. Different lengths are told at once: a length is no secret here.
    public static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        guard a.count > 0 else { return true }
        return unsafe a.withUnsafeBytes { left in
            // SAFETY: both spans have `left.count` bytes, and are not empty.
            unsafe b.withUnsafeBytes { right in
                unsafe CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0
            }
        }
    }
}
