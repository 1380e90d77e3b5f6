import Reactor

/// When the keys of one issuer are fetched, and how long they are believed: a state machine without clock and network.
///
/// Whoever owns it tells it what happened and when, and does what it says.
struct KeyRefresher: Equatable {
    /// The times of one issuer, in milliseconds.
    struct Timing: Equatable {
        /// Between two fetches, where the answer asks for no shorter time.
        var refresh: Int64
        /// At least between two fetches for the sake of an unknown key (rule J9), and at most between two attempts.
        var cooldown: Int64
        /// From the moment when keys should have been refreshed to the one when they are dropped (rule J7).
        var staleFor: Int64
    }

    /// What is due.
    enum Action: Equatable {
        /// Fetch the keys.
        case fetch
        /// Forget the keys: they are too old to be believed.
        case drop
    }

    /// The answer to somebody who met an unknown key.
    enum Reply: Equatable {
        /// Fetch, and tell them when it is done.
        case fetch
        /// A fetch is under way; they are told when it is done.
        case underWay
        /// It would be in vain, or too soon.
        case notBefore(Instant)
    }

    private var timing: Timing
    /// While there are no keys, they are fetched for the sake of somebody who asks, after the first time.
    private let isOptional: Bool
    /// A fetch is under way.
    private(set) var isFetching = false
    /// There are keys.
    private(set) var hasKeys = false
    /// When the keys that there are were fetched.
    private(set) var fetchedAt = Instant.never
    /// Failures since the last success.
    private(set) var failures = 0
    private var nextFetch: Instant
    private var dropAt = Instant.never
    private var askAgainAt = Instant(microseconds: .min)

    /// The first attempts after a failure, before the cooldown bounds them.
    private static let firstRetryMilliseconds: Int64 = 500
    /// A refresh comes up to this much earlier than due, in thousandths: many proxies do not ask at the same second.
    private static let jitterThousandths: Int64 = 100

    /// The keys are due at once. Where they are optional, nobody tries again by himself while there are none.
    init(_ timing: Timing, isOptional: Bool = false, now: Instant) {
        self.timing = timing
        self.isOptional = isOptional
        nextFetch = now
    }

    /// When `tick` should be called next.
    var deadline: Instant { min(isFetching ? .never : nextFetch, dropAt) }

    /// Until when asking for keys is in vain.
    var quietUntil: Instant {
        failures > 0 && nextFetch != .never ? max(nextFetch, askAgainAt) : askAgainAt
    }

    /// What is due now, one thing at a time; call again until nil.
    mutating func tick(_ now: Instant) -> Action? {
        if dropAt <= now {
            dropAt = .never
            hasKeys = false
            return .drop
        }
        guard !isFetching, nextFetch <= now else { return nil }
        isFetching = true
        return .fetch
    }

    /// Goes on with other times. Keys that there are stay, and are refreshed, and dropped, no later than the new times would have
    /// it from now on.
    mutating func retime(_ timing: Timing, now: Instant) {
        let refresh = now.advanced(byMilliseconds: timing.refresh)
        // Earlier, or keys that must not go stale at all would be gone before others can be here.
        let early = timing.refresh / 1000 * Self.jitterThousandths
        nextFetch = min(nextFetch, refresh.advanced(byMilliseconds: -early))
        if dropAt != .never {
            dropAt = min(
                dropAt.advanced(byMilliseconds: timing.staleFor - self.timing.staleFor),
                refresh.advanced(byMilliseconds: timing.staleFor))
        }
        self.timing = timing
    }

    /// Somebody met a key that is not known.
    mutating func asked(_ now: Instant) -> Reply {
        if isFetching { return .underWay }
        guard quietUntil <= now else { return .notBefore(quietUntil) }
        askAgainAt = now.advanced(byMilliseconds: timing.cooldown)
        isFetching = true
        return .fetch
    }

    /// The fetch brought keys, which the server allows to be used for `maximumAge` seconds. `random` is any number.
    mutating func succeeded(_ now: Instant, maximumAge seconds: Int64?, random: UInt64) {
        isFetching = false
        hasKeys = true
        failures = 0
        fetchedAt = now
        var fresh = timing.refresh
        if let seconds { fresh = min(fresh, max(seconds.saturatingThousandfold, timing.cooldown)) }
        let spread = UInt64(fresh / 1000 * Self.jitterThousandths) + 1
        nextFetch = now.advanced(byMilliseconds: fresh - Int64(random % spread))
        dropAt = now.advanced(byMilliseconds: fresh).advanced(byMilliseconds: timing.staleFor)
        askAgainAt = max(askAgainAt, now)
    }

    /// The fetch brought no keys; the old ones stay as long as they may.
    mutating func failed(_ now: Instant) {
        isFetching = false
        failures += 1
        guard hasKeys || !isOptional else {
            nextFetch = .never
            askAgainAt = now.advanced(byMilliseconds: timing.cooldown)
            return
        }
        let doubled = Self.firstRetryMilliseconds << Int64(min(failures - 1, 16))
        nextFetch = now.advanced(byMilliseconds: min(doubled, timing.cooldown))
    }
}

extension Int64 {
    /// A thousand times as much, or the most that there is.
    fileprivate var saturatingThousandfold: Int64 {
        let (product, overflow) = multipliedReportingOverflow(by: 1000)
        return overflow ? .max : product
    }
}
