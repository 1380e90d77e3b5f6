import Testing

@testable import Reactor

@Suite("Worker count from affinity and cgroup quota")
struct WorkerCountTests {
    private func count(affinity: Int, _ files: [String: String]) -> Int {
        ProcessorAllowance.processors(affinity: affinity) { files[$0] }
    }

    @Test("without a cgroup the affinity decides, and there is always one")
    func affinityOnly() {
        #expect(count(affinity: 8, [:]) == 8)
        #expect(count(affinity: 0, [:]) == 1)
        #expect(count(affinity: -22, [:]) == 1)
    }

    @Test(
        "cpu.max of version 2",
        arguments: [
            ("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000", 1), ("1000 100000", 1),
            ("1600000 100000", 8), ("100001 100000", 2),
        ])
    func version2(text: String, expected: Int) {
        let files = ["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": text]
        #expect(count(affinity: 8, files) == expected)
    }

    @Test(
        "a text that sets no quota is none",
        arguments: ["max 100000\n", "", "200000", "200000 0", "-1 100000", "0 100000", "a b", "1 2 3"])
    func noQuota(text: String) {
        #expect(CPUQuota.version2(text) == nil)
        let files = ["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": text]
        #expect(count(affinity: 5, files) == 5)
    }

    @Test("version 1, with its quota of -1 for none")
    func version1() {
        #expect(CPUQuota.version1(quota: "250000\n", period: "100000\n") == 3)
        #expect(CPUQuota.version1(quota: "-1\n", period: "100000\n") == nil)
        #expect(CPUQuota.version1(quota: "100\n", period: "0\n") == nil)
        #expect(CPUQuota.version1(quota: "", period: "100000") == nil)
        let files = [
            "/proc/self/cgroup": "12:memory:/x\n4:cpu,cpuacct:/docker/abc\n",
            "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "300000\n",
            "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
        ]
        #expect(count(affinity: 16, files) == 3)
    }

    @Test("a container that sees only its own group at the root")
    func rootGroup() {
        let files = [
            "/proc/self/cgroup": "4:cpu:/docker/abc\n", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        ]
        #expect(count(affinity: 16, files) == 2)
    }

    @Test("the tightest quota from the own group up to the root holds")
    func tightestParent() {
        let files = [
            "/proc/self/cgroup": "0::/kube/pod/app\n", "/sys/fs/cgroup/kube/pod/app/cpu.max": "max 100000",
            "/sys/fs/cgroup/kube/pod/cpu.max": "300000 100000",
            "/sys/fs/cgroup/kube/cpu.max": "1000000 100000",
        ]
        #expect(count(affinity: 16, files) == 3)
    }

    @Test("a quota above the affinity gives no further loop")
    func affinityBelowQuota() {
        let files = ["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "800000 100000"]
        #expect(count(affinity: 2, files) == 2)
    }

    @Test("lines that name no CPU group are passed over")
    func foreignLines() {
        #expect(ProcessorAllowance.groups(in: "3:cpuset:/a\n1:name=systemd:/b\nrubbish\n0::relative\n") == [])
        #expect(
            ProcessorAllowance.groups(in: "2:cpuacct,cpu:/a:b\n0::/c\n") == [
                ControlGroup(version: .one, path: "/a:b"), ControlGroup(version: .two, path: "/c"),
            ])
    }

    @Test("this machine has an answer")
    func here() {
        #expect(ProcessorAllowance.current() >= 1)
    }

    @Test("the workers' parts of a limit are the limit, or one each", arguments: [1, 2, 3, 7, 8, 1000, 1001])
    func parts(limit: Int) {
        for count in [1, 2, 3, 8] {
            let parts = (0..<count).map { WorkerPlace($0, of: count).share(of: limit) }
            #expect(parts.reduce(0, +) == max(limit, count))
            #expect(parts.allSatisfy { $0 == max(1, limit / count) || $0 == limit / count + 1 })
        }
        #expect(WorkerPlace(7, of: 2) == WorkerPlace(1, of: 2))
    }

    @Test("a file that is not there, or is too long, is an error and not an empty file")
    func fileContents() {
        #expect(throws: Errno.self) { try FileContents.read("/proc/no-such-file", limitBytes: 10) }
        #expect(throws: Errno.self) { try FileContents.read("/proc/self/status", limitBytes: 10) }
        #expect(throws: Errno.self) { try OutputFile(appendingTo: "/proc/no-such-directory/log") }
    }
}
