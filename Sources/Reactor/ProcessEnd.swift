internal import Glibc

/// Ends the process at once, with that exit status.
///
/// `exit` would let libraries clean up (OpenSSL frees what it holds) while threads that were told to end, or were cut
/// off, may still use it. Everything that must be written has been written when this is called.
public func endProcess(_ status: Int32) -> Never {
    _exit(status)
}
