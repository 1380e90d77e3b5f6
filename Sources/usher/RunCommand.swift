import ArgumentParser
import Config
import Control
import Reactor

/// `usher run`
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Serve what the configuration says.",
        discussion: """
            SIGTERM and SIGINT drain: no new connection is accepted, requests in flight finish within \
            limits.drain_timeout, and the exit status is 0. A second signal ends at once. SIGHUP reads \
            the configuration again and keeps the old one where the new one has mistakes. SIGUSR1 opens the access \
            log's file again.

            With --takeover no connection is refused while one process follows another: a new binary, or a change \
            that only a start can make. Where no usher runs yet, it is a start like any other.
            """)

    @OptionGroup var file: ConfigurationOption

    @Option(
        help: ArgumentHelp(
            "Event-loop threads: \"auto\" (the CPUs that this process may use) or a number.",
            valueName: "count"))
    var workers: String?

    @Option(
        help: ArgumentHelp(
            "The least level that is logged: trace, debug, info, notice, warning, error or critical.",
            valueName: "level"))
    var logLevel: String?

    @Flag(
        help: ArgumentHelp(
            "Take over the listeners of the usher that runs already; it drains once this one serves."))
    var takeover = false

    func validate() throws {
        if let workers, workers != "auto", Int(workers).map({ (1...1024).contains($0) }) != true {
            throw ValidationError(
                "--workers must be \"auto\" or a whole number from 1 to 1024, not \"\(workers)\".")
        }
        if let logLevel, LogLevel(rawValue: logLevel) == nil {
            let levels = LogLevel.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--log-level must be one of \(levels), not \"\(logLevel)\".")
        }
    }

    func run() throws {
        var overrides: [String: String] = [:]
        overrides["USHER_WORKERS"] = workers
        overrides["USHER_LOG_LEVEL"] = logLevel
        let (configuration, loaded) = try file.load(overrides: overrides)
        var source = file.source(overrides: overrides)
        // A reload reads the file that was found now, whatever appears at the other default path meanwhile.
        source.path = loaded.path
        endProcess(
            Supervisor.serve(
                configuration, from: source,
                warnings: loaded.diagnostics.map { $0.headline(file: loaded.path) },
                files: loaded.watchedFiles(inForce: true), stamps: loaded.stamps, takesOver: takeover))
    }
}
