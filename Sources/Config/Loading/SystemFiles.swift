public import Reactor

/// The machine's files and this process's environment.
public struct SystemFiles: FileSource, Sendable {
    /// A configuration, key set or secret is a few kilobytes; more is a mistaken path, such as a log or a device.
    public static let maximumFileBytes = 4 * 1024 * 1024

    private let waits: Bool

    /// The machine's files. `waits` says whether a pipe is waited for; it is an error otherwise.
    public init(waits: Bool = true) { self.waits = waits }

    /// Reads a file to its end, at most `maximumFileBytes`.
    public func read(path: String) -> FileReading {
        do throws(Errno) {
            return .contents(try FileContents.read(path, limitBytes: Self.maximumFileBytes, waits: waits))
        } catch {
            if error.isMissingFile { return .missing }
            return .failed(reason: error.isTooLarge ? "it is larger than 4 MiB" : error.description)
        }
    }

    /// Which state a file is in.
    public func stamp(path: String) -> FileStamp? { FileContents.stamp(path) }

    /// What keeps a place from being written to, or listened at.
    public func obstacle(to use: FilePlace.Use, at path: String) -> String? {
        FilePlace.obstacle(to: use, at: path)
    }

    /// The process's environment variables. One that is not UTF-8 is left out: as a secret it would be mangled.
    public static func environment() -> [String: String] { processEnvironment() }
}
