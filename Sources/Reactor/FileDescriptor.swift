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

    deinit {
        _ = close(number)
    }

    /// Gives the number away without closing it.
    public consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }
}
