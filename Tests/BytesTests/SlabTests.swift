import Testing

@testable import Bytes

/// Counts its deinitialisations, to see that a slab drops each value exactly once.
private final class Tally {
    var count = 0
}

private struct Resource: ~Copyable {
    var value: Int
    let tally: Tally?

    init(_ value: Int, _ tally: Tally? = nil) {
        self.value = value
        self.tally = tally
    }

    deinit { tally?.count += 1 }
}

@Suite("Slab")
struct SlabTests {
    @Test("A value is found under its handle, and changed in place")
    func insertAndFind() {
        var slab = Slab<Resource>(capacity: 200)
        let handles = (0..<200).map { slab.insert(Resource($0)) }
        #expect(slab.isFull && slab.count == 200)
        for (value, handle) in handles.enumerated() {
            #expect(slab.contains(handle) && slab.handle(at: handle.index) == handle)
            #expect(slab[handle.index].value == value)
            slab[handle.index].value += 1
        }
        #expect(slab[handles[199].index].value == 200)
        #expect(Set(handles.map(\.index)).count == 200)
    }

    @Test("A handle of a value that is gone names nothing, also when its slot is taken again")
    func staleHandle() {
        var slab = Slab<Resource>(capacity: 1)
        let first = slab.insert(Resource(1))
        #expect(slab.remove(first).value == 1)
        #expect(!slab.contains(first) && !slab.isLive(first.index) && slab.count == 0)
        let second = slab.insert(Resource(2))
        #expect(second.index == first.index && second != first)
        #expect(!slab.contains(first) && slab.contains(second))
    }

    @Test("Handles that no slab gave out name nothing")
    func foreignHandle() {
        var slab = Slab<Resource>(capacity: 4)
        let handle = slab.insert(Resource(1))
        #expect(!slab.contains(.none) && Handle.none.isNone && !handle.isNone)
        #expect(slab.contains(Handle(index: 1_000, generation: 1)) == false)
        #expect(slab.contains(Handle(index: handle.index, generation: handle.generation + 2)) == false)
        #expect(slab.contains(Handle(index: handle.index + 1, generation: 0)) == false)
    }

    @Test("Dropping a slab drops the values in it, and each once")
    func dropsValues() {
        let tally = Tally()
        do {
            var slab = Slab<Resource>(capacity: 100)
            let handles = (0..<70).map { slab.insert(Resource($0, tally)) }
            for handle in handles[10..<20] { _ = slab.remove(handle) }
            #expect(tally.count == 10)
            for handle in handles[20..<30] { slab.discard(handle) }
            #expect(tally.count == 20)
            #expect(handles[20..<30].allSatisfy { !slab.contains($0) })
            #expect(slab.slots >= 70)
            #expect((0..<slab.slots).filter { slab.isLive($0) }.count == 50)
        }
        #expect(tally.count == 70)
    }

    @Test("Many rounds of insertion and removal agree with a dictionary")
    func model() {
        var slab = Slab<Resource>(capacity: 130)
        var model: [UInt64: Int] = [:]
        var handles: [Handle] = []
        var random = SystemRandomNumberGenerator()
        for round in 0..<5_000 {
            if handles.isEmpty || (!slab.isFull && Bool.random(using: &random)) {
                let handle = slab.insert(Resource(round))
                #expect(model.updateValue(round, forKey: key(handle)) == nil)
                handles.append(handle)
            } else {
                let handle = handles.remove(at: Int.random(in: 0..<handles.count, using: &random))
                #expect(slab.remove(handle).value == model.removeValue(forKey: key(handle)))
            }
            #expect(slab.count == model.count)
        }
    }

    private func key(_ handle: Handle) -> UInt64 { UInt64(handle.index) << 32 | UInt64(handle.generation) }

    @Test("Removing twice, reading a free slot and inserting into a full slab are bugs")
    func bugs() async {
        await #expect(processExitsWith: .failure) {
            var slab = Slab<Int>(capacity: 1)
            let handle = slab.insert(1)
            _ = slab.remove(handle)
            _ = slab.remove(handle)
        }
        await #expect(processExitsWith: .failure) {
            var slab = Slab<Int>(capacity: 1)
            let handle = slab.insert(1)
            slab.discard(handle)
            slab.discard(handle)
        }
        await #expect(processExitsWith: .failure) {
            let slab = Slab<Int>(capacity: 1)
            _ = slab[0]
        }
        await #expect(processExitsWith: .failure) {
            var slab = Slab<Int>(capacity: 1)
            _ = slab.insert(1)
            _ = slab.insert(2)
        }
    }
}
