internal import Glibc

/// A file, pipe or terminal that is only written to, by a thread that may be made to wait for it.
public final class OutputFile: Sendable {
    private let number: Int32
    private let isOwned: Bool

    /// The standard output of the process.
    public static let standardOutput = OutputFile(standard: 1)
    /// The standard error of the process.
    public static let standardError = OutputFile(standard: 2)

    /// Opens a file for appending, and creates it with mode 0640 where there is none; throws the kernel's reason.
    ///
    /// A named pipe is opened for both directions, and so is a reader of itself: opening does not wait for somebody who
    /// reads, and what was written stays in the pipe while its reader is started anew.
    public init(appendingTo path: String) throws(Errno) {
        let access = Self.isPipe(path) ? O_RDWR | O_NONBLOCK : O_WRONLY
        // SAFETY: the path is lent as a text that ends with a zero for this call.
        number = unsafe open(path, access | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0o640)
        isOwned = true
        guard number >= 0 else { throw Errno(errno) }
    }

    private init(standard number: Int32) {
        self.number = number
        isOwned = false
    }

    private static func isPipe(_ path: String) -> Bool {
        var facts = stat()
        // SAFETY: the path is lent as a text that ends with a zero, and the facts are written during the call only.
        return unsafe stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFIFO
    }

    deinit {
        // The standard descriptors stay open: a socket would get their number, and the next print.
        if isOwned, number >= 0 { _ = close(number) }
    }

    /// True where the other end is a terminal.
    public var isTerminal: Bool { isatty(number) == 1 }

    /// True where both are one file or pipe, whatever its name is now.
    public func isSame(as other: OutputFile) -> Bool {
        var (mine, others) = (stat(), stat())
        // SAFETY: local out-parameters.
        guard unsafe fstat(number, &mine) == 0, unsafe fstat(other.number, &others) == 0 else { return false }
        return mine.st_dev == others.st_dev && mine.st_ino == others.st_ino
    }

    /// Writes at least one byte of some, and waits as long as that takes. `wouldBlock` comes only where `interruption`, a
    /// descriptor, has become readable while a pipe that is ours, or that somebody made non-blocking, took nothing.
    public func write(_ bytes: Span<UInt8>, interruption: Int32 = -1) -> IOResult {
        while true {
            // SAFETY: the kernel reads the span during the call only.
            let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(number, $0.baseAddress, $0.count) }
            if count >= 0 { return .bytes(count) }
            switch errno {
            case EINTR: continue
            // Somebody who shares the terminal or pipe made it non-blocking.
            case EAGAIN: if waitUntilWritable(or: interruption) { return .wouldBlock }
            default: return .failed(Errno(errno))
            }
        }
    }

    /// True where the interruption came.
    private func waitUntilWritable(or interruption: Int32) -> Bool {
        var entries = [
            pollfd(fd: number, events: Int16(POLLOUT), revents: 0),
            // A negative number is passed over.
            pollfd(fd: interruption, events: Int16(POLLIN), revents: 0),
        ]
        // SAFETY: two entries, which live for the call.
        _ = unsafe poll(&entries, 2, 1000)
        return entries[1].revents != 0
    }
}
