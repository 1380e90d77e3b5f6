/// The buckets of the histograms that are shown to Prometheus: bounds that people ask about, from 250 µs to 10 s.
public enum LatencyBuckets {
    /// How many there are, with the last one, which has no bound.
    public static var count: Int { 16 }

    // Microseconds; a duration that equals a bound is within it, as `le` says.
    private static let bounds: InlineArray<15, Int64> = [
        250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
        5_000_000, 10_000_000,
    ]

    /// The bucket of a duration in microseconds. Most requests are quick, so that it is found after a few steps.
    public static func index(microseconds: Int64) -> Int {
        var index = 0
        while index < 15, microseconds > bounds[index] { index &+= 1 }
        return index
    }

    /// The bound of a bucket as the value of `le`, in seconds.
    public static func label(of index: Int) -> String {
        index < 15 ? seconds(bounds[index]) : "+Inf"
    }

    /// Microseconds as seconds in decimal, without rounding.
    public static func seconds(_ microseconds: Int64) -> String {
        guard microseconds >= 0 else { return "-" + seconds(-microseconds) }
        let (whole, rest) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        guard rest > 0 else { return "\(whole)" }
        var digits = String(1_000_000 + rest).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(whole).\(digits)"
    }
}

/// A histogram of durations that one thread counts and shows.
public struct LatencyHistogram: Sendable, Equatable {
    /// How many durations fell into each bucket.
    public private(set) var counts = [UInt64](repeating: 0, count: LatencyBuckets.count)
    /// All durations together.
    public private(set) var microseconds: Int64 = 0

    /// Nothing was counted.
    public init() {}

    /// A histogram of what others have counted; as many counts as there are buckets.
    public init(counts: [UInt64], microseconds: Int64) {
        precondition(counts.count == LatencyBuckets.count)
        self.counts = counts
        self.microseconds = microseconds
    }

    /// Counts a duration; a negative one, as clocks may give, is none.
    public mutating func note(microseconds duration: Int64) {
        let duration = max(duration, 0)
        counts[LatencyBuckets.index(microseconds: duration)] &+= 1
        microseconds &+= duration
    }

    /// Adds what another one has counted.
    public mutating func add(_ other: LatencyHistogram) {
        for index in counts.indices { counts[index] &+= other.counts[index] }
        microseconds &+= other.microseconds
    }
}
