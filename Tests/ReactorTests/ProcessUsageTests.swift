import Testing

@testable import Reactor

@Suite("What the process takes")
struct ProcessUsageTests {
    @Test("this process has memory, time and descriptors")
    func current() throws {
        let before = ProcessUsage.current()
        #expect(before.residentBytes > 1 << 20 && before.virtualBytes > before.residentBytes)
        #expect(before.cpuMicroseconds > 0 && before.openDescriptors >= 3)
        #expect(before.descriptorLimit >= before.openDescriptors)
    }

    @Test("what is no such text counts as nothing", arguments: ["", "1", "x y z", "9\n"])
    func broken(text: String) {
        #expect(ProcessUsage.pageCounts(Array(text.utf8)) == (0, 0))
    }

    @Test("the first two numbers")
    func pages() {
        #expect(ProcessUsage.pageCounts(Array("2270 1152 1060 9 0 98 0\n".utf8)) == (2270, 1152))
    }
}
