public import Config
import Logging
import Reactor
import Telemetry

/// Why the proxy cannot start, or why a reload changed nothing: a text for whoever runs it.
public struct StartFailure: Error, Equatable, CustomStringConvertible {
    /// What is wrong, without a full stop.
    public let reason: String

    /// The failure with that text.
    public init(_ reason: String) {
        self.reason = reason
    }

    /// What the system does not give, or let do.
    init(_ error: Errno) {
        self.init(Self.words(error))
    }

    /// The system's words, with a remedy where they are about the process's own limit.
    static func words(_ error: Errno) -> String {
        error.isDescriptorLimit
            ? "\(error): raise the limit of file descriptors (LimitNOFILE=, ulimit -n)" : "\(error)"
    }

    init(listener failure: ListenerBook.Failure) {
        self.init("cannot listen on \(failure.address) (\(failure.name)): \(Self.words(failure.reason))")
    }

    /// The reason.
    public var description: String { reason }
}

/// Where a reload reads the configuration again.
public struct ConfigurationSource: Sendable {
    /// The file, or nil for the first of the default paths that there is.
    public var path: String?
    /// The variables that the file may refer to, and `USHER_WORKERS` and `USHER_LOG_LEVEL`.
    public var environment: [String: String]

    /// That file, with those variables.
    public init(path: String?, environment: [String: String]) {
        self.path = path
        self.environment = environment
    }

    /// Reads and checks the file. `waits` says whether it, and what it names, may be pipes: at a reload the control thread
    /// must not stand still for somebody who does not write.
    public func load(waits: Bool = true) -> LoadedConfiguration {
        Configuration.load(path: path, environment: environment, files: SystemFiles(waits: waits))
    }
}
