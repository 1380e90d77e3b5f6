import HTTP
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

    @Test("every reason has a count of its own")
    func reasons() {
        let counters = WorkerCounters()
        for reason in ReasonCode.allCases {
            (0...reason.rawValue).forEach { _ in counters.countEnd(reason: reason) }
        }
        #expect(ReasonCode.allCases.allSatisfy { counters.ends(reason: $0) == UInt64($0.rawValue) + 1 })
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

@Suite("Prometheus text")
struct MetricsTextTests {
    private let workers = [WorkerCounters(), WorkerCounters()]

    private func lines(isReady: Bool = true) -> [String] {
        MetricsText.render(workers: workers, isReady: isReady, linesLostByWriters: 7)
            .split(separator: "\n").map(String.init)
    }

    @Test("counts of all workers are added up")
    func sums() {
        for worker in workers {
            worker.countResponse(status: 404)
            worker.countEnd(reason: .noRoute)
            worker.add(3, to: .connectionsAccepted)
        }
        workers[0].add(2, to: .connectionsClosed)
        workers[1].add(1, to: .accessLinesLost)
        let lines = lines()
        for expected in [
            "usher_workers 2", "usher_ready 1", "usher_requests_total{class=\"4xx\"} 2",
            "usher_requests_total{class=\"2xx\"} 0", "usher_request_ends_total{reason=\"no_route\"} 2",
            "usher_connections_open 4", "usher_access_log_lines_lost_total 8",
        ] { #expect(lines.contains(expected), "\(expected)") }
    }

    @Test("every sample has a family with help and type before it, and no family comes twice")
    func families() {
        var known: [String] = []
        for line in lines() {
            if line.hasPrefix("# TYPE ") {
                let name = String(line.split(separator: " ")[2])
                #expect(!known.contains(name))
                known.append(name)
            } else if !line.hasPrefix("#") {
                #expect(line.prefix { $0 != " " && $0 != "{" } == known.last ?? "")
            }
        }
        #expect(known.count > 10)
    }

    @Test("not ready is 0, and more closed than opened connections are none open")
    func floors() {
        workers[0].add(1, to: .connectionsClosed)
        let lines = lines(isReady: false)
        #expect(lines.contains("usher_ready 0") && lines.contains("usher_connections_open 0"))
    }
}
