/// One deadline for each slot of a slab, in one dense array.
///
/// A deadline is set several times a request and nearly never comes. Setting one is therefore a store and a compare;
/// the price is a walk over the array when the earliest known one is due: 8 bytes a connection, 10,000 of them a few
/// microseconds, and at most one walk each `resolution`. A timer wheel would pay on every change instead.
public struct Deadlines: ~Copyable {
    private var table: [Int64] = []
    private var earliest = Int64.max
    /// Deadlines come late by at most this much: 20 ms, below what anybody notices of a timeout.
    private static let resolutionMicroseconds: Int64 = 20_000

    /// No deadline for any slot.
    public init() {}

    /// Sets the deadline of a slot; `.never` clears it.
    @inline(__always)
    public mutating func set(_ slot: UInt32, _ deadline: Instant) {
        if Int(slot) >= table.count { grow(to: Int(slot) + 1) }
        table[Int(slot)] = deadline.microseconds
        if deadline.microseconds < earliest { earliest = deadline.microseconds }
    }

    /// The deadline of a slot.
    public func deadline(of slot: UInt32) -> Instant {
        Int(slot) < table.count ? Instant(microseconds: table[Int(slot)]) : .never
    }

    /// When `expired` should be asked next: the earliest deadline that may be due, rounded up.
    public var next: Instant {
        earliest == .max
            ? .never
            : Instant(microseconds: earliest).advanced(byMilliseconds: Self.resolutionMicroseconds / 1000)
    }

    /// Puts the slots whose deadline has passed into `slots` and clears their deadlines.
    public mutating func expire(at now: Instant, into slots: inout [UInt32]) {
        guard earliest <= now.microseconds else { return }
        earliest = .max
        for slot in table.indices {
            let deadline = table[slot]
            if deadline <= now.microseconds {
                table[slot] = .max
                slots.append(UInt32(slot))
            } else if deadline < earliest {
                earliest = deadline
            }
        }
    }

    private mutating func grow(to count: Int) {
        let rounded = (count + 63) & ~63
        table.append(contentsOf: repeatElement(Int64.max, count: rounded - table.count))
    }
}
