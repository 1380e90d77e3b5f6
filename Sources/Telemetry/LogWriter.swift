public import Reactor
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

    fileprivate func open() throws(Errno) -> OutputFile? {
        switch self {
        case .off: nil
        case .standardOutput: .standardOutput
        case .standardError: .standardError
        case .file(let path): try OutputFile(appendingTo: path)
        }
    }
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
        var destination: LogDestination
        /// Says that `output` is to be written to from now on.
        var isRedirected = true
        var output: OutputFile?
    }

    /// What the writer's thread took at a time.
    private struct Turn {
        var lines: [UInt8]
        var isStopping: Bool
        var isRedirected: Bool
        var output: OutputFile?
    }

    /// Lines go elsewhere; nil: nowhere.
    private struct Redirection {
        var output: OutputFile?
    }

    /// While lines keep coming they are written this often: few large writes instead of one, and a wake-up, for each
    /// loop turn of each worker.
    static let collectMilliseconds: Int32 = 20

    private let queue: Mutex<Queue>
    private let capacityBytes: Int
    private let on: Atomic<Bool>
    private let lost = Atomic<UInt64>(0)
    private let finished = Atomic<Bool>(false)
    private let wakeUp: EventDescriptor
    private let stopped: EventDescriptor

    /// Opens the destination; throws where it cannot be opened. Nothing is written until a thread calls `run`.
    public init(destination: LogDestination, capacityBytes: Int = 4 << 20) throws(Errno) {
        precondition(capacityBytes > 0)
        wakeUp = try EventDescriptor()
        stopped = try EventDescriptor()
        let output = try destination.open()
        self.capacityBytes = capacityBytes
        on = Atomic(destination != .off)
        queue = Mutex(Queue(destination: destination, output: output))
    }

    /// False where lines go nowhere.
    public var isOn: Bool { on.load(ordering: .relaxed) }

    /// Lines that were accepted and then lost, because the file or pipe refused them.
    public var linesLost: UInt64 { lost.load(ordering: .relaxed) }

    /// Takes whole lines, each with its line feed; false, and nothing taken, where there is no room for all of them.
    /// Never waits for the destination.
    public func submit(_ lines: Span<UInt8>) -> Bool {
        guard isOn else { return true }
        enum Outcome { case refused, taken, takenAndWake }
        let half = capacityBytes / 2
        let outcome: Outcome = queue.withLock { queue in
            let before = queue.pending.count
            guard before + lines.count <= capacityBytes else { return .refused }
            queue.pending.append(addingCapacity: lines.count) { room in
                for index in 0..<lines.count { room.append(lines[index]) }
            }
            let isWoken = queue.isParked || (before < half && queue.pending.count >= half)
            queue.isParked = false
            return isWoken ? .takenAndWake : .taken
        }
        if outcome == .takenAndWake { wakeUp.signal() }
        return outcome != .refused
    }

    /// Changes where lines go, from the next write on; where opening fails it throws, and nothing changes.
    public func redirect(to destination: LogDestination) throws(Errno) {
        let output = try destination.open()
        queue.withLock { queue in
            queue.output = output
            queue.isRedirected = true
            queue.destination = destination
            queue.isParked = false
        }
        on.store(destination != .off, ordering: .relaxed)
        wakeUp.signal()
    }

    /// Opens the destination's file again, after somebody has moved it away; other destinations stay as they are.
    public func reopen() throws(Errno) {
        let destination = queue.withLock { $0.destination }
        if case .file = destination { try redirect(to: destination) }
    }

    /// Tells `run` to write what is queued and to return.
    public func stop() {
        queue.withLock { $0.isStopping = true }
        wakeUp.signal()
    }

    /// Waits until `run` has returned after `stop`, for at most that many milliseconds; false where it has not,
    /// because the destination is stuck.
    public func waitUntilStopped(milliseconds: Int32) -> Bool {
        if finished.load(ordering: .acquiring) { return true }
        guard var poller = try? Poller.watching(stopped.descriptor) else { return false }
        _ = poller.wait(timeoutMilliseconds: milliseconds)
        return finished.load(ordering: .acquiring)
    }

    /// The body of the writer's thread: writes until `stop`. Call it once, on a thread of its own; throws where the
    /// process has no descriptor left.
    public func run() throws(Errno) {
        var poller = try Poller.watching(wakeUp.descriptor)
        var output = LogOutput()
        var spare: [UInt8] = []
        while true {
            var turn = takePending(giving: spare)
            if turn.isRedirected { _ = output.redirect(to: turn.output) }
            if turn.lines.isEmpty, turn.isStopping { break }
            if turn.lines.isEmpty {
                sleep(&poller, milliseconds: -1)
                continue
            }
            write(turn.lines.span, to: &output)
            turn.lines.removeAll(keepingCapacity: true)
            spare = turn.lines
            if !turn.isStopping { sleep(&poller, milliseconds: LogWriter.collectMilliseconds) }
        }
        finished.store(true, ordering: .releasing)
        stopped.signal()
    }

    /// Writes to the output, or to the one that takes its place meanwhile: a pipe that nobody reads any more must not hold
    /// up what comes after it.
    private func write(_ lines: Span<UInt8>, to output: inout LogOutput) {
        var done = 0
        while true {
            let step = output.write(lines.extracting(done...), unless: wakeUp.descriptor)
            if step.lost > 0 { lost.wrappingAdd(UInt64(step.lost), ordering: .relaxed) }
            guard let written = step.interruptedAfter else { return }
            done += written
            wakeUp.clear()
            guard let next = takeRedirection() else { continue }
            guard output.redirect(to: next.output) else { continue }
            lost.wrappingAdd(1, ordering: .relaxed)
            while done < lines.count, lines[done] != 0x0a { done += 1 }
            done += 1
        }
    }

    /// Where lines go now, where that has changed.
    private func takeRedirection() -> Redirection? {
        queue.withLock { queue in
            guard queue.isRedirected else { return nil }
            queue.isRedirected = false
            return Redirection(output: queue.output)
        }
    }

    private func sleep(_ poller: inout Poller, milliseconds: Int32) {
        if poller.wait(timeoutMilliseconds: milliseconds) > 0 { wakeUp.clear() }
    }

    /// Takes all lines and leaves an empty array, whose memory is used again.
    private func takePending(giving spare: [UInt8]) -> Turn {
        queue.withLock { queue in
            let turn = Turn(
                lines: queue.pending, isStopping: queue.isStopping, isRedirected: queue.isRedirected,
                output: queue.output)
            queue.pending = spare
            queue.isRedirected = false
            queue.isParked = turn.lines.isEmpty && !turn.isStopping
            return turn
        }
    }
}

