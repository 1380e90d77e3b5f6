/// A 64-bit hash of bytes under a secret seed, for tables whose keys come from outside.
///
/// Not a digest: equal hashes say nothing, the owner of a table always compares the whole key. The seed keeps
/// whoever chooses the keys from choosing their places.
public struct KeyedHash: Sendable, BitwiseCopyable {
    private let first: UInt64
    private let second: UInt64

    /// A hash under that seed, which must be random and is drawn once a process.
    public init(seed: (UInt64, UInt64)) {
        // Odd, so that no multiplication below loses bits for good.
        first = seed.0 | 1
        second = seed.1 | 1
    }

    /// The hash of these bytes, read eight at a time.
    public func callAsFunction(_ bytes: Span<UInt8>) -> UInt64 {
        // Folded in before any byte: the count is small, and must not cancel out against the last ones.
        var state = Self.fold(first ^ UInt64(truncatingIfNeeded: bytes.count), second)
        unsafe bytes.withUnsafeBytes { memory in
            var offset = 0
            while offset &+ 8 <= memory.count {
                // SAFETY: the eight bytes from `offset` lie in the span; the load needs no alignment.
                let word = unsafe memory.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                state = Self.fold(state ^ word, second)
                offset &+= 8
            }
            var word: UInt64 = 0
            while offset < memory.count {
                // SAFETY: offset < count.
                word = unsafe word << 8 | UInt64(memory[offset])
                offset &+= 1
            }
            state = Self.fold(state ^ word, second ^ first)
        }
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
