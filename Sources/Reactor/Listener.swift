internal import CLinux
internal import Glibc

/// A listening socket.
///
/// Each worker has one of its own on the same address (SO_REUSEPORT), so the kernel spreads the connections and no
/// two workers wake for one. A Unix socket has no such option: there the workers share one descriptor.
public struct Listener: ~Copyable {
    private let file: FileDescriptor
    /// Where it listens; the real port where port 0 was asked for.
    public let address: SocketAddress

    /// What accept gave.
    public enum Accepted: ~Copyable {
        /// A connection, and where it comes from.
        case connection(Socket, SocketAddress)
        /// None is waiting.
        case none
        /// The connection was gone before it could be taken; another may wait.
        case aborted
        /// No descriptor or memory: accepting again at once would spin.
        case exhausted(Errno)
    }

    /// Connections that the kernel completes before they are accepted; it caps the figure at net.core.somaxconn.
    private static let backlog: Int32 = 4096

    /// Binds and listens; throws what the kernel says where the address is taken or not allowed.
    public init(at address: SocketAddress) throws(Errno) {
        let number = linux_socket(address.family)
        guard number >= 0 else { throw Errno(-number) }
        let file = FileDescriptor(owning: number)
        let real = try Self.listen(number, at: address)
        self.init(file, at: real)
    }

    /// Throws where somebody listens there already. Listeners share their port with each other (SO_REUSEPORT), also
    /// with those of another process of this user: starting twice by mistake would go unnoticed without this.
    public static func expectFree(_ address: SocketAddress) throws(Errno) {
        guard address.port != nil, address.port != 0 else { return }
        let number = linux_socket(address.family)
        guard number >= 0 else { throw Errno(-number) }
        let probe = FileDescriptor(owning: number)
        _ = linux_set_option(probe.number, SOL_SOCKET, SO_REUSEADDR, 1)
        if case .ipv6 = address { _ = linux_set_option(probe.number, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
        // SAFETY: the kernel copies the address during the call.
        let bound = unsafe address.withKernelForm { unsafe linux_bind(probe.number, $0, $1) }
        guard bound >= 0 else { throw Errno(-bound) }
    }

    /// Another descriptor of the same listening socket, for a further worker on a Unix socket.
    public borrowing func duplicate() throws(Errno) -> Listener {
        try Self.duplicate(of: file.number, at: address)
    }

    /// Another descriptor of a listening socket that somebody else owns.
    public static func duplicate(of number: Int32, at address: SocketAddress) throws(Errno) -> Listener {
        let number = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard number >= 0 else { throw Errno(errno) }
        return Listener(FileDescriptor(owning: number), at: address)
    }

    /// Takes over a descriptor that listens already, as another thread or process hands it on.
    public init(owning number: Int32, at address: SocketAddress) {
        self.init(FileDescriptor(owning: number), at: address)
    }

    /// Where an inherited descriptor listens; nil unless it is a stream socket that listens. From then on it does not
    /// block, and is closed in programs that this one starts.
    public static func inheritedAddress(of number: Int32) -> SocketAddress? {
        guard linux_is_listening(number) == 1 else { return nil }
        _ = fcntl(number, F_SETFD, FD_CLOEXEC)
        _ = fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK)
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: local out-parameters of the size that is given.
        guard unsafe linux_local_address(number, &storage, &length) >= 0 else { return nil }
        return SocketAddress(storage, length: Int(length))
    }

    /// Which socket a descriptor is of: duplicates are of one. Nil where it is of none.
    public static func identity(of number: Int32) -> UInt64? {
        var status = stat()
        // SAFETY: a local out-parameter.
        guard unsafe fstat(number, &status) == 0 else { return nil }
        return UInt64(status.st_ino)
    }

    /// Gives the descriptor away, for the worker that will accept from it.
    public consuming func release() -> Int32 {
        file.release()
    }

    private init(_ file: consuming FileDescriptor, at address: SocketAddress) {
        self.file = file
        self.address = address
    }

    /// The kernel's number for it, for the poller.
    public var descriptor: Int32 { file.number }

    /// Takes the next connection.
    public borrowing func accept() -> Accepted {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: local out-parameters of the size that is given.
        let number = unsafe linux_accept(file.number, &storage, &length)
        guard number >= 0 else { return Self.refusal(-number) }
        let socket = Socket(FileDescriptor(owning: number))
        // A peer of a family that is not ours cannot come through a listener of ours.
        let peer = SocketAddress(storage) ?? .unix("")
        socket.sendAtOnce(address)
        return .connection(socket, peer)
    }

    private static func refusal(_ code: Int32) -> Accepted {
        switch code {
        case EAGAIN: .none
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: .exhausted(Errno(code))
        // Everything else is the fate of one connection (ECONNABORTED, EPROTO, and network errors: accept(2)).
        default: .aborted
        }
    }

    private static func listen(_ number: Int32, at address: SocketAddress) throws(Errno) -> SocketAddress {
        if case .unix(let path) = address {
            removeStaleSocket(path)
        } else {
            _ = linux_set_option(number, SOL_SOCKET, SO_REUSEADDR, 1)
            _ = linux_set_option(number, SOL_SOCKET, SO_REUSEPORT, 1)
        }
        if case .ipv6 = address { _ = linux_set_option(number, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
        // SAFETY: the kernel copies the address during the call.
        let bound = unsafe address.withKernelForm { unsafe linux_bind(number, $0, $1) }
        guard bound >= 0 else { throw Errno(-bound) }
        let listening = linux_listen(number, backlog)
        guard listening >= 0 else { throw Errno(-listening) }
        return realAddress(number, asked: address)
    }

    /// A socket file that nobody listens on any more is left by a process that was killed: it would make bind fail.
    private static func removeStaleSocket(_ path: String) {
        guard (try? FilePlace.kind(of: path)) == S_IFSOCK else { return }
        do {
            let probe = try Socket.connecting(to: .unix(path))
            if probe.pendingError() == nil { return }
        } catch {
            guard error.code == ECONNREFUSED else { return }
        }
        _ = unsafe unlink(path)
    }

    private static func realAddress(_ number: Int32, asked: SocketAddress) -> SocketAddress {
        if case .unix = asked { return asked }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: local out-parameters of the size that is given.
        guard unsafe linux_local_address(number, &storage, &length) >= 0 else { return asked }
        return SocketAddress(storage) ?? asked
    }
}
