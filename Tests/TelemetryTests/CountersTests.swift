import Testing

@testable import Telemetry

@Suite("Counters")
struct CountersTests {
    @Test("each count is its own")
    func counts() {
        let counters = WorkerCounters()
        for counter in Counter.allCases { counters.add(Int(counter.rawValue) + 1, to: counter) }
        counters.add(5, to: .bytesSent)
        for counter in Counter.allCases {
            #expect(
                counters.value(of: counter) == UInt64(counter.rawValue) + 1 + (counter == .bytesSent ? 5 : 0))
        }
    }

    @Test("a status outside 1xx to 5xx is counted apart, not under a neighbour")
    func statusClasses() {
        let counters = WorkerCounters()
        for status in [100, 200, 204, 299, 404, 599, 600, 0, 99, -200] {
            counters.countResponse(status: status)
        }
        #expect((0...5).map { counters.responses(statusClass: $0) } == [4, 1, 3, 0, 1, 1])
    }
}
