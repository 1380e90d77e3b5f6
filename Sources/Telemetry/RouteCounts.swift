public import Synchronization

/// What one worker counts for each route: written by that worker alone, read by the admin thread at any time.
///
/// The rows are there from the start, so that counting is an addition at a known place. Which row is whose, `LabelBook`
/// says.
public final class RouteCounts: Sendable {
    /// Rows: 512 routes make some 12,000 lines of text, which is what a scrape should have at most.
    public static var rowCount: Int { 512 }
    // Of a row: answers by the first digit of the status, durations by bucket, all microseconds together.
    @usableFromInline static var buckets: Int { 6 }
    @usableFromInline static var sum: Int { 22 }
    @usableFromInline static var width: Int { 23 }

    @usableFromInline let cells: InlineArray<11_776, Atomic<UInt64>>

    init() {
        precondition(Self.rowCount * Self.width == 11_776 && Self.sum == Self.buckets + LatencyBuckets.count)
        cells = InlineArray { _ in Atomic(0) }
    }

    /// Counts an answered request. Owner only.
    func count(row: Int, status: Int, microseconds: Int64) {
        let start = row &* Self.width
        let digit = status / 100
        let duration = max(microseconds, 0)
        grow(start &+ (digit >= 1 && digit <= 5 ? digit : 0), by: 1)
        grow(start &+ Self.buckets &+ LatencyBuckets.index(microseconds: duration), by: 1)
        grow(start &+ Self.sum, by: UInt64(duration))
    }

    @inline(__always)
    private func grow(_ place: Int, by amount: UInt64) {
        WorkerCounters.grow(cells[place], by: amount)
    }

    /// Answers of a row with a status of that class, 1...5, or 0 for those outside; any thread.
    public func responses(row: Int, statusClass digit: Int) -> UInt64 {
        precondition(digit >= 0 && digit < Self.buckets)
        return value(row, digit)
    }

    /// The durations of a row; any thread.
    public func durations(row: Int) -> LatencyHistogram {
        LatencyHistogram(
            counts: (0..<LatencyBuckets.count).map { value(row, Self.buckets + $0) },
            microseconds: Int64(clamping: value(row, Self.sum)))
    }

    private func value(_ row: Int, _ place: Int) -> UInt64 {
        cells[row * Self.width + place].load(ordering: .relaxed)
    }
}

/// Which row of the workers' counts belongs to which label. A label keeps its row for as long as the process lives, so
/// that counts survive reloads; when all rows are taken, further labels share the last one.
public struct LabelBook: Sendable {
    /// The labels, by row.
    public private(set) var labels: [String]
    private var rows: [String: Int] = [:]
    private let capacity: Int

    /// A book with a first row for what has no label, which is shown as `unlabelled`, and `capacity` rows in all.
    public init(unlabelled: String, capacity: Int) {
        precondition(capacity >= 3)
        labels = [unlabelled]
        self.capacity = capacity
    }

    /// The rows of these labels.
    public mutating func rows(of names: [String]) -> [UInt16] {
        names.map { name in
            if let known = rows[name] { return UInt16(known) }
            if labels.count == capacity - 1 { labels.append("other") }
            guard labels.count < capacity else { return UInt16(capacity - 1) }
            rows[name] = labels.count
            labels.append(name)
            return UInt16(labels.count - 1)
        }
    }
}
