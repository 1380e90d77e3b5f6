internal import COpenSSL

/// Random bytes from OpenSSL's generator, which every thread seeds for itself.
public enum Random {
    /// Fills `bytes`; false where the generator failed, and then the bytes must not be used.
    public static func fill(_ bytes: inout MutableSpan<UInt8>) -> Bool {
        guard let count = Int32(exactly: bytes.count) else { return false }
        ERR_clear_error()
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            // SAFETY: the buffer has `count` bytes.
            unsafe RAND_bytes(buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), count) == 1
        }
    }

    /// 64 random bits; nil where the generator failed.
    public static func uint64() -> UInt64? {
        var value: UInt64 = 0
        ERR_clear_error()
        let done = unsafe withUnsafeMutableBytes(of: &value) { buffer in
            // SAFETY: the eight bytes of `value`.
            unsafe RAND_bytes(buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), 8) == 1
        }
        return done ? value : nil
    }
}