extension Poller {
    /// A poller for one descriptor that becomes readable.
    fileprivate static func watching(_ descriptor: Int32) throws(Errno) -> Poller {
        let poller = try Poller()
        try poller.add(descriptor, token: 0, for: .readable)
        return poller
    }
}

/// The file, pipe or terminal at the end, and whether its last line is whole.
private struct LogOutput {
    private var file: OutputFile?
    private var lastLine = LastLine.whole

    private enum LastLine {
        case whole
        /// It has begun, and goes on: nothing is wrong, the output only takes no more yet.
        case begun
        /// A write broke off inside it: the next one begins with a line feed, so that its first line is a line.
        case broken
    }

    /// Goes on with another file, or the same one opened again. True where a line has begun whose rest is to be dropped: it
    /// would be no line elsewhere.
    mutating func redirect(to file: OutputFile?) -> Bool {
        if let file, self.file?.isSame(as: file) == true {
            self.file = file
            return false
        }
        let breaksOff = lastLine == .begun
        self = LogOutput(file: file)
        return breaksOff
    }

    /// What came of writing.
    struct Step {
        /// Lines that could not be written.
        var lost = 0
        /// Bytes that were written before the interruption; nil where there was none.
        var interruptedAfter: Int?
    }

    init(file: OutputFile? = nil) {
        self.file = file
    }

    /// Writes whole lines, however long that takes, unless the descriptor becomes readable meanwhile; then the rest is to
    /// come in the next call.
    mutating func write(_ lines: Span<UInt8>, unless interruption: Int32) -> Step {
        guard let file else { return Step() }
        let lineFeed: InlineArray<1, UInt8> = [0x0a]
        if lastLine == .broken {
            switch file.write(lineFeed.span, interruption: interruption) {
            case .bytes: lastLine = .whole
            case .wouldBlock: return Step(interruptedAfter: 0)
            case .failed, .endOfStream: return Step(lost: Self.countLines(lines))
            }
        }
        var written = 0
        while written < lines.count {
            switch file.write(lines.extracting(written...), interruption: interruption) {
            case .bytes(let count) where count > 0: written += count
            case .wouldBlock:
                note(written, of: lines, orElse: .begun)
                return Step(interruptedAfter: written)
            default:
                note(written, of: lines, orElse: .broken)
                return Step(lost: Self.countLines(lines.extracting(written...)))
            }
        }
        lastLine = .whole
        return Step()
    }

    /// Remembers whether the last line is whole after so many bytes, or else what it is.
    private mutating func note(_ written: Int, of lines: Span<UInt8>, orElse cut: LastLine) {
        let isWhole = written > 0 ? lines[written - 1] == 0x0a : lastLine == .whole
        lastLine = isWhole ? .whole : cut
    }

    private static func countLines(_ lines: Span<UInt8>) -> Int {
        var count = 0
        for index in 0..<lines.count where lines[index] == 0x0a { count += 1 }
        return count
    }
}
