internal import Glibc

/// What a call to the kernel gave, where "would block" is an answer like any other.
///
/// EINTR never shows: the calls here start again. Errors that can only be our own bug (EBADF, EFAULT) trap.
public enum IOResult: Equatable, Sendable {
    /// That many bytes went through, at least one.
    case bytes(Int)
    /// Nothing can go through now; the poller tells when it can.
    case wouldBlock
    /// The peer sent its last byte (reading only).
    case endOfStream
    /// The connection is broken.
    case failed(Errno)
}

/// An error number of the kernel.
public struct Errno: Error, Equatable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The number, positive, as in errno(3).
    public let code: Int32

    /// The error of that number.
    @inlinable
    public init(_ code: Int32) { self.code = code }

    /// The kernel's words for it, such as "Address already in use".
    public var description: String {
        // SAFETY: strerror gives a NUL-terminated text; it is copied at once.
        guard let text = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }

    /// The peer is gone.
    public static var connectionReset: Errno { Errno(ECONNRESET) }
    /// The other side does not keep to the conversation.
    public static var protocolError: Errno { Errno(EPROTO) }

    /// True where nobody waits at the address, or there is no such address.
    public var isNobodyThere: Bool { code == ENOENT || code == ECONNREFUSED }

    /// True where there is no such file.
    public var isMissingFile: Bool { code == ENOENT }

    /// True where the process or the system has none left of what a socket needs: descriptors, memory, local ports.
    public var isExhaustion: Bool {
        [EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL].contains(code)
    }

    /// True of a connect to a Unix socket where as many wait already as its server takes.
    public var isTooMuchAtOnce: Bool { code == EAGAIN }

    /// True where the process has as many descriptors as it may.
    public var isDescriptorLimit: Bool { code == EMFILE }

    /// True where something is larger than it may be.
    public var isTooLarge: Bool { code == EFBIG }
}

extension IOResult {
    /// The meaning of a result in CLinux's form: a count, or a negated errno.
    @inline(__always)
    static func reading(_ result: Int) -> IOResult {
        if result > 0 { return .bytes(result) }
        if result == 0 { return .endOfStream }
        return failure(Int32(truncatingIfNeeded: -result))
    }

    @inline(__always)
    static func writing(_ result: Int) -> IOResult {
        if result >= 0 { return .bytes(result) }
        return failure(Int32(truncatingIfNeeded: -result))
    }

    static func failure(_ code: Int32) -> IOResult {
        if code == EAGAIN { return .wouldBlock }
        precondition(code != EBADF && code != EFAULT, "a descriptor or an address of ours is wrong")
        return .failed(Errno(code))
    }
}
