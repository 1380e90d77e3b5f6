import Glibc
import Synchronization

/// Where log lines are written to.
public enum LogDestination: Sendable, Equatable {
    /// Nowhere.
    case off
    /// The standard output of the process.
    case standardOutput
    /// The standard error of the process.
    case standardError
    /// A file, appended to; created with mode 0640.
    case file(String)
}

/// A log file could not be opened.
public struct LogOpenError: Error, Equatable {
    /// The file's path.
    public let path: String
    /// The `errno` of `open`.
    public let code: Int32
}

/// Takes finished lines from any number of threads and writes them on its own, so that nobody else ever waits for a
/// pipe or a disk.
///
/// At most `capacityBytes` wait to be written; what comes beyond is refused, and the caller counts it.
public final class LogWriter: Sendable {
    private struct Queue {
        var pending: [UInt8] = []
        /// The thread sleeps until it is woken; else it looks by itself soon.
        var isParked = false
        var isStopping = false
        /// A destination to change to before the next write.
        var nextDescriptor: Int32?
        var destination: LogDestination
    }

    /// While lines keep coming they are written this often, in milliseconds: few large writes instead of one, and a
    /// wake-up, for each loop turn of each worker.
    static let collectMilliseconds: Int32 = 20

    private let queue: Mutex<Queue>
    private let capacityBytes: Int
    private let on: Atomic<Bool>
    private let lost = Atomic<UInt64>(0)
    private let finished = Atomic<Bool>(false)
    private let wakeUp: WakeUp

    /// Opens the destination. Nothing is written until a thread calls `run`.
    public init(destination: LogDestination, capacityBytes: Int = 4 << 20) throws(LogOpenError) {
        let descriptor = try LogWriter.open(destination)
        wakeUp = WakeUp()
        self.capacityBytes = capacityBytes
        on = Atomic(destination != .off)
        var queue = Queue(destination: destination)
        queue.nextDescriptor = descriptor
        self.queue = Mutex(queue)
    }

    /// False where lines go nowhere.
    public var isOn: Bool { on.load(ordering: .relaxed) }

    /// Lines that were accepted and then lost, because the file or pipe refused them.
    public var linesLost: UInt64 { lost.load(ordering: .relaxed) }

    /// Takes whole lines, each with its line feed; false where there is no room for all of them. Never waits for the
    /// destination.
    public func submit(_ lines: Span<UInt8>) -> Bool {
        guard isOn else { return true }
        let half = capacityBytes / 2
        enum Outcome { case refused, taken, takenAndWake }
        let outcome: Outcome = queue.withLock { queue in
            let before = queue.pending.count
            guard before + lines.count <= capacityBytes else { return .refused }
            unsafe lines.withUnsafeBufferPointer { lines in
                // SAFETY: the pointer is used within the closure only; `append` copies.
                unsafe queue.pending.append(contentsOf: lines)
            }
            let isWoken = queue.isParked || (before < half && queue.pending.count >= half)
            queue.isParked = false
            return isWoken ? .takenAndWake : .taken
        }
        if outcome == .takenAndWake { wakeUp.signal() }
        return outcome != .refused
    }

    /// Changes where lines go, from the next write on; where opening fails nothing changes.
    public func redirect(to destination: LogDestination) throws(LogOpenError) {
        let descriptor = try LogWriter.open(destination)
        let unused = queue.withLock { queue -> Int32? in
            let unused = queue.nextDescriptor
            queue.nextDescriptor = descriptor
            queue.destination = destination
            queue.isParked = false
            return unused
        }
        if let unused { LogWriter.close(unused) }
        on.store(destination != .off, ordering: .relaxed)
        wakeUp.signal()
    }

    /// Opens the destination's file again, after somebody has moved it away.
    public func reopen() throws(LogOpenError) {
        let destination = queue.withLock { $0.destination }
        if case .file = destination { try redirect(to: destination) }
    }

    /// Tells `run` to write what is queued and to return.
    public func stop() {
        queue.withLock { $0.isStopping = true }
        wakeUp.signal()
    }

    /// Waits until `run` has returned after `stop`, for at most that many milliseconds; false where it has not.
    public func waitUntilStopped(milliseconds: Int) -> Bool {
        var waited = 0
        while !finished.load(ordering: .acquiring) {
            guard waited < milliseconds else { return false }
            usleep(2000)
            waited += 2
        }
        return true
    }

