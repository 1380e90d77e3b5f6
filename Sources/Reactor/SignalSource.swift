internal import CLinux
internal import Glibc

/// The signals that the process handles, as a descriptor for a poller.
public enum Signal: Int32, Sendable, CaseIterable {
    /// Read the configuration again.
    case hangUp = 1
    /// Drain and end, as from a terminal.
    case interrupt = 2
    /// Open the log files again.
    case reopen = 10
    /// Drain and end.
    case terminate = 15
}

/// Blocks the handled signals and gives them out one by one.
///
/// It must be made before any other thread starts, because threads inherit the signal mask.
public struct SignalSource: ~Copyable {
    private let file: FileDescriptor

    /// Blocks the handled signals for this thread and those it starts, and ignores SIGPIPE and SIGXFSZ.
    public init() throws(Errno) {
        var set = sigset_t()
        // SAFETY: a local set, filled by the calls below.
        unsafe sigemptyset(&set)
        for signal in Signal.allCases { unsafe sigaddset(&set, signal.rawValue) }
        _ = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        _ = signal(SIGPIPE, SIG_IGN)
        // A log file at its size limit is a write that fails, not the end.
        _ = signal(SIGXFSZ, SIG_IGN)
        let number = unsafe linux_signalfd(&set)
        guard number >= 0 else { throw Errno(-number) }
        file = FileDescriptor(owning: number)
    }

    /// What a poller waits for.
    public var descriptor: Int32 { file.number }

    /// The next signal that came, or nil.
    public borrowing func next() -> Signal? {
        var info = signalfd_siginfo()
        // SAFETY: a signalfd fills whole structures of this size, or gives EAGAIN.
        let count = unsafe linux_read(file.number, &info, MemoryLayout<signalfd_siginfo>.size)
        guard count == MemoryLayout<signalfd_siginfo>.size else { return nil }
        return Signal(rawValue: Int32(info.ssi_signo))
    }
}
