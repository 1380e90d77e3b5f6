internal import Glibc

/// What this process takes of the machine. Reads `/proc`; blocks, so never on a worker.
public struct ProcessUsage: Sendable {
    /// User and system time of all threads, in microseconds.
    public let cpuMicroseconds: Int64
    /// Memory that is in RAM.
    public let residentBytes: Int
    /// Addresses that are in use.
    public let virtualBytes: Int
    /// Descriptors that are open.
    public let openDescriptors: Int
    /// Descriptors that there may be.
    public let descriptorLimit: Int

    /// What it is right now; what the system does not tell is 0.
    public static func current() -> ProcessUsage {
        let pages = pageCounts((try? FileContents.read("/proc/self/statm", limitBytes: 4096)) ?? [])
        let pageBytes = sysconf(Int32(_SC_PAGESIZE))
        return ProcessUsage(
            cpuMicroseconds: cpuTime(), residentBytes: pages.resident * pageBytes,
            virtualBytes: pages.virtual * pageBytes, openDescriptors: countDescriptors(),
            descriptorLimit: Reactor.descriptorLimit())
    }

    /// The first two numbers of `/proc/self/statm` (proc(5)).
    static func pageCounts(_ text: [UInt8]) -> (virtual: Int, resident: Int) {
        let numbers = String(decoding: text, as: UTF8.self).split(separator: " ").map { Int($0) ?? 0 }
        return numbers.count >= 2 ? (numbers[0], numbers[1]) : (0, 0)
    }

    private static func cpuTime() -> Int64 {
        var usage = rusage()
        // SAFETY: a local out-parameter. RUSAGE_SELF is 0, which Swift imports as another type.
        unsafe getrusage(0, &usage)
        func microseconds(_ time: timeval) -> Int64 { Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_usec) }
        return microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
    }

    private static func countDescriptors() -> Int {
        // SAFETY: the directory is open until `closedir`, and nobody else has it; entries are only counted.
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        unsafe closedir(directory)
        // Without ".", ".." and the directory's own.
        return max(count - 3, 0)
    }
}
