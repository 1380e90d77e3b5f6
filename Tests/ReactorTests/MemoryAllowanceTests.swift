import Testing

@testable import Reactor

@Suite("The memory limit of the control group")
struct MemoryAllowanceTests {
    private func bytes(_ files: [String: String]) -> Int? { MemoryAllowance.bytes { files[$0] } }

    @Test("the least limit from the own group up to the root counts")
    func version2() {
        let files = [
            "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "268435456\n",
            "/sys/fs/cgroup/a/memory.max": "134217728\n", "/sys/fs/cgroup/memory.max": "max\n",
        ]
        #expect(bytes(files) == 134_217_728)
    }

    @Test("version 1 writes no limit as a huge number")
    func version1() {
        let own = "/sys/fs/cgroup/memory/x/memory.limit_in_bytes"
        #expect(bytes(["/proc/self/cgroup": "4:memory:/x\n", own: "9223372036854771712\n"]) == nil)
        #expect(bytes(["/proc/self/cgroup": "4:memory:/x\n", own: "1048576\n"]) == 1_048_576)
    }

    @Test("no file, no limit", arguments: ["", "rubbish", "0::/x\n", "3:cpu:/x\n"])
    func none(groups: String) {
        #expect(bytes(["/proc/self/cgroup": groups]) == nil)
        #expect(bytes(["/proc/self/cgroup": groups, "/sys/fs/cgroup/x/memory.max": "0\n"]) == nil)
    }
}
