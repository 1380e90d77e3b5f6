import Testing

@testable import Telemetry

@Suite("Latency buckets")
struct LatencyBucketTests {
    @Test(
        "a duration that equals a bound is within it",
        arguments: [
            (-5, 0), (0, 0), (250, 0), (251, 1), (500, 1), (1000, 2), (1001, 3), (10_000_000, 14),
            (10_000_001, 15), (Int64.max, 15),
        ] as [(Int64, Int)])
    func index(microseconds: Int64, expected: Int) {
        #expect(LatencyBuckets.index(microseconds: microseconds) == expected)
    }

    @Test("bounds are told in seconds, rising, and the last has none")
    func labels() {
        let labels = (0..<LatencyBuckets.count).map { LatencyBuckets.label(of: $0) }
        #expect(labels.first == "0.00025" && labels.last == "+Inf" && labels.contains("2.5"))
        let bounds = labels.dropLast().compactMap { Double($0) }
        #expect(bounds.count == LatencyBuckets.count - 1 && bounds == bounds.sorted())
        #expect(Set(bounds).count == bounds.count)
    }

    @Test("seconds are exact")
    func seconds() {
        #expect(LatencyBuckets.seconds(0) == "0" && LatencyBuckets.seconds(1) == "0.000001")
        #expect(LatencyBuckets.seconds(1_500_000) == "1.5" && LatencyBuckets.seconds(60_000_000) == "60")
        #expect(LatencyBuckets.seconds(-1_000_010) == "-1.00001")
    }

    @Test("a histogram counts what it is given, and no negative time")
    func histogram() {
        var histogram = LatencyHistogram()
        for microseconds: Int64 in [-7, 100, 260, 20_000_000] { histogram.note(microseconds: microseconds) }
        #expect(histogram.counts[0] == 2 && histogram.counts[1] == 1 && histogram.counts[15] == 1)
        #expect(histogram.microseconds == 20_000_360)
        var twice = histogram
        twice.add(histogram)
        #expect(twice.counts.reduce(0, +) == 8 && twice.microseconds == 40_000_720)
        #expect(twice != histogram)
    }
}

@Suite("Counts by label")
struct LabelTests {
    @Test("a label keeps its row, and the last row is everybody's")
    func book() {
        var book = LabelBook(unlabelled: "none", capacity: 5)
        #expect(book.rows(of: ["a", "b", "a"]) == [1, 2, 1])
        #expect(book.rows(of: ["c", "b"]) == [3, 2])
        #expect(book.rows(of: ["d", "e", "a"]) == [4, 4, 1])
        #expect(book.labels == ["none", "a", "b", "c", "other"])
    }

    @Test("routes do not touch each other, the last row included")
    func rows() {
        let counters = WorkerCounters()
        let last = RouteCounts.rowCount - 1
        counters.count(route: 0, status: 404, microseconds: 10)
        counters.count(route: 1, status: 200, microseconds: 300)
        counters.count(route: UInt16(last), status: 999, microseconds: -5)
        #expect((0...5).map { counters.routes.responses(row: 1, statusClass: $0) } == [0, 0, 1, 0, 0, 0])
        #expect(counters.routes.responses(row: 0, statusClass: 4) == 1)
        #expect(counters.routes.responses(row: last, statusClass: 0) == 1)
        #expect(counters.routes.durations(row: 1).counts[1] == 1)
        #expect(counters.routes.durations(row: 1).microseconds == 300)
        #expect(counters.routes.durations(row: last).microseconds == 0)
        #expect((2..<last).allSatisfy { counters.routes.durations(row: $0) == LatencyHistogram() })
    }

    @Test("gauges, limits and the lag of the loop")
    func others() {
        let counters = WorkerCounters()
        #expect(counters.lastAnswer == nil && counters.value(of: .bufferBytes) == 0)
        for gauge in Gauge.allCases { counters.set(gauge, to: Int(gauge.rawValue) + 7) }
        #expect(Gauge.allCases.allSatisfy { counters.value(of: $0) == Int($0.rawValue) + 7 })
        counters.set(.bufferBytes, to: 0)
        #expect(counters.value(of: .bufferBytes) == 0)
        counters.countExceeded(rateLimit: 63)
        #expect(counters.exceeded(rateLimit: 63) == 1 && counters.exceeded(rateLimit: 0) == 0)
        counters.countAnswer(afterMicroseconds: -3, at: 50)
        counters.countAnswer(afterMicroseconds: 2000, at: 60)
        #expect(counters.lastAnswer == 60 && counters.lag.microseconds == 2000)
        #expect(counters.lag.counts[0] == 1 && counters.lag.counts[3] == 1)
    }
}

@Suite("Families")
struct FamilyTests {
    @Test("labels are escaped, whatever they hold")
    func escaping() {
        var text = MetricFamilies()
        text.sample("m", ["path": "a\"b\\c\nd", "other": "\u{e9}"], 3)
        #expect(text.text == "m{path=\"a\\\"b\\\\c\\nd\",other=\"\u{e9}\"} 3\n")
        #expect(MetricFamilies.escaped("\r\n") == "\r\\n", "two characters to Prometheus, one to Swift")
    }

    @Test("buckets of a histogram add up")
    func histogram() {
        var histogram = LatencyHistogram()
        for microseconds: Int64 in [1, 300, 300, 99_000_000] { histogram.note(microseconds: microseconds) }
        var text = MetricFamilies()
        text.histogram("d", ["route": "/"], histogram)
        let lines = text.text.split(separator: "\n")
        #expect(lines.first == "d_bucket{route=\"/\",le=\"0.00025\"} 1")
        #expect(lines.contains("d_bucket{route=\"/\",le=\"10\"} 3"))
        #expect(
            lines.suffix(3) == [
                "d_bucket{route=\"/\",le=\"+Inf\"} 4", "d_sum{route=\"/\"} 99.000601",
                "d_count{route=\"/\"} 4",
            ])
    }

    @Test("workers are added up, also by route, limit and lag")
    func workers() {
        let workers = [WorkerCounters(), WorkerCounters()]
        for worker in workers {
            worker.count(route: 1, status: 200, microseconds: 400)
            worker.countExceeded(rateLimit: 1)
        }
        workers[1].countAnswer(afterMicroseconds: 10, at: 5_000_000)
        let routes = MetricsText.routes(workers, ["none", "/a"])
        #expect(routes.contains("usher_route_requests_total{route=\"/a\",class=\"2xx\"} 2\n"))
        #expect(routes.contains("usher_request_duration_seconds_count{route=\"/a\"} 2\n"))
        #expect(routes.contains("usher_request_duration_seconds_count{route=\"none\"} 0\n"))
        let limits = MetricsText.rateLimits(workers, ["failed", "slow"])
        #expect(limits.hasSuffix("{limit=\"failed\"} 0\nusher_rate_limit_refusals_total{limit=\"slow\"} 2\n"))
        let loops = MetricsText.loops(workers, now: 7_500_000)
        #expect(loops.contains("usher_worker_lag_seconds_count 1\n"))
        #expect(loops.contains("usher_worker_answer_age_seconds{worker=\"1\"} 2.5\n"))
        #expect(!loops.contains("worker=\"0\""), "it was never asked")
    }
}
