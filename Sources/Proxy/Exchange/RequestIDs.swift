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
    mutating func next() -> RequestID {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        let halves = (prefix ^ (mixed &* 0xFF51_AFD7_ED55_8CCD), mixed)
        return RequestID(
            words: [
                Hexadecimal.digits(of: UInt32(truncatingIfNeeded: halves.0 &>> 32)),
                Hexadecimal.digits(of: UInt32(truncatingIfNeeded: halves.0)),
                Hexadecimal.digits(of: UInt32(truncatingIfNeeded: halves.1 &>> 32)),
                Hexadecimal.digits(of: UInt32(truncatingIfNeeded: halves.1)),
            ])
    }

    /// 64 random bits, never all zero: what names a span, and decides whether a trace is recorded.
    mutating func number() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state ^ prefix
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return mixed == 0 ? 1 : mixed
    }
}

/// The name of a request as 32 hexadecimal digits, eight in each word, the first in its lowest byte.
struct RequestID {
    let words: InlineArray<4, UInt64>

    /// Adds the digits; false where they do not fit.
    func append(to buffer: inout Buffer) -> Bool {
        guard buffer.room >= 32 else { return false }
        return buffer.append(word: words[0]) && buffer.append(word: words[1]) && buffer.append(word: words[2])
            && buffer.append(word: words[3])
    }
}
