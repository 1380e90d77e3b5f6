import Testing

@testable import Telemetry

@Suite("Samples and buckets")
struct SampleTests {
    @Test("a share is a share, 0 is none, 1 is all, and no status is always written")
    func shares() {
        var sample = AccessSample()
        sample.configure([1, 0.25, 1, 0, 1])
        let taken = (0..<10_000).count { _ in sample.takes(status: 204) }
        #expect((2300...2700).contains(taken))
        for status in [404, 499] { #expect((sample.takes(status: status)) == false) }
        for status in [0, 101, 302, 500, 599, 700] { #expect((sample.takes(status: status)) == true) }
    }

    @Test("a duration lies below the bound of its bucket, and not below that of the one before")
    func buckets() {
        var duration: Int64 = 16
        while duration < 200_000_000 {
            let index = DurationBuckets.index(microseconds: duration)
            #expect(duration < DurationBuckets.bound(of: index))
            #expect(index == 0 || duration >= DurationBuckets.bound(of: index - 1))
            duration += duration / 7 + 1
        }
        for odd: Int64 in [.min, -1, 0, 15] { #expect(DurationBuckets.index(microseconds: odd) == 0) }
        #expect(DurationBuckets.index(microseconds: .max) == DurationBuckets.count - 1)
    }

    @Test("quantiles")
    func quantiles() {
        var counts = [UInt64](repeating: 0, count: DurationBuckets.count)
        #expect(DurationBuckets.quantile(0.5, of: counts) == 0)
        counts[10] = 98
        counts[20] = 2
        #expect(DurationBuckets.quantile(0.5, of: counts) == DurationBuckets.bound(of: 10))
        #expect(DurationBuckets.quantile(0.99, of: counts) == DurationBuckets.bound(of: 20))
    }
}
