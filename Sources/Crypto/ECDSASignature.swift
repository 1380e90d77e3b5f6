/// The two forms of an ECDSA signature: r and s side by side in JOSE (RFC 7518 §3.4), a DER SEQUENCE in OpenSSL.
enum ECDSASignature {
    /// The longest DER form in bytes: on P-521 two INTEGERs of 2 + 66 bytes and a header of 3.
    static let largestDERByteCount = 144

    /// Writes the DER form of `raw` to `output`, which has `largestDERByteCount` bytes, and gives its size; nil
    /// unless `raw` is exactly two field elements, each above 0 and below the order (rule J11).
    static func encode(
        _ raw: UnsafeRawBufferPointer, for type: KeyType, into output: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let size = type.fieldByteCount
        guard size > 0, raw.count == 2 * size, output.count >= largestDERByteCount else { return nil }
        let r = unsafe UnsafeRawBufferPointer(rebasing: raw[0..<size])
        let s = unsafe UnsafeRawBufferPointer(rebasing: raw[size...])
        let order = type.order
        guard unsafe isScalar(r, below: order), unsafe isScalar(s, below: order) else { return nil }
        let content = unsafe integerByteCount(r) + integerByteCount(s)
        var written = 0
        func put(_ byte: Int) {
            // SAFETY: Swift checks the index in debug builds; `largestDERByteCount` holds the longest form.
            unsafe output[written] = UInt8(truncatingIfNeeded: byte)
            written += 1
        }
        func putInteger(_ value: UnsafeRawBufferPointer) {
            let first = unsafe value.firstIndex { $0 != 0 } ?? 0
            put(0x02)
            put(unsafe integerByteCount(value) - 2)
            if unsafe value[first] >= 0x80 { put(0) }
            for index in first..<value.count { put(Int(unsafe value[index])) }
        }
        put(0x30)
        if content >= 0x80 { put(0x81) }
        put(content)
        unsafe putInteger(r)
        unsafe putInteger(s)
        return written
    }

    /// True where 0 < value < order. Signatures are public, so that time may depend on them.
    private static func isScalar(_ value: UnsafeRawBufferPointer, below order: [UInt8]) -> Bool {
        guard unsafe value.contains(where: { $0 != 0 }) else { return false }
        for index in 0..<order.count {
            let byte = unsafe value[index]
            if byte != order[index] { return byte < order[index] }
        }
        return false
    }

    /// The bytes of an INTEGER with its tag and length, all below 128.
    private static func integerByteCount(_ value: UnsafeRawBufferPointer) -> Int {
        // SAFETY: the caller lends one half of the signature, never empty, so index `first` is inside.
        let first = unsafe value.firstIndex { $0 != 0 } ?? 0
        return unsafe 2 + value.count - first + (value[first] >= 0x80 ? 1 : 0)
    }
}
