public import Reactor

/// What the checks of a server came to: a state machine without clock and network. Whoever owns it asks when a check
/// is due, makes it, and tells the outcome.
public struct HealthCheck: Sendable {
    private let settings: HealthSettings
    /// The present verdict. A server is healthy until checks say otherwise: at the start nothing is known, and to
    /// refuse everything meanwhile would help nobody.
    public private(set) var isHealthy: Bool
    /// Outcomes in a row that contradict the verdict.
    private var contradictions = 0
    private var isUnderWay = false
    private var next: Instant

    /// Thousandths by which a check may come early or late: checks of many proxies must not fall into step.
    private static var jitterThousandths: Int64 { 100 }
    /// The first checks are spread over this time, where the interval is longer.
    private static var firstSpreadMilliseconds: Int64 { 250 }

    /// Checks of a server that is `isHealthy` as far as is known. `random` is any number.
    public init(_ settings: HealthSettings, isHealthy: Bool = true, now: Instant, random: UInt64) {
        self.settings = settings
        self.isHealthy = isHealthy
        let spread = min(settings.intervalMilliseconds, Self.firstSpreadMilliseconds)
        next = now.advanced(byMilliseconds: Int64(random % UInt64(max(spread, 1))))
    }

    /// When a check is due; never while one is under way.
    public var due: Instant { isUnderWay ? .never : next }

    /// A check begins. `random` is any number.
    public mutating func begin(at now: Instant, random: UInt64) {
        isUnderWay = true
        let spread = settings.intervalMilliseconds * Self.jitterThousandths / 1000
        let shift = Int64(random % UInt64(2 * spread + 1)) - spread
        next = now.advanced(byMilliseconds: settings.intervalMilliseconds + shift)
    }

    /// A check is over. True where the verdict has changed.
    public mutating func end(passed: Bool) -> Bool {
        isUnderWay = false
        guard passed != isHealthy else {
            contradictions = 0
            return false
        }
        contradictions += 1
        guard contradictions >= (isHealthy ? settings.unhealthyAfter : settings.healthyAfter) else {
            return false
        }
        contradictions = 0
        isHealthy = passed
        return true
    }
}
