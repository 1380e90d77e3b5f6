/// How a load reads files and the environment; tests give their own.
public protocol FileSource {
    /// The whole file, or why it cannot be read (a short text such as `No such file or directory`).
    func read(path: String) -> FileReading
}

/// What came of reading a file.
public enum FileReading: Sendable, Equatable {
    /// All its bytes.
    case contents([UInt8])
    /// The reason, in the system's words.
    case failed(reason: String)
}
