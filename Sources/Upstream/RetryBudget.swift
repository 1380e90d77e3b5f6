internal import Reactor

/// How many requests may be sent once more: a fifth of those that come, and a few more where few come.
///
/// Without it a backend that fails in the middle of requests would get twice the load in the moment when it can bear
/// least. Each request earns a fifth of a retry; what is saved up is bounded, so that a quiet hour does not pay for a
/// storm.
struct RetryBudget {
    /// In fifths of a retry.
    private var saved = RetryBudget.reserve
    private var refilled = Instant(microseconds: 0)

    /// What one retry costs, in requests.
    static var requestsPerRetry: Int { 5 }
    /// What is there with no traffic at all: ten retries, filled up again by three a second.
    private static var reserve: Int { 10 * requestsPerRetry }
    private static var refillMicroseconds: Int64 { 1_000_000 / Int64(3 * requestsPerRetry) }
    /// A hundred retries.
    private static var largest: Int { 100 * requestsPerRetry }

    /// A request was sent for the first time.
    @inline(__always)
    mutating func noteRequest() {
        if saved < Self.largest { saved += 1 }
    }

    /// Takes what a retry costs; false where too little is saved.
    mutating func take(at now: Instant) -> Bool {
        refill(at: now)
        guard saved >= Self.requestsPerRetry else { return false }
        saved -= Self.requestsPerRetry
        return true
    }

    private mutating func refill(at now: Instant) {
        let earned = now.microseconds(since: refilled) / Self.refillMicroseconds
        guard earned > 0 else { return }
        refilled = now
        if saved < Self.reserve { saved = min(Self.reserve, saved + Int(clamping: earned)) }
    }
}
