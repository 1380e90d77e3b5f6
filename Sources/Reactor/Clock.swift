internal import Glibc

/// A point on the monotonic clock, in microseconds: never steps, says nothing about the time of day.
public struct Instant: Comparable, Sendable, BitwiseCopyable {
    /// Microseconds since some moment in the past.
    public let microseconds: Int64

    /// The instant so many microseconds after the clock's origin.
    @inlinable
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// Later than anything: a deadline that never comes.
    @inlinable
    public static var never: Instant { Instant(microseconds: .max) }

    /// Now, by CLOCK_MONOTONIC.
    public static func now() -> Instant {
        Instant(microseconds: read(CLOCK_MONOTONIC))
    }

    /// The instant that many milliseconds later; `never` stays `never`.
    @inlinable
    public func advanced(byMilliseconds milliseconds: Int64) -> Instant {
        let (scaled, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
        let (sum, tooLate) = microseconds.addingReportingOverflow(scaled)
        return overflow || tooLate ? .never : Instant(microseconds: sum)
    }

    /// The microseconds from `earlier` to this instant.
    @inlinable
    public func microseconds(since earlier: Instant) -> Int64 { microseconds &- earlier.microseconds }

    /// True where `left` comes first.
    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool { left.microseconds < right.microseconds }
}

/// The time of day in microseconds since 1970 (CLOCK_REALTIME), which may step back and forth.
public func wallClockMicroseconds() -> Int64 {
    read(CLOCK_REALTIME)
}

private func read(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    // SAFETY: a local out-parameter.
    unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
}
