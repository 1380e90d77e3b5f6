import HTTP
import Reactor
import Telemetry

/// What went through in each of the last seconds, for the charts of the status page: the differences of the workers'
/// counts from one second to the next.
struct TrafficHistory {
    /// Five minutes: what a person looks at who asks what is going on.
    static let seconds = 300

    /// One second.
    struct Second: Equatable {
        /// Answers by the class of their status, 1xx first.
        var classes: [UInt64]
        /// Requests that ended for a reason that is not `ok`.
        var reasons: [(code: ReasonCode, count: UInt64)]
        /// Durations that half, 95 and 99 of 100 requests did not exceed, in microseconds; 0 without requests.
        var quantiles: [Int64]
        var openConnections: UInt64

        static func == (left: Second, right: Second) -> Bool {
            left.classes == right.classes && left.quantiles == right.quantiles
                && left.openConnections == right.openConnections
                && left.reasons.elementsEqual(right.reasons) { $0.code == $1.code && $0.count == $1.count }
        }
    }

    /// The seconds, the oldest first.
    private(set) var ring: [Second] = []
    /// The wall clock at the end of the last, in milliseconds since 1970.
    private(set) var endMilliseconds: Int64 = 0
    /// When the next second is over.
    private(set) var deadline = Instant.never
    private var before: Totals?

    /// The counts of all workers together.
    private struct Totals {
        var classes: [UInt64]
        var reasons: [UInt64]
        var durations: [UInt64]

        init(_ workers: [WorkerCounters]) {
            func sum(_ count: (WorkerCounters) -> UInt64) -> UInt64 {
                workers.reduce(0) { $0 &+ count($1) }
            }
            classes = (1...5).map { digit in sum { $0.responses(statusClass: digit) } }
            reasons = ReasonCode.allCases.map { code in sum { $0.ends(reason: code) } }
            durations = (0..<DurationBuckets.count).map { bucket in sum { $0.durations(bucket: bucket) } }
        }
    }

    /// Begins to look.
    mutating func start(at now: Instant) { deadline = now }

    /// Takes a sample where one is due, and says whether one was. A second that was missed, because the thread was
    /// busy, counts with the next.
    @discardableResult
    mutating func sample(_ workers: [WorkerCounters], at now: Instant, wallMilliseconds: Int64) -> Bool {
        guard deadline <= now else { return false }
        deadline = max(deadline.advanced(byMilliseconds: 1000), now.advanced(byMilliseconds: 500))
        let totals = Totals(workers)
        defer { before = totals }
        guard let before else { return true }
        endMilliseconds = wallMilliseconds
        let durations = zip(totals.durations, before.durations).map { $0 &- $1 }
        ring.append(
            Second(
                classes: zip(totals.classes, before.classes).map { $0 &- $1 },
                reasons: zip(ReasonCode.allCases, zip(totals.reasons, before.reasons)).compactMap {
                    code, counts in
                    let count = counts.0 &- counts.1
                    return code != .ok && count > 0 ? (code, count) : nil
                },
                quantiles: [0.5, 0.95, 0.99].map { DurationBuckets.quantile($0, of: durations) },
                openConnections: Self.open(workers)))
        if ring.count > Self.seconds { ring.removeFirst(ring.count - Self.seconds) }
        return true
    }

    /// Connections that are open now.
    static func open(_ workers: [WorkerCounters]) -> UInt64 {
        let opened = workers.reduce(0) { $0 &+ $1.value(of: .connectionsAccepted) }
        let closed = workers.reduce(0) { $0 &+ $1.value(of: .connectionsClosed) }
        return opened > closed ? opened - closed : 0
    }
}
