internal import CLinux
internal import Glibc

/// An open file that is closed exactly once: when the value goes away.
public struct FileDescriptor: ~Copyable {
    /// The kernel's number for it.
    public let number: Int32

    /// Takes over an open descriptor.
    public init(owning number: Int32) {
        precondition(number >= 0)
        self.number = number
    }

    private init(unchecked number: Int32) { self.number = number }

    /// No file: every call with its number fails (EBADF).
    public static var none: FileDescriptor { FileDescriptor(unchecked: -1) }

    deinit {
        if number >= 0 { _ = close(number) }
    }

    /// Gives the number away without closing it.
    public consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }
}

/// How many descriptors the process may have open (RLIMIT_NOFILE, the soft limit).
public func descriptorLimit() -> Int {
    var limit = rlimit()
    // SAFETY: a local out-parameter.
    guard unsafe getrlimit(__rlimit_resource_t(7), &limit) == 0 else { return 1024 }
    return Int(clamping: limit.rlim_cur)
}
