/// The buckets of a histogram of durations: four for each doubling, from 16 µs to some four minutes, so that a
/// quantile read from them is off by an eighth at most.
public enum DurationBuckets {
    /// How many there are.
    public static var count: Int { 96 }

    /// The bucket of a duration in microseconds; what is shorter or longer than all falls into the first or the last.
    @inlinable
    public static func index(microseconds: Int64) -> Int {
        guard microseconds >= 16 else { return 0 }
        let exponent = 63 - microseconds.leadingZeroBitCount
        let quarter = Int(truncatingIfNeeded: microseconds >> Int64(exponent - 2)) & 3
        return min((exponent - 4) * 4 + quarter, 95)
    }

    /// The durations of a bucket are below this, in microseconds.
    public static func bound(of index: Int) -> Int64 {
        let (exponent, quarter) = (index / 4 + 4, index % 4)
        return Int64(5 + quarter) << Int64(exponent - 2)
    }

    /// The duration that the given share (0 to 1) of those counted does not exceed, in microseconds; 0 without any.
    public static func quantile(_ share: Double, of counts: [UInt64]) -> Int64 {
        let all = counts.reduce(0, &+)
        guard all > 0 else { return 0 }
        let rank = UInt64((Double(all) * share).rounded(.up))
        var seen: UInt64 = 0
        for (index, count) in counts.enumerated() {
            seen &+= count
            if seen >= max(rank, 1) { return bound(of: index) }
        }
        return bound(of: count - 1)
    }
}
