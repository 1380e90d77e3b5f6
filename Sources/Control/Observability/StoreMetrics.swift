import Policy
import Reactor
import Telemetry

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
        var text = MetricFamilies()
        text.gauge(
            "usher_shared_up", "1 while the shared store answers in time.", standing.isAnswering ? 1 : 0)
        for (count, name, help) in counts { text.counter(name, help, meters.value(count)) }
        let (calls, answered) = ("usher_shared_call_seconds", meters.answered)
        text.family(calls, "How long the shared store took to answer.", "summary")
        text.sample("\(calls)_sum", [:], text: LatencyBuckets.seconds(Int64(clamping: answered.microseconds)))
        text.sample("\(calls)_count", [:], answered.count)
        let (decisions, tally) = ("usher_shared_limit_decisions_total", standing.tally)
        text.family(
            decisions,
            "Requests of shared rate limits: counted by the store, by this process alone, or refused without it.",
            "counter")
        for (by, count) in [("store", tally.shared), ("process", tally.local), ("nobody", tally.refused)] {
            text.sample(decisions, ["by": by], count)
        }
        text.gauge(
            "usher_shared_revocations_pending", "Revocations that the shared store has not got yet.",
            meters.pending)
        if let age = meters.revocationsAge(at: now) {
            let name = "usher_shared_revocations_age_seconds"
            text.family(name, "How long ago the list of revoked tokens was read.", "gauge")
            text.sample(name, [:], text: LatencyBuckets.seconds(age))
        }
        return text.text
    }
}
