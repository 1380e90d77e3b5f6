import Reactor
import Telemetry

/// What became of spans that left the queues.
struct SpanTally {
    /// Those that the collector has taken.
    var exported: UInt64 = 0
    /// Those that it has refused, in an answer that took others.
    var rejected: UInt64 = 0
    /// Those that were given up because the collector did not take their batch.
    var given: UInt64 = 0
    /// Requests to the collector that failed.
    var failures: UInt64 = 0
}

extension SpanExporter {
    /// What the metrics say of spans; empty where none are recorded.
    func metrics(_ queues: [SpanQueue]) -> String {
        let recorded = queues.reduce(0) { $0 &+ $1.recorded }
        guard deadline != .never || recorded > 0 else { return "" }
        var text = MetricFamilies()
        text.counter("usher_trace_spans_total", "Spans that were recorded, lost ones included.", recorded)
        text.counter(
            "usher_trace_spans_exported_total", "Spans that the collector has taken.", tally.exported)
        let lost = "usher_trace_spans_lost_total"
        text.family(lost, "Spans that the collector did not get.", "counter")
        text.sample(lost, ["reason": "queue_full"], queues.reduce(0) { $0 &+ $1.lost })
        text.sample(lost, ["reason": "collector"], tally.given)
        text.sample(lost, ["reason": "rejected"], tally.rejected)
        text.counter(
            "usher_trace_export_failures_total", "Requests to the collector that failed.", tally.failures)
        return text.text
    }
}
