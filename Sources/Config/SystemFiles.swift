import Glibc

/// The machine's files and this process's environment.
public struct SystemFiles: FileSource, Sendable {
    /// A configuration, key set or secret is a few kilobytes; more is a mistaken path, such as a log or a device.
    public static let maximumFileBytes = 4 * 1024 * 1024

    /// The machine's files.
    public init() {}

    /// Reads a file to its end, at most `maximumFileBytes`.
    public func read(path: String) -> FileReading {
        // SAFETY: the path is lent as a text that ends with a zero for this call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { return Self.reading(error: errno) }
        defer { close(descriptor) }
        var contents: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = unsafe block.withUnsafeMutableBytes { memory in
                // SAFETY: the kernel writes at most `memory.count` bytes into memory that is valid for this call.
                unsafe Glibc.read(descriptor, memory.baseAddress, memory.count)
            }
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return Self.reading(error: errno) }
            if count == 0 { return .contents(contents) }
            contents += block[..<count]
            if contents.count > Self.maximumFileBytes { return .failed(reason: "it is larger than 4 MiB") }
        }
    }

    private static func reading(error: Int32) -> FileReading {
        if error == ENOENT { return .missing }
        // SAFETY: strerror gives a text that ends with a zero, or none; it is copied before another call.
        return .failed(reason: unsafe strerror(error).map { unsafe String(cString: $0) } ?? "error \(error)")
    }

    /// The process's environment variables. One that is not UTF-8 is left out: as a secret it would be mangled.
    public static func environment() -> [String: String] {
        var variables: [String: String] = [:]
        // SAFETY: `environ` is a list of texts that ends with a null; nothing else runs this early that changes it.
        var entry = unsafe environ
        // SAFETY: each element up to the null is a text that ends with a zero.
        while let text = unsafe entry.pointee {
            // SAFETY: as above; the text is copied, and the null is not stepped over.
            if let variable = unsafe String(validatingCString: text),
                let equals = variable.firstIndex(of: "=")
            {
                variables[String(variable[..<equals])] = String(variable[variable.index(after: equals)...])
            }
            unsafe entry += 1
        }
        return variables
    }
}
