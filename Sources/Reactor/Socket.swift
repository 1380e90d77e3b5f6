public import Bytes
internal import CLinux
internal import Glibc

/// A connected, or connecting, non-blocking stream socket.
public struct Socket: ~Copyable {
    private let file: FileDescriptor

    init(_ file: consuming FileDescriptor) {
        self.file = file
    }

    /// No socket: every call fails. What stands in its place is somebody else's connection.
    public static var none: Socket { Socket(.none) }

    /// The kernel's number for it, for the poller.
    public var descriptor: Int32 { file.number }

    /// Starts to connect. The poller reports `writable` when it is decided; `pendingError` tells how.
    public static func connecting(to address: SocketAddress) throws(Errno) -> Socket {
        let number = linux_socket(address.family)
        guard number >= 0 else { throw Errno(-number) }
        let socket = Socket(FileDescriptor(owning: number))
        socket.sendAtOnce(address)
        // SAFETY: the kernel copies the address during the call.
        let result = unsafe address.withKernelForm { unsafe linux_connect(number, $0, $1) }
        guard result >= 0 || result == -EINPROGRESS else { throw Errno(-result) }
        return socket
    }

    /// The outcome of a connect, or what broke the connection; nil where all is well.
    public borrowing func pendingError() -> Errno? {
        let code = linux_pending_error(file.number)
        return code == 0 ? nil : Errno(code)
    }

    /// Reads what has arrived behind the bytes in `buffer`, which must have room.
    @inline(__always)
    public borrowing func receive(into buffer: inout Buffer) -> IOResult {
        let number = file.number
        var result = 0
        precondition(buffer.room > 0)
        unsafe buffer.withUnsafeRoom { room in
            repeat {
                // SAFETY: `room` is free memory of the buffer for the length of the call.
                result = unsafe linux_receive(number, room.baseAddress, room.count)
            } while result == Int(-EINTR)
            return max(result, 0)
        }
        return .reading(result)
    }

    /// Sends bytes; fewer than all may go through.
    @inline(__always)
    public borrowing func send(_ bytes: Span<UInt8>) -> IOResult {
        let number = file.number
        var result = 0
        unsafe bytes.withUnsafeBytes { bytes in
            repeat {
                // SAFETY: the span is valid for the length of the call.
                result = unsafe linux_send(number, bytes.baseAddress, bytes.count)
            } while result == Int(-EINTR)
        }
        return .writing(result)
    }

    /// True where the connection is open and the peer has sent nothing: fit to carry a request.
    public borrowing func isQuiet() -> Bool {
        linux_peek(file.number) == Int(-EAGAIN)
    }

    /// Tells the peer that no byte will follow.
    public borrowing func shutDownWriting() {
        _ = linux_shutdown_write(file.number)
    }

    /// The bytes that the kernel has taken and the peer's has not: what is still to be delivered.
    public borrowing func undeliveredBytes() -> Int { Int(linux_undelivered(file.number)) }

    /// Has the connection's end look to the peer like a failure, and not like the end of what it was sent.
    public borrowing func resetAtClose() {
        _ = linux_reset_at_close(file.number)
    }

    /// Has the kernel ask a peer that says nothing whether it is still there: after so many seconds of silence, so often, so many
    /// seconds apart. Where nothing answers, the connection breaks.
    public borrowing func watchPeer(afterSeconds idle: Int32, times: Int32, everySeconds interval: Int32) {
        let tcp = Int32(IPPROTO_TCP)
        _ = linux_set_option(file.number, tcp, TCP_KEEPIDLE, idle)
        _ = linux_set_option(file.number, tcp, TCP_KEEPINTVL, interval)
        _ = linux_set_option(file.number, tcp, TCP_KEEPCNT, times)
        _ = linux_set_option(file.number, SOL_SOCKET, SO_KEEPALIVE, 1)
    }

    /// Small messages leave at once: the proxy hands over whole messages, so Nagle's algorithm only adds delay.
    borrowing func sendAtOnce(_ address: SocketAddress) {
        if case .unix = address { return }
        _ = linux_set_option(file.number, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }
}
