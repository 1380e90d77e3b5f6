internal import Bytes
public import Reactor

/// What came of loading a configuration file.
public struct LoadedConfiguration: Sendable {
    /// The path that was read, as it is shown in diagnostics.
    public var path: String
    /// The text with secrets that were written inline masked: fit to be shown.
    public var source: String
    /// Present if and only if there is no error among the diagnostics.
    public var configuration: Configuration?
    /// Where a proxy that runs with this file can be asked how it is; there also where the rest has mistakes.
    public var entrance: Entrance?
    /// All mistakes and warnings, in the order of the file.
    public var diagnostics: [Diagnostic]
    /// The files that were read, this one included: where one changes, the configuration may be another.
    public var files: [String] = []
    /// Those that were read besides for certificates alone, which a running proxy renews by itself.
    public var renewedFiles: [String] = []
    /// Which state each of these was in before it was read; what is not here was not there.
    public var stamps: [String: FileStamp] = [:]

    /// One of the places where a proxy takes connections.
    public enum Entrance: Sendable, Equatable {
        /// The admin listener.
        case admin(EndpointAddress)
        /// The first listener, where there is no admin listener.
        case listener(EndpointAddress)
    }

    /// Whether the configuration cannot be used.
    public var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    /// The files whose changes are a reason to load again. Nobody else looks after certificates of a configuration that is not
    /// in force: what was missing may come.
    public func watchedFiles(inForce: Bool) -> [String] { inForce ? files : files + renewedFiles }

    /// All diagnostics as text, each with its source line; ends with a line feed unless empty.
    public func render() -> String {
        let lines = Diagnostic.lines(of: source)
        return diagnostics.map { $0.render(file: path, lines: lines) + "\n" }.joined()
    }
}

extension Configuration {
    /// Tried in this order when neither the command line nor `USHER_CONFIG` names a file.
    public static let defaultPaths = ["/etc/usher/usher.toml", "./usher.toml"]

    /// Reads and checks a configuration.
    ///
    /// `path` nil = the file that `USHER_CONFIG` names, else the first of `defaultPaths` that exists. `environment`
    /// answers for that, for `{ env = … }`, `${NAME}`, `USHER_WORKERS` and `USHER_LOG_LEVEL`.
    public static func load(
        path: String?, environment: [String: String], files: some FileSource
    ) -> LoadedConfiguration {
        let named = path ?? environment["USHER_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        let candidates = named.map { [$0] } ?? defaultPaths
        for candidate in candidates {
            let stamp = files.stamp(path: candidate)
            var loaded: LoadedConfiguration
            switch files.read(path: candidate) {
            case .contents(let text):
                loaded = load(text: text, path: candidate, environment: environment, files: files)
            case .missing where named == nil: continue
            case let failure:
                loaded = unreadable(candidate, "cannot read the configuration: \(failure.reason ?? "")")
            }
            loaded.stamps[candidate] = stamp
            return loaded
        }
        return unreadable(
            defaultPaths[0],
            "there is no configuration, neither here nor at \(defaultPaths[1]); name one with --config")
    }

    private static func unreadable(_ path: String, _ message: String) -> LoadedConfiguration {
        let diagnostic = Diagnostic(severity: .error, position: .none, message: message)
        return LoadedConfiguration(
            path: path, source: "", configuration: nil, diagnostics: [diagnostic], files: [path])
    }

    /// Checks the text of a configuration; `path` is its place, for diagnostics and for relative paths.
    public static func load(
        text: [UInt8], path: String, environment: [String: String], files: some FileSource
    ) -> LoadedConfiguration {
        // A byte-order mark is no column.
        let source = String(decoding: text[ByteOrderMark.byteCount(in: text.span)...], as: UTF8.self)
        let loader = Loader(path: path, environment: environment, files: files)
        do throws(TOMLParser.Failure) {
            let root = try TOMLParser.parse(text)
            loader.conceal(root)
            let configuration = ConfigurationReader(loader: loader).configuration(root)
            let diagnostics = loader.sortedDiagnostics
            let isUsable = !diagnostics.contains { $0.severity == .error }
            var loaded = LoadedConfiguration(
                path: path, source: SourceMask.mask(source, loader.concealment),
                configuration: isUsable ? configuration : nil, diagnostics: diagnostics,
                files: [path] + loader.filesRead, renewedFiles: loader.renewedFiles, stamps: loader.stamps)
            loaded.entrance = entrance(of: configuration, in: root)
            return loaded
        } catch {
            let isWide = text.starts(with: [0xFF, 0xFE]) || text.starts(with: [0xFE, 0xFF])
            loader.error(
                error.position,
                isWide
                    ? "this is UTF-16, and TOML is UTF-8: save the file as that"
                    : "this is not TOML: \(own: TOMLComplaint.withoutValues(error.message))")
            return LoadedConfiguration(
                path: path, source: SourceMask.maskBroken(source), configuration: nil,
                diagnostics: loader.diagnostics, files: [path])
        }
    }
}

extension Configuration {
    /// A table of the admin listener that cannot be read is none that is not there: what it says would have been asked.
    private static func entrance(of found: Configuration?, in root: TOMLNode) -> LoadedConfiguration.Entrance?
    {
        guard let found, case .table(let table) = root.value else { return nil }
        if let admin = found.admin { return .admin(admin.address) }
        if table["admin"] != nil { return nil }
        return found.listeners.first.map { .listener($0.address) }
    }
}

extension Loader {
    /// In the order of the file; what has no place comes first.
    fileprivate var sortedDiagnostics: [Diagnostic] {
        diagnostics.enumerated().sorted {
            ($0.element.position, $0.offset) < ($1.element.position, $1.offset)
        }
        .map(\.element)
    }
}
