import Reactor

// The supervisor's part in traces: it lends its loop, and waits a moment for the last spans.

extension Supervisor {
    /// Sends what is due of the workers' spans.
    func runSpans() { spanExporter.run(crew.spans, poller, now: Instant.now()) }

    /// How long spans may keep the process from its end.
    private static let lastSpansMilliseconds: Int64 = 1000

    /// Sends what is left of the spans, where the collector takes it soon.
    func sendLastSpans() {
        let end = Instant.now().advanced(byMilliseconds: Self.lastSpansMilliseconds)
        while spanExporter.isBusy(crew.spans), Instant.now() < end {
            spanExporter.hurry(now: Instant.now())
            runSpans()
            let wait = min(spanExporter.deadline, end).microseconds(since: Instant.now()) / 1000
            for index in 0..<poller.wait(timeoutMilliseconds: Int32(clamping: max(wait, 1))) {
                dispatchSpans(poller.token(index))
            }
        }
    }

    /// Hands an event of the poller to the exporter; false where it is somebody else's.
    @discardableResult
    func dispatchSpans(_ token: UInt64) -> Bool {
        if token == Token.exportLookups {
            spanExporter.noteLookups(poller, now: Instant.now())
        } else if Token.isExport(token) {
            spanExporter.advance(token, crew.spans, poller, now: Instant.now())
        } else {
            return false
        }
        return true
    }
}
