internal import CLinux

/// How many CPUs this process may use: the affinity mask, and the CPU quota of its control group.
///
/// A container with a quota of two CPUs on a machine of 64 must run two event loops, not 64: more would be stopped
/// by the kernel in the middle of requests.
public enum ProcessorAllowance {
    /// The count for this process, at least 1. Reads `/proc` and `/sys`; blocks, so never on a worker.
    public static func current() -> Int {
        processors(affinity: Int(linux_affinity_count())) { path in
            guard let bytes = try? FileContents.read(path, limitBytes: 65_536) else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// max(1, min(affinity, ceil(quota / period))), where `read` gives the text of a file, or nil without one.
    ///
    /// Every group from the process's own up to the root is looked at, because each one's quota holds. Within a
    /// container the own path may name a group that only the host sees; then only the root answers.
    static func processors(affinity: Int, read: (String) -> String?) -> Int {
        let available = max(1, affinity)
        let quotas = files(of: groups(in: read("/proc/self/cgroup") ?? "")).compactMap { $0.quota(read) }
        return quotas.min().map { min(available, $0) } ?? available
    }

    /// The process's groups that may carry a CPU quota, from the text of `/proc/self/cgroup` (cgroups(7)).
    static func groups(in text: String, controller: Substring = "cpu") -> [ControlGroup] {
        text.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[2].hasPrefix("/") else { return nil }
            if parts[0] == "0", parts[1].isEmpty {
                return ControlGroup(version: .two, path: String(parts[2]))
            }
            guard parts[1].split(separator: ",").contains(controller) else { return nil }
            return ControlGroup(version: .one, path: String(parts[2]))
        }
    }

    private static func files(of groups: [ControlGroup]) -> [QuotaFiles] {
        groups.flatMap { group in
            group.version.mountPoints.flatMap { mount in
                group.pathsToRoot.map { QuotaFiles(version: group.version, directory: mount + $0) }
            }
        }
    }
}

/// A control group that a process is in.
struct ControlGroup: Equatable {
    enum Version { case one, two }
    let version: Version
    /// From the hierarchy's root, which is `/`.
    let path: String

    /// The path and those of all its parents, without trailing slashes: `/a/b` gives `/a/b`, `/a` and the empty one.
    var pathsToRoot: [String] {
        var names = path.split(separator: "/")
        var paths: [String] = []
        while !names.isEmpty {
            paths.append("/" + names.joined(separator: "/"))
            names.removeLast()
        }
        return paths + [""]
    }
}

extension ControlGroup.Version {
    /// Where systems mount the hierarchy; `unified` is that of systems with both versions.
    var mountPoints: [String] {
        switch self {
        case .one: ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"]
        case .two: ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        }
    }
}

/// The files of one group that hold its CPU quota.
private struct QuotaFiles {
    let version: ControlGroup.Version
    let directory: String

    /// Whole CPUs that the quota allows, rounded up; nil where there is no file or no quota.
    func quota(_ read: (String) -> String?) -> Int? {
        switch version {
        case .two:
            return read(directory + "/cpu.max").flatMap(CPUQuota.version2)
        case .one:
            guard let quota = read(directory + "/cpu.cfs_quota_us"),
                let period = read(directory + "/cpu.cfs_period_us")
            else { return nil }
            return CPUQuota.version1(quota: quota, period: period)
        }
    }
}

/// The kernel's texts for a CPU quota, as whole CPUs rounded up.
enum CPUQuota {
    /// `cpu.max`: `max 100000`, or quota and period in microseconds; nil where there is no quota.
    static func version2(_ text: String) -> Int? {
        let words = text.split { $0 == " " || $0 == "\n" }
        guard words.count == 2 else { return nil }
        return processors(quota: Int(words[0]), period: Int(words[1]))
    }

    /// `cpu.cfs_quota_us`, -1 for none, and `cpu.cfs_period_us`.
    static func version1(quota: String, period: String) -> Int? {
        processors(quota: integer(quota), period: integer(period))
    }

    private static func integer(_ text: String) -> Int? {
        text.split(separator: "\n").first.flatMap { Int($0) }
    }

    private static func processors(quota: Int?, period: Int?) -> Int? {
        guard let quota, let period, quota > 0, period > 0 else { return nil }
        return max(1, quota / period + (quota % period == 0 ? 0 : 1))
    }
}
