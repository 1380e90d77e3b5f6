internal import CLinux
internal import Glibc
internal import Synchronization

/// Messages from other threads to an event loop: a queue behind a lock, and an eventfd that wakes the loop.
public final class Inbox<Message: Sendable>: Sendable {
    private let queue = Mutex<[Message]>([])
    private let wake: EventDescriptor

    /// An empty inbox; throws where the process has no descriptor left.
    public init() throws(Errno) {
        wake = try EventDescriptor()
    }

    /// What the owning loop adds to its poller, for reading, level-triggered.
    public var descriptor: Int32 { wake.descriptor }

    /// Adds a message and wakes the loop. Any thread may call it.
    public func send(_ message: Message) {
        queue.withLock { $0.append(message) }
        wake.signal()
    }

    /// Waits until there is a message, on a thread that has nothing else to do, and takes the first.
    public func waitForFirst() -> Message {
        while true {
            if let first = queue.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { return first }
            wake.wait()
        }
    }

    /// Takes all messages, in the order they came. The owning loop calls it when the descriptor is readable.
    public func receive() -> [Message] {
        wake.clear()
        return queue.withLock { messages in
            let taken = messages
            messages.removeAll()
            return taken
        }
    }
}

/// An eventfd: a flag that a poller can wait for and any thread can raise.
public final class EventDescriptor: Sendable {
    private let number: Int32

    /// Opens one; throws where the process has no descriptor left.
    public init() throws(Errno) {
        let made = linux_eventfd()
        // Before the property has its value: what throws later has to be taken apart, and there is nothing to close.
        guard made >= 0 else { throw Errno(-made) }
        number = made
    }

    deinit {
        _ = FileDescriptor(owning: number)
    }

    /// What a poller waits for.
    public var descriptor: Int32 { number }

    /// Raises the flag.
    public func signal() {
        var one: UInt64 = 1
        // SAFETY: an eventfd takes eight bytes; a full counter (EAGAIN) is raised already.
        _ = unsafe linux_write(number, &one, 8)
    }

    /// Waits until the flag is raised, and lowers it.
    func wait() {
        var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        // SAFETY: one entry, which lives for the call.
        _ = unsafe poll(&entry, 1, -1)
        clear()
    }

    /// Lowers the flag.
    public func clear() {
        var count: UInt64 = 0
        // SAFETY: an eventfd gives eight bytes, or EAGAIN where it was not raised.
        _ = unsafe linux_read(number, &count, 8)
    }
}
