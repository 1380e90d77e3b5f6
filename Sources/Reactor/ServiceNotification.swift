internal import CLinux
internal import Glibc

/// Tells the service manager what has become of the process (sd_notify(3)); never waits for it.
///
/// `socket` is what NOTIFY_SOCKET holds: a path, or `@` and a name without a file. `text` is one assignment a line.
/// False where the message could not be sent.
@discardableResult
public func notifyServiceManager(at socket: String, _ text: String) -> Bool {
    let path = Array(socket.utf8.map { CChar(bitPattern: $0) })
    let bytes = Array(text.utf8)
    // SAFETY: both arrays are lent for the length of the call.
    return unsafe linux_notify(path, path.count, bytes, bytes.count) >= 0
}

/// The number of this process.
public func processIdentifier() -> Int32 { getpid() }
