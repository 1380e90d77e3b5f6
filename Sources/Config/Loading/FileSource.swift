public import Reactor

/// How a load reads files; tests give their own.
public protocol FileSource {
    /// The whole file, or why it cannot be read.
    func read(path: String) -> FileReading
    /// Which state the file is in; nil where there is none, or it has no state.
    func stamp(path: String) -> FileStamp?
    /// What keeps a place from being written to, or listened at; nil where nothing seems to.
    func obstacle(to use: FilePlace.Use, at path: String) -> String?
}

extension FileSource {
    /// Files that do not change.
    public func stamp(path: String) -> FileStamp? { nil }

    /// Places where nothing is in the way.
    public func obstacle(to use: FilePlace.Use, at path: String) -> String? { nil }
}

/// What came of reading a file.
public enum FileReading: Sendable, Equatable {
    /// All its bytes.
    case contents([UInt8])
    /// There is no such file.
    case missing
    /// The reason, in the system's words, such as `Permission denied`.
    case failed(reason: String)

    /// Why there are no contents; nil when there are.
    var reason: String? {
        switch self {
        case .contents: nil
        case .missing: "No such file or directory"
        case .failed(let reason): reason
        }
    }
}
