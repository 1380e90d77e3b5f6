/// How much memory this process may use before the kernel ends it: the limit of its control group.
public enum MemoryAllowance {
    /// In bytes; nil where no group limits it. Reads `/proc` and `/sys`; blocks, so never on a worker.
    public static func current() -> Int? {
        bytes { path in
            guard let bytes = try? FileContents.read(path, limitBytes: 65_536) else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The least limit of the process's group and of all above it; `read` gives the text of a file, or nil.
    static func bytes(read: (String) -> String?) -> Int? {
        let groups = ProcessorAllowance.groups(in: read("/proc/self/cgroup") ?? "", controller: "memory")
        let limits = groups.flatMap { group in
            group.pathsToRoot.compactMap { path in read(file(of: group.version, path)).flatMap(limit) }
        }
        return limits.min()
    }

    private static func file(of version: ControlGroup.Version, _ path: String) -> String {
        switch version {
        case .one: "/sys/fs/cgroup/memory" + path + "/memory.limit_in_bytes"
        case .two: "/sys/fs/cgroup" + path + "/memory.max"
        }
    }

    /// `max`, or a number so large that it means the same (version 1), is no limit.
    private static func limit(_ text: String) -> Int? {
        guard let bytes = text.split(separator: "\n").first.flatMap({ Int($0) }), bytes > 0, bytes < 1 << 60
        else { return nil }
        return bytes
    }
}
