internal import Bytes

/// Consistent hashing by weighted rendezvous: every server draws a number for the user, and the best draw wins.
///
/// A server that goes takes only its own users with it, and one that comes takes from each of the others only what
/// becomes its share. No table is kept, so that workers, and proxies beside this one, agree without talking.
enum StableHash {
    /// Fixed seeds, the same in every process. Whoever may choose user names could choose a server with it; that is
    /// worth nothing more than a server.
    private static var hash: KeyedHash { KeyedHash(seed: (0x5bd1_e995_9d1c_3f2b, 0x27d4_eb2f_1656_67c5)) }

    /// Where a server stands: made of its address.
    static func place(_ address: Span<UInt8>) -> UInt64 { hash(address) }

    /// The draw of a server for a user: evenly spread over all numbers.
    @inline(__always)
    static func draw(_ user: UInt64, _ place: UInt64) -> UInt64 {
        // The finaliser of SplitMix64: every bit of the input changes half of the output.
        var mixed = (user &+ place) &* 0x9e37_79b9_7f4a_7c15 ^ place
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// What the draw costs a server of that weight: the least cost wins, and each wins as often as its weight says.
    @inline(__always)
    static func cost(_ draw: UInt64, weight: Int) -> Double {
        negativeLogarithm(draw) / Double(weight)
    }

    /// -ln((draw + 1/2) / 2^64), to seven digits, without a call to a library.
    static func negativeLogarithm(_ draw: UInt64) -> Double {
        // Binary exponent and a fraction between 3/4 and 3/2, whose logarithm is near 0 where the draw is near the
        // top: there the small differences decide.
        let value = Double(draw) + 0.5
        var exponent = 64 - Int(value.exponent)
        var fraction = value.significand
        if fraction > 1.5 {
            fraction /= 2
            exponent -= 1
        }
        let ratio = (fraction - 1) / (fraction + 1)
        let square = ratio * ratio
        let series = 1 + square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square / 9)))
        return Double(exponent) * 0.693_147_180_559_945_3 - 2 * ratio * series
    }
}
