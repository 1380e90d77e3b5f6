import Bytes
import Glibc
import Policy
import Testing

@testable import Proxy

/// What this thread has had of a CPU: how many others want it makes no difference.
private func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

private func entry(_ index: UInt32) -> WaitingClient {
    WaitingClient(
        client: Handle(index: index, generation: 1), isQuestion: false, round: .first, verdictCount: 0,
        fields: [])
}

private func indices(_ entries: [WaitingClient]) -> [UInt32] { entries.map(\.client.index) }

@Suite("Clients that wait for somebody's word")
struct WaitingClientsTests {
    @Test("each waits for its own, in the order in which they came, but for those who left")
    func order() {
        var waiting = WaitingClients<Int>(capacity: 100)
        #expect(waiting.add(entry(0), for: 7) == true)
        #expect(waiting.add(entry(1), for: 8) == true)
        for index in 2..<20 { #expect(waiting.add(entry(UInt32(index)), for: 7) == false) }
        for index in 2..<18 { #expect((waiting.remove(entry(UInt32(index)).client) != nil) == true) }
        #expect((waiting.remove(entry(2).client) == nil) == true)
        #expect((waiting.remove(entry(50).client) == nil) == true)
        #expect(waiting.add(entry(2), for: 8) == false)
        #expect(indices(waiting.take(7)) == [0, 18, 19])
        #expect(indices(waiting.take(7)).isEmpty)
        #expect(indices(waiting.take(8)) == [1, 2])
    }

    @Test("when all have left, the next one is the first again, and there is room")
    func first() {
        var waiting = WaitingClients<Int>(capacity: 2)
        #expect(waiting.add(entry(0), for: 7) == true)
        #expect(waiting.add(entry(1), for: 7) == false)
        #expect(waiting.add(entry(2), for: 7) == nil)
        #expect((waiting.remove(entry(0).client) != nil) == true)
        #expect((waiting.remove(entry(1).client) != nil) == true)
        #expect(waiting.add(entry(2), for: 7) == true)
        #expect(waiting.add(entry(3), for: 9) == true)
        #expect(Set(indices(waiting.takeAll())) == [2, 3])
        #expect(waiting.add(entry(2), for: 7) == true)
    }

    @Test("one that left and waits again stands at the end, and its first place goes")
    func returning() {
        var waiting = WaitingClients<Int>(capacity: 100)
        for index in 0..<10 { _ = waiting.add(entry(UInt32(index)), for: 7) }
        for index in [3, 0, 3] {
            #expect((waiting.remove(entry(UInt32(index)).client) != nil) == true)
            #expect(waiting.add(entry(UInt32(index)), for: 7) == false)
        }
        #expect(indices(waiting.take(7)) == [1, 2, 4, 5, 6, 7, 8, 9, 0, 3])
        #expect((waiting.takeAll().isEmpty && waiting.placeCount == 0) == true)
    }

    @Test("those who come and go again and again leave no more places behind than clients wait")
    func returningOften() {
        var waiting = WaitingClients<Int>(capacity: 1_000)
        for index in 0..<1_000 { _ = waiting.add(entry(UInt32(index)), for: index % 2) }
        let start = cpuSeconds()
        var most = 0
        for turn in 0..<100_000 {
            let index = turn % 1_000
            _ = waiting.remove(entry(UInt32(index)).client)
            _ = waiting.add(entry(UInt32(index)), for: index % 2)
            most = max(most, waiting.placeCount)
        }
        #expect(most <= 2_000)
        let even: [UInt32] = Array(stride(from: 0, to: 1_000, by: 2))
        #expect(indices(waiting.take(0)) == even)
        #expect(waiting.takeAll().count == 500)
        // A walk through the whole line for each takes twice as long.
        #expect(cpuSeconds() - start < 20)
    }

    @Test("50,000 that leave together hold nobody up", arguments: [1, 50_000])
    func leavingTogether(keys: Int) {
        var waiting = WaitingClients<Int>(capacity: 50_000)
        for index in 0..<50_000 { _ = waiting.add(entry(UInt32(index)), for: index % keys) }
        let start = cpuSeconds()
        for index in (0..<50_000).reversed() { _ = waiting.remove(entry(UInt32(index)).client) }
        #expect((waiting.takeAll().isEmpty) == true)
        // Looked for one by one, 4,096 take half a second, optimized, and ten times as many a hundred times as long.
        #expect(cpuSeconds() - start < 10)
    }
}
