/// One deadline for each slot of a slab, in one dense array.
///
/// A deadline is set several times a request and nearly never comes. Setting one is therefore a store and a compare;
/// the price is a walk over the array when the earliest known one is due: 8 bytes a connection, 10,000 of them a few
/// microseconds, and at most one walk in 20 ms. A timer wheel would pay on every change instead.
@safe public struct Deadlines: ~Copyable {
    @usableFromInline var table: UnsafeMutablePointer<Int64>
    @usableFromInline var count: Int
    @usableFromInline var earliest = Int64.max
    /// Deadlines come late by at most this much: 20 ms, below what anybody notices of a timeout.
    private static let resolutionMicroseconds: Int64 = 20_000

    /// No deadline for any slot.
    public init() {
        count = 64
        // SAFETY: owned by this value alone, freed once in `deinit`; every entry is initialised.
        unsafe table = .allocate(capacity: count)
        unsafe table.initialize(repeating: .max, count: count)
    }

    deinit {
        // SAFETY: allocated in `init` or `grow`; plain numbers.
        unsafe table.deallocate()
    }

    /// Sets the deadline of a slot; `.never` clears it.
    @inlinable @inline(__always)
    public mutating func set(_ slot: UInt32, _ deadline: Instant) {
        if Int(slot) >= count { grow(beyond: Int(slot)) }
        // SAFETY: the table is larger than `slot`.
        unsafe table[Int(slot)] = deadline.microseconds
        if deadline.microseconds < earliest { earliest = deadline.microseconds }
    }

    /// The deadline of a slot.
    public func deadline(of slot: UInt32) -> Instant {
        // SAFETY: the slot is compared with the size first.
        unsafe Int(slot) < count ? Instant(microseconds: table[Int(slot)]) : .never
    }

    /// When `expire` is to be called next: the earliest deadline that may be due, and the time that it may come late.
    public var next: Instant {
        earliest == .max
            ? .never
            : Instant(microseconds: earliest).advanced(byMilliseconds: Self.resolutionMicroseconds / 1000)
    }

    /// Puts the slots whose deadline has passed into `slots` and clears their deadlines.
    public mutating func expire(at now: Instant, into slots: inout [UInt32]) {
        guard earliest <= now.microseconds else { return }
        earliest = .max
        for slot in 0..<count {
            // SAFETY: `count` entries are initialised.
            let deadline = unsafe table[slot]
            if deadline <= now.microseconds {
                unsafe table[slot] = .max
                slots.append(UInt32(slot))
            } else if deadline < earliest {
                earliest = deadline
            }
        }
    }

    @usableFromInline
    mutating func grow(beyond slot: Int) {
        let larger = max(slot + 1, count * 2)
        let new = UnsafeMutablePointer<Int64>.allocate(capacity: larger)
        // SAFETY: the new table is larger, and another; what is not copied is initialised.
        unsafe new.update(from: table, count: count)
        unsafe (new + count).initialize(repeating: .max, count: larger - count)
        unsafe table.deallocate()
        unsafe table = new
        count = larger
    }
}
