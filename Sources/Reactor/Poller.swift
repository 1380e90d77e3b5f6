internal import CLinux
internal import Glibc

/// The readiness that an event carries.
public struct Readiness: OptionSet, Sendable, BitwiseCopyable {
    /// The bits of `epoll_event.events`.
    public let rawValue: UInt32
    /// The readiness with those bits.
    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Bytes, or the end of the stream, can be read.
    public static let readable = Readiness(rawValue: 0x001)
    /// Bytes can be written, or a connect is over.
    public static let writable = Readiness(rawValue: 0x004)
    /// The socket has an error.
    public static let error = Readiness(rawValue: 0x008)
    /// Both directions are shut.
    public static let hangUp = Readiness(rawValue: 0x010)
    /// The peer has sent its last byte.
    public static let peerClosed = Readiness(rawValue: 0x2000)
    /// Report a change once, not a state each time (EPOLLET).
    public static let edgeTriggered = Readiness(rawValue: 1 << 31)
}

/// One epoll instance and the events of the last wait.
///
/// Every descriptor is added once, edge-triggered for both directions, and never changed again: in steady state
/// a request costs no epoll_ctl. Who reads or writes remembers readiness until the kernel says "would block".
@safe public struct Poller: ~Copyable {
    private let epoll: FileDescriptor
    private let events: UnsafeMutablePointer<epoll_event>
    /// How many events one wait can bring: enough to amortise the call, few enough to keep turns short.
    public static let eventsPerWait = 256

    /// Opens an epoll instance; throws where the process has no descriptor left.
    public init() throws(Errno) {
        let number = linux_epoll_create()
        guard number >= 0 else { throw Errno(-number) }
        epoll = FileDescriptor(owning: number)
        // SAFETY: owned by this value alone, freed once in `deinit`.
        unsafe events = .allocate(capacity: Self.eventsPerWait)
        unsafe events.initialize(repeating: epoll_event(), count: Self.eventsPerWait)
    }

    /// Goes on with an epoll instance that `open` has made.
    public init(owning number: Int32) {
        epoll = FileDescriptor(owning: number)
        // SAFETY: as above.
        unsafe events = .allocate(capacity: Self.eventsPerWait)
        unsafe events.initialize(repeating: epoll_event(), count: Self.eventsPerWait)
    }

    /// An epoll instance that watches one descriptor, for another thread's poller; throws where the system has none left.
    public static func open(watching descriptor: Int32, token: UInt64) throws(Errno) -> Int32 {
        let number = linux_epoll_create()
        guard number >= 0 else { throw Errno(-number) }
        let file = FileDescriptor(owning: number)
        let result = linux_epoll_control(
            number, EPOLL_CTL_ADD, descriptor, Readiness.readable.rawValue, token)
        guard result >= 0 else { throw Errno(-result) }
        return file.release()
    }

    deinit {
        // SAFETY: allocated in `init`; epoll_event is a plain C struct.
        unsafe events.deallocate()
    }

    /// Watches a descriptor; every event of it carries `token`.
    public borrowing func add(_ descriptor: Int32, token: UInt64, for readiness: Readiness) throws(Errno) {
        let result = linux_epoll_control(epoll.number, EPOLL_CTL_ADD, descriptor, readiness.rawValue, token)
        guard result >= 0 else { throw Errno(-result) }
    }

    /// Watches the descriptor no longer. Closing it has the same effect.
    public borrowing func remove(_ descriptor: Int32) {
        _ = linux_epoll_control(epoll.number, EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    /// Waits for events, at most `timeoutMilliseconds` (negative: without end), and gives their number.
    public mutating func wait(timeoutMilliseconds: Int32) -> Int {
        let count = waitOnce(timeoutMilliseconds)
        // A process that was stopped goes on here (signal(7)), maybe behind its deadlines: what has come in time
        // must be seen before these are.
        return count == -EINTR ? max(waitOnce(0), 0) : count
    }

    /// Waits for an event until `deadline`; false where none has come. For whoever has nothing else to do.
    public mutating func waitForEvent(until deadline: Instant) -> Bool {
        let timeout = deadline.timeoutMilliseconds(from: .now())
        return timeout != 0 && wait(timeoutMilliseconds: timeout) > 0
    }

    private func waitOnce(_ timeoutMilliseconds: Int32) -> Int {
        // SAFETY: the array has room for `eventsPerWait` events.
        let count = unsafe linux_epoll_wait(
            epoll.number, events, Int32(Self.eventsPerWait), timeoutMilliseconds)
        precondition(count >= 0 || count == -EINTR, "epoll_wait fails only by our own mistake")
        return Int(count)
    }

    /// The token of event `index` of the last wait.
    @inline(__always)
    public borrowing func token(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < Self.eventsPerWait)
        // SAFETY: the index was checked, and every entry is initialised.
        return unsafe linux_epoll_token(events + index)
    }

    /// The readiness of event `index` of the last wait.
    @inline(__always)
    public borrowing func readiness(_ index: Int) -> Readiness {
        precondition(index >= 0 && index < Self.eventsPerWait)
        // SAFETY: as above.
        return unsafe Readiness(rawValue: linux_epoll_events(events + index))
    }
}

extension Instant {
    /// How long a poller may wait for this instant from `now` on: milliseconds, rounded up, so that the instant has passed
    /// when it wakes; 0 where it has passed already, negative (without end) for `never`.
    @inlinable
    public func timeoutMilliseconds(from now: Instant) -> Int32 {
        guard self < .never else { return -1 }
        guard self > now else { return 0 }
        return Int32(clamping: (microseconds(since: now) + 999) / 1000)
    }
}
