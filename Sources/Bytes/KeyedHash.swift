/// A 64-bit hash of bytes under a secret seed, for tables whose keys come from outside.
///
/// Not a digest: equal hashes say nothing, the owner of a table always compares the whole key. The seed keeps
/// whoever chooses the keys from choosing their places.
public struct KeyedHash: Sendable, BitwiseCopyable {
    private let first: UInt64
    private let second: UInt64

    /// A hash under that seed, which must be random and is drawn anew for each table.
    public init(seed: (UInt64, UInt64)) {
        // Odd, so that no multiplication below loses bits for good.
        first = seed.0 | 1
        second = seed.1 | 1
    }

    /// The hash of these bytes, read in two lanes of sixteen at a time: one product has to wait for the one before in
    /// its lane, but not for the other lane's.
    public func callAsFunction(_ bytes: Span<UInt8>) -> UInt64 {
        // Folded in before any byte: the count is small, and must not cancel out against the last ones.
        var state = Self.fold(first ^ UInt64(truncatingIfNeeded: bytes.count), second)
        var other = state ^ Self.finalFactor
        var offset = 0
        unsafe bytes.withUnsafeBytes { memory in
            // SAFETY: the 32 bytes from `offset` lie in the span; loads need no alignment.
            while offset &+ 32 <= memory.count {
                state = unsafe Self.fold(
                    state ^ memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self),
                    second ^ memory.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self))
                other = unsafe Self.fold(
                    other ^ memory.loadUnaligned(fromByteOffset: offset &+ 16, as: UInt64.self),
                    first ^ memory.loadUnaligned(fromByteOffset: offset &+ 24, as: UInt64.self))
                offset &+= 32
            }
        }
        state ^= Self.fold(other, second)
        while offset <= bytes.count &- 8 {
            state = Self.fold(state ^ ASCII.word(bytes, at: offset), second)
            offset &+= 8
        }
        state = Self.fold(state ^ ASCII.word(bytes, at: offset, count: bytes.count &- offset), second ^ first)
        return Self.fold(state ^ first, Self.finalFactor)
    }

    /// The hash of three numbers.
    public func callAsFunction(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64 {
        var state = Self.fold(first ^ a, second)
        state = Self.fold(state ^ b, second)
        state = Self.fold(state ^ c, second ^ first)
        return Self.fold(state ^ first, Self.finalFactor)
    }

    /// An odd number with its bits evenly spread (2^64 divided by the golden ratio): the last factor must not be
    /// one that leaves the state as it is.
    private static var finalFactor: UInt64 { 0x9E37_79B9_7F4A_7C15 }

    /// The two halves of the full product, folded: every bit of both factors reaches every bit of the result.
    @inline(__always)
    private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low ^ a
    }
}
