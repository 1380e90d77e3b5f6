/// What is written of requests, and how.
public struct AccessLogSettings: Sendable, Equatable {
    /// The form of a line.
    public enum Form: Sendable, Equatable {
        /// One JSON object.
        case json
        /// The "combined" form of web servers.
        case combined
    }

    /// The form of every line.
    public var form = Form.json
    /// Which share of the requests is written, 0 to 1, by the class of their status: 1xx first. Those that got no
    /// status are all written.
    public var shares: [Double] = [1, 1, 1, 1, 1]

    /// All requests, as JSON.
    public init() {}
}

/// Decides which requests are written: one comparison each, and a random number where only a share is wanted.
struct AccessSample {
    /// By the first digit of the status: what a random number of 32 bits must be below. 2^32 takes all.
    private var thresholds: InlineArray<6, UInt64> = InlineArray(repeating: 1 << 32)
    /// The state of xorshift64 (Marsaglia): nobody gains from guessing it.
    private var state: UInt64 = 0x9e37_79b9_7f4a_7c15

    mutating func configure(_ shares: [Double]) {
        precondition(shares.count == 5)
        for (index, share) in shares.enumerated() {
            thresholds[index + 1] = UInt64(min(max(share, 0), 1) * 4_294_967_296)
        }
    }

    mutating func takes(status: Int) -> Bool {
        let digit = status / 100
        let threshold = thresholds[digit >= 1 && digit <= 5 ? digit : 0]
        guard threshold < 1 << 32 else { return true }
        guard threshold > 0 else { return false }
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state >> 32 < threshold
    }
}
