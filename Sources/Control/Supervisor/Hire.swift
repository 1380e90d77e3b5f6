import Proxy
import Reactor

/// A worker that can start: all that it needs of the system is there, its thread included, so that nothing can be wanting once
/// others have been told of it.
final class Hire: Sendable {
    /// What it starts with.
    struct Start: Sendable {
        var parts: WorkerParts
        var settings: ProxySettings
        var listeners: [WorkerListener]
    }

    let inbox: Inbox<WorkerMessage>
    let poller: Int32
    /// How it is told to start; nil: it is not wanted any more.
    private let gate: Inbox<Start?>

    /// Throws where the system has no thread or descriptor left.
    init(_ index: Int, _ work: @escaping @Sendable (Start) -> Void) throws(Errno) {
        inbox = try Inbox()
        let gate = try Inbox<Start?>()
        self.gate = gate
        let poller = try WorkerParts.openPoller(for: inbox)
        self.poller = poller
        do throws(Errno) {
            // Nobody waits for it: its end is reported. Its stack goes with it, or a change of `workers` would leave one each.
            try Thread(name: "usher-\(index)") {
                guard let start = gate.waitForFirst() else {
                    _ = FileDescriptor(owning: poller)
                    return
                }
                work(start)
            }.detach()
        } catch {
            _ = FileDescriptor(owning: poller)
            throw error
        }
    }

    /// Has it start.
    func begin(_ start: Start) { gate.send(start) }

    /// It is not wanted.
    func dismiss() { gate.send(nil) }
}
