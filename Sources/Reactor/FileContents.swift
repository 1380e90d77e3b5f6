internal import Glibc

/// Whole files, read at start, at reload and by commands. Blocks: never on a worker.
public enum FileContents {
    /// The bytes of a file or pipe; throws the kernel's reason, or EFBIG where it holds more than `limitBytes`.
    ///
    /// Where it does not wait, a pipe is EAGAIN: nobody may ever write to it.
    public static func read(_ path: String, limitBytes: Int, waits: Bool = true) throws(Errno) -> [UInt8] {
        // SAFETY: the path is lent as a text that ends with a zero for this call.
        let number = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (waits ? 0 : O_NONBLOCK))
        guard number >= 0 else { throw Errno(errno) }
        let file = FileDescriptor(owning: number)
        guard waits || !isPipe(file.number) else { throw Errno(EAGAIN) }
        return try readAll(file.number, limitBytes)
    }

    private static func isPipe(_ descriptor: Int32) -> Bool {
        var status = stat()
        // SAFETY: a local out-parameter.
        return unsafe fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    /// What changes whenever a file is written or replaced; nil where there is none, or a pipe, which has no contents that
    /// stay.
    public static func stamp(_ path: String) -> FileStamp? {
        var status = stat()
        // SAFETY: a local out-parameter, and a path that is lent for the call.
        guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFIFO else { return nil }
        return FileStamp(
            node: UInt64(status.st_ino), byteCount: Int64(status.st_size),
            seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int64(status.st_mtim.tv_nsec))
    }

    /// The bytes of the standard input up to its end.
    public static func readStandardInput(limitBytes: Int) throws(Errno) -> [UInt8] {
        try readAll(0, limitBytes)
    }

    private static func readAll(_ descriptor: Int32, _ limitBytes: Int) throws(Errno) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            // SAFETY: the kernel writes at most `count` bytes into the array's storage.
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Errno(errno) }
            if count == 0 { return bytes }
            guard bytes.count + count <= limitBytes else { throw Errno(EFBIG) }
            bytes.append(contentsOf: chunk[..<count])
        }
    }
}

/// Which state a file is in: equal stamps mean that nobody has written or replaced it.
public struct FileStamp: Equatable, Sendable {
    let node: UInt64
    let byteCount: Int64
    /// When it was last written. Not in one number: files may have any time, and the product of some is none.
    let seconds: Int64
    let nanoseconds: Int64
}
