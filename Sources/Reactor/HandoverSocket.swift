internal import CLinux
internal import Glibc

/// One end of the conversation in which a process hands its listening sockets to the one that comes after it: a
/// SOCK_SEQPACKET Unix socket, whole messages, each with some descriptors (SCM_RIGHTS).
///
/// Both sides are on one machine and the messages are few, so its calls wait, a few seconds at most.
public struct HandoverSocket: ~Copyable {
    /// A message, and the descriptors that came with it, which are the receiver's from now on.
    public struct Message: Sendable, Equatable {
        /// What it says.
        public var text: String
        /// Open descriptors.
        public var descriptors: [Int32]
    }

    /// How many descriptors fit into one message (the kernel takes 253).
    public static let mostDescriptors = 250
    /// A message names one listener: a path of 107 bytes and a few words.
    private static let messageBytes = 1024
    /// The other side answers at once, or never will.
    private static let patienceSeconds: Int32 = 5
    /// One process comes after this one, or two by mistake.
    private static let backlog: Int32 = 4

    private let file: FileDescriptor

    private init(_ file: consuming FileDescriptor) {
        self.file = file
    }

    /// Takes over a descriptor that another process has handed on.
    public init(owning number: Int32) {
        file = FileDescriptor(owning: number)
    }

    /// Waits for successors at a path that nobody but this user may connect to; throws the kernel's reason.
    public static func listening(at path: String) throws(Errno) -> HandoverSocket {
        let socket = try open()
        // The mode of the socket's file, less the umask: only this user may connect.
        _ = fchmod(socket.file.number, 0o600)
        try removeIfStale(path)
        // SAFETY: the kernel copies the address during the call.
        let bound = unsafe SocketAddress.unix(path).withKernelForm {
            unsafe linux_bind(socket.file.number, $0, $1)
        }
        guard bound >= 0 else { throw Errno(-bound) }
        let listening = linux_listen(socket.file.number, backlog)
        guard listening >= 0 else { throw Errno(-listening) }
        return socket
    }

    /// Connects to the process that waits at a path; throws the kernel's reason.
    public static func connected(to path: String) throws(Errno) -> HandoverSocket {
        let socket = try open()
        // SAFETY: the kernel copies the address during the call.
        let result = unsafe SocketAddress.unix(path).withKernelForm {
            unsafe linux_connect(socket.file.number, $0, $1)
        }
        guard result >= 0 else { throw Errno(-result) }
        return socket
    }

    /// What a poller watches.
    public var descriptor: Int32 { file.number }

    /// The next process that connected; call it when the descriptor is readable. Throws the kernel's reason.
    public borrowing func accept() throws(Errno) -> HandoverSocket {
        let number = linux_handover_accept(file.number)
        guard number >= 0 else { throw Errno(-number) }
        _ = linux_handover_patience(number, Self.patienceSeconds)
        return HandoverSocket(FileDescriptor(owning: number))
    }

    /// The process at the other end; nil unless it runs as this user, or as root.
    public borrowing func trustedPeer() -> Int32? {
        var process: Int32 = 0
        var user: UInt32 = 0
        // SAFETY: local out-parameters.
        guard unsafe linux_peer_process(file.number, &process, &user) >= 0 else { return nil }
        return user == geteuid() || user == 0 ? process : nil
    }

    /// Sends a message with at most `mostDescriptors` descriptors, which stay open here; throws the kernel's reason.
    public borrowing func send(_ text: String, descriptors: [Int32] = []) throws(Errno) {
        let bytes = Array(text.utf8)
        precondition(bytes.count <= Self.messageBytes && descriptors.count <= Self.mostDescriptors)
        let number = file.number
        // SAFETY: the arrays are lent for the length of the call.
        let sent = unsafe bytes.withUnsafeBytes { text in
            unsafe descriptors.withUnsafeBufferPointer {
                unsafe linux_send_descriptors(
                    number, text.baseAddress, text.count, $0.baseAddress, Int32($0.count))
            }
        }
        guard sent >= 0 else { throw Errno(Int32(-sent)) }
    }

    /// The next message; nil where the other side has gone. Throws the kernel's reason, EAGAIN where none came in time.
    public borrowing func receive() throws(Errno) -> Message? {
        var bytes = [UInt8](repeating: 0, count: Self.messageBytes)
        var descriptors = [Int32](repeating: -1, count: Int(LINUX_MOST_DESCRIPTORS))
        var count: Int32 = 0
        let number = file.number
        // SAFETY: the arrays are lent for the length of the call, which writes no more than their sizes.
        let received = unsafe bytes.withUnsafeMutableBytes { text in
            unsafe descriptors.withUnsafeMutableBufferPointer {
                unsafe linux_receive_descriptors(
                    number, text.baseAddress, text.count, $0.baseAddress, &count)
            }
        }
        let taken = Array(descriptors[..<Int(count)])
        guard received > 0 else {
            for descriptor in taken { _ = FileDescriptor(owning: descriptor) }
            if received == 0 { return nil }
            throw Errno(Int32(-received))
        }
        return Message(text: String(decoding: bytes[..<received], as: UTF8.self), descriptors: taken)
    }

    private static func open() throws(Errno) -> HandoverSocket {
        let number = linux_handover_socket()
        guard number >= 0 else { throw Errno(-number) }
        let socket = HandoverSocket(FileDescriptor(owning: number))
        _ = linux_handover_patience(number, patienceSeconds)
        return socket
    }

    /// A socket's file that nobody waits at is left by a process that has ended; what is no socket stays.
    private static func removeIfStale(_ path: String) throws(Errno) {
        guard (try? FilePlace.kind(of: path)) == S_IFSOCK else { return }
        do throws(Errno) {
            _ = try connected(to: path)
            throw Errno(EADDRINUSE)
        } catch {
            guard error.code == ECONNREFUSED else { throw error }
        }
        // SAFETY: the path is lent for the call.
        _ = unsafe unlink(path)
    }
}
