internal import Bytes

/// Makes names for requests that bear none: 128 random bits as 32 hexadecimal digits.
///
/// They name requests in logs and need not be secret, only distinct, also between workers and restarts; so a fast
/// generator, seeded by the system, is enough (SplitMix64, Steele et al. 2014).
struct RequestIDs {
    private var state: UInt64
    private let prefix: UInt64

    init() {
        var system = SystemRandomNumberGenerator()
        state = system.next()
        prefix = system.next()
    }

    /// The next name.
    mutating func next() -> InlineArray<32, UInt8> {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        let halves = (prefix ^ (mixed &* 0xFF51_AFD7_ED55_8CCD), mixed)
        return InlineArray { position in
            let half = position < 16 ? halves.0 : halves.1
            let digit = UInt8(truncatingIfNeeded: half >> UInt64(60 - position % 16 * 4)) & 15
            return digit < 10 ? 48 + digit : 87 + digit
        }
    }
}