    /// The body of the writer's thread: writes until `stop`. Call it once, on a thread of its own.
    public func run() {
        var output = LogOutput(descriptor: -1)
        var batch: [UInt8] = []
        while true {
            let turn = takePending(&batch)
            if let descriptor = turn.nextDescriptor { output.replace(by: descriptor) }
            if batch.isEmpty {
                if turn.isStopping { break }
                wakeUp.wait(milliseconds: -1)
                continue
            }
            let refused = output.write(batch)
            if refused > 0 { lost.wrappingAdd(UInt64(refused), ordering: .relaxed) }
            batch.removeAll(keepingCapacity: true)
            if !turn.isStopping { wakeUp.wait(milliseconds: LogWriter.collectMilliseconds) }
        }
        output.replace(by: -1)
        finished.store(true, ordering: .releasing)
    }

    private func takePending(_ batch: inout [UInt8]) -> (nextDescriptor: Int32?, isStopping: Bool) {
        // The two arrays trade places, so in steady state both keep their memory.
        var taken: [UInt8] = []
        swap(&taken, &batch)
        let result = queue.withLock { queue in
            let empty = taken
            taken = queue.pending
            queue.pending = empty
            queue.isParked = taken.isEmpty && !queue.isStopping
            let next = queue.nextDescriptor
            queue.nextDescriptor = nil
            return (taken, next, queue.isStopping)
        }
        batch = result.0
        return (result.1, result.2)
    }

    private static func open(_ destination: LogDestination) throws(LogOpenError) -> Int32 {
        switch destination {
        case .off: return -1
        case .standardOutput: return 1
        case .standardError: return 2
        case .file(let path):
            let descriptor = unsafe Glibc.open(
                path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0o640)
            guard descriptor >= 0 else { throw LogOpenError(path: path, code: errno) }
            return descriptor
        }
    }

    fileprivate static func close(_ descriptor: Int32) {
        // The standard descriptors stay open: something else would get their number.
        if descriptor > 2 { _ = Glibc.close(descriptor) }
    }
}

/// The file, pipe or terminal at the end, as the writer's thread sees it.
private struct LogOutput {
    private var descriptor: Int32
    /// A write broke off inside a line: the next one must begin with a line feed to be a line again.
    private var isInsideLine = false

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    mutating func replace(by other: Int32) {
        LogWriter.close(descriptor)
        descriptor = other
        isInsideLine = false
    }

    /// Writes whole lines, however long that takes; says how many could not be written.
    mutating func write(_ lines: [UInt8]) -> Int {
        guard descriptor >= 0 else { return 0 }
        if isInsideLine, writeSome([0x0a], from: 0) == 1 { isInsideLine = false }
        var written = 0
        while written < lines.count, !isInsideLine {
            let count = writeSome(lines, from: written)
            guard count > 0 else { break }
            written += count
        }
        if written == lines.count { return 0 }
        if written > 0 { isInsideLine = lines[written - 1] != 0x0a }
        return lines[written...].count { $0 == 0x0a }
    }

    /// One `write` that eats EINTR and waits where a non-blocking destination is full; 0 or less where it failed.
    private func writeSome(_ lines: [UInt8], from start: Int) -> Int {
        while true {
            let count = unsafe lines.withUnsafeBytes { bytes in
                // SAFETY: start is inside the array, and the kernel only reads `bytes.count - start` bytes.
                unsafe Glibc.write(
                    descriptor, bytes.baseAddress.map { unsafe $0 + start }, bytes.count - start)
            }
            if count >= 0 { return count }
            switch errno {
            case EINTR: continue
            case EAGAIN: waitUntilWritable(descriptor)
            default: return -1
            }
        }
    }
}

private func waitUntilWritable(_ descriptor: Int32) {
    var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    // SAFETY: one entry, which lives for the call.
    _ = unsafe poll(&entry, 1, 1000)
}

/// A pipe that wakes the writer's thread.
private struct WakeUp: Sendable {
    private let reading: Int32
    private let writing: Int32

    init() {
        var ends: (Int32, Int32) = (-1, -1)
        // SAFETY: `pipe` writes two integers.
        let result = unsafe withUnsafeMutableBytes(of: &ends) { bytes in
            unsafe pipe(bytes.baseAddress?.assumingMemoryBound(to: Int32.self))
        }
        precondition(result == 0, "no file descriptors left at start")
        (reading, writing) = ends
        for end in [reading, writing] {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
    }

    func signal() {
        var byte: UInt8 = 1
        // SAFETY: one byte; a full pipe already holds a wake-up, so a refused write loses nothing.
        _ = unsafe write(writing, &byte, 1)
    }

    /// Returns when signalled, or after that many milliseconds; -1 waits for ever.
    func wait(milliseconds: Int32) {
        var entry = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
        // SAFETY: one entry, which lives for the call.
        guard unsafe poll(&entry, 1, milliseconds) > 0 else { return }
        var drained: UInt64 = 0
        // SAFETY: at most eight bytes into an eight-byte integer.
        while unsafe read(reading, &drained, 8) == 8 {}
    }
}
