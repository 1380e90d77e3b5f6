internal import CLinux
internal import Glibc

/// A joinable thread of the system's.
public struct Thread: ~Copyable, Sendable {
    private let identifier: pthread_t

    /// Starts a thread that runs `body`; throws where the system has none left.
    public init(name: String, _ body: sending @escaping () -> Void) throws(Errno) {
        let box = unsafe Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        // SAFETY: the box is retained for the new thread, which takes it over.
        let code = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                unsafe linux_name_thread(start.name)
                start.body()
                return nil
            }, box.toOpaque())
        guard code == 0 else {
            unsafe box.release()
            throw Errno(code)
        }
        identifier = thread
    }

    /// Waits until the thread has ended.
    public consuming func join() {
        // Joined once: the value is consumed.
        _ = pthread_join(identifier, nil)
    }

    /// Lets the thread end by itself: nobody waits for it, and nothing is left of it.
    public consuming func detach() {
        // Detached once: the value is consumed.
        _ = pthread_detach(identifier)
    }

    private final class Start {
        let name: String
        let body: () -> Void
        init(name: String, body: @escaping () -> Void) {
            // Linux keeps 15 bytes of a thread's name.
            self.name = String(name.prefix(15))
            self.body = body
        }
    }
}
