import Reactor
import Testing

@testable import Upstream

@Suite("What the process knows of a server")
struct ServerStateTests {
    private let now = Instant(microseconds: 1_000_000)

    @Test(
        "for more workers it is the same server: verdicts stay, and counts of before and after go on together"
    )
    func grows() {
        let before = ServerState(workers: 1)
        before.setUp(false, at: now)
        before.cells(ofWorker: 0).requests.adjust(by: 3)
        before.eject(until: now.advanced(byMilliseconds: 500))
        let after = ServerState(before, workers: 3)
        #expect(after != before && !after.isUp && after.isEjected(at: now) && after.ejections == 1)
        before.cells(ofWorker: 0).requests.adjust(by: 1)
        after.cells(ofWorker: 2).requests.adjust(by: 10)
        #expect(after.requests == 14)
        let same = ServerState(after, workers: 2)
        #expect(same.requests == 14, "fewer workers lose no count")
    }

    @Test("an ejection can be cut short, and is never made longer by that")
    func limitedEjection() {
        let state = ServerState(workers: 1)
        state.limitEjection(until: now)
        #expect(!state.isEjected(at: now) && state.returned == nil)
        state.eject(until: now.advanced(byMilliseconds: 500))
        state.limitEjection(until: now.advanced(byMilliseconds: 900))
        #expect(!state.isEjected(at: now.advanced(byMilliseconds: 500)))
        state.limitEjection(until: now.advanced(byMilliseconds: 100))
        #expect(state.isEjected(at: now.advanced(byMilliseconds: 99)))
        #expect(!state.isEjected(at: now.advanced(byMilliseconds: 100)) && state.ejections == 1)
    }

    @Test("an upstream's counts go on as well")
    func upstream() {
        let before = UpstreamState(workers: 2)
        before.cells(ofWorker: 1).retries.adjust(by: 2)
        let after = UpstreamState(before, workers: 4)
        after.cells(ofWorker: 3).retries.adjust(by: 5)
        #expect(after.retries == 7 && UpstreamState(after, workers: 1).retries == 7)
    }
}
