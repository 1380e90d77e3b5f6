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
                Self.hexadecimal(UInt32(truncatingIfNeeded: halves.0 &>> 32)),
                Self.hexadecimal(UInt32(truncatingIfNeeded: halves.0)),
                Self.hexadecimal(UInt32(truncatingIfNeeded: halves.1 &>> 32)),
                Self.hexadecimal(UInt32(truncatingIfNeeded: halves.1)),
            ])
    }

    /// Eight hexadecimal digits in the order of the bytes, the lowest byte first, all made at once.
    private static func hexadecimal(_ value: UInt32) -> UInt64 {
        // One digit in each byte, the highest of the value in the lowest.
        var digits = UInt64(value.byteSwapped)
        digits = (digits | digits &<< 16) & 0x0000_FFFF_0000_FFFF
        digits = (digits | digits &<< 8) & 0x00FF_00FF_00FF_00FF
        digits = (digits &>> 4) & 0x000F_000F_000F_000F | (digits & 0x000F_000F_000F_000F) &<< 8
        // Ten and more: the letters stand 39 behind where the digits would go on.
        let letters = ((digits &+ 0x0606_0606_0606_0606) &>> 4) & 0x0101_0101_0101_0101
        return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
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
