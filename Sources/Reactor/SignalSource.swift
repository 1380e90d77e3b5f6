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

extension Signal {
    /// Until there is a `SignalSource`: SIGTERM and SIGINT end the process with 0 at once, since nothing is begun that would
    /// have to be ended; SIGHUP and SIGUSR1 wait for the source, and the others that are sent to proxies do nothing. What they
    /// do by themselves is to kill, and to do nothing at all where the process is the first of a container.
    public static func awaitSource() {
        var later = sigset_t()
        // SAFETY: a local set, filled by the calls below.
        unsafe sigemptyset(&later)
        for signal in [Signal.hangUp, .reopen] { unsafe sigaddset(&later, signal.rawValue) }
        _ = unsafe pthread_sigmask(SIG_BLOCK, &later, nil)
        for signal in [Signal.interrupt, .terminate] { linux_end_on_signal(signal.rawValue) }
        ignoreOthers()
    }

    /// Those that must not end the process: a pipe that nobody reads and a file at its size limit are writes that fail, and
    /// SIGUSR2 has a meaning for other proxies.
    fileprivate static func ignoreOthers() {
        for number in [SIGPIPE, SIGXFSZ, SIGUSR2] { _ = signal(number, SIG_IGN) }
    }

    /// True where the process has been told to end, and the source has not said so yet: whoever waits may stop.
    public static var endIsPending: Bool {
        var pending = sigset_t()
        // SAFETY: a local set, filled and read during the calls.
        guard unsafe sigpending(&pending) == 0 else { return false }
        return unsafe sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1
    }
}

/// Blocks the handled signals and gives them out one by one.
///
/// It must be made before any other thread starts, because threads inherit the signal mask.
public struct SignalSource: ~Copyable {
    private let file: FileDescriptor

    /// Blocks the handled signals for this thread and those it starts, and ignores SIGPIPE, SIGXFSZ and SIGUSR2.
    public init() throws(Errno) {
        var set = sigset_t()
        // SAFETY: a local set, filled by the calls below.
        unsafe sigemptyset(&set)
        for signal in Signal.allCases { unsafe sigaddset(&set, signal.rawValue) }
        _ = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        Signal.ignoreOthers()
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

    /// Takes the same signal once more, where it comes within that time: whoever ends a process and its group, as `timeout` of
    /// coreutils does, sends it twice, and means one.
    public borrowing func takeAgain(_ signal: Signal, withinMilliseconds milliseconds: Int) {
        var only = sigset_t()
        var patience = timespec(tv_sec: 0, tv_nsec: milliseconds * 1_000_000)
        // SAFETY: local structures, filled here and read during the call; no information on the signal is asked for.
        unsafe sigemptyset(&only)
        unsafe sigaddset(&only, signal.rawValue)
        _ = unsafe sigtimedwait(&only, nil, &patience)
    }
}
