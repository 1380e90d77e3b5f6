import Policy
import Reactor

/// The metrics of the shared store, in the text format of Prometheus.
enum StoreMetrics {
    private static let counts: [(StoreMeters.Count, String, String)] = [
        (.connects, "usher_shared_connects_total", "Connections opened to the shared store."),
        (.failures, "usher_shared_failures_total", "Connections to the shared store that failed or broke."),
        (.calls, "usher_shared_calls_total", "Calls to the shared store."),
        (.errors, "usher_shared_call_errors_total", "Calls that the shared store refused."),
        (.late, "usher_shared_late_total", "Times that the shared store became too slow to wait for."),
    ]

    /// All families.
    static func text(_ channels: StoreChannels, now: Instant) -> String {
        let (standing, meters) = (channels.standing, channels.meters)
        var text = family("usher_shared_up", "gauge", "1 while the shared store answers in time.")
        text += "usher_shared_up \(standing.isAnswering ? 1 : 0)\n"
        for (count, name, help) in counts {
            text += family(name, "counter", help) + "\(name) \(meters.value(count))\n"
        }
        let answered = meters.answered
        text += family("usher_shared_call_seconds", "summary", "How long the shared store took to answer.")
        text += "usher_shared_call_seconds_sum \(seconds(Int64(clamping: answered.microseconds)))\n"
        text += "usher_shared_call_seconds_count \(answered.count)\n"
        let tally = standing.tally
        let name = "usher_shared_limit_decisions_total"
        text += family(
            name, "counter",
            "Requests of shared rate limits: counted by the store, by this process alone, or refused without it."
        )
        text += "\(name){by=\"store\"} \(tally.shared)\n\(name){by=\"process\"} \(tally.local)\n"
        text += "\(name){by=\"nobody\"} \(tally.refused)\n"
        return text + revocations(meters, now)
    }

    private static func revocations(_ meters: StoreMeters, _ now: Instant) -> String {
        let waiting = "usher_shared_revocations_pending"
        var text = family(waiting, "gauge", "Revocations that the shared store has not got yet.")
        text += "\(waiting) \(meters.pending)\n"
        guard let age = meters.revocationsAge(at: now) else { return text }
        let name = "usher_shared_revocations_age_seconds"
        return text + family(name, "gauge", "How long ago the list of revoked tokens was read.")
            + "\(name) \(seconds(age))\n"
    }

    private static func family(_ name: String, _ type: String, _ help: String) -> String {
        "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    private static func seconds(_ microseconds: Int64) -> String {
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
    }
}
