import ArgumentParser
import Config
import Control

/// `usher check`
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say everything that is wrong with a configuration.",
        discussion: "Exits with 1 if there is an error; warnings alone exit with 0.")

    @OptionGroup var file: ConfigurationOption

    func run() throws {
        let (configuration, loaded) = try file.load(showsWarnings: true)
        do throws(StartFailure) {
            try Supervisor.check(configuration)
        } catch {
            throw Console.fail("\(loaded.path): \(error.reason)")
        }
        let foreseen = Supervisor.foresee(configuration)
        for warning in foreseen {
            Console.error(warning.render(file: loaded.path, source: loaded.source) + "\n")
        }
        try Console.output(
            CheckCommand.summary(
                of: configuration, path: loaded.path, warnings: loaded.diagnostics.count + foreseen.count))
    }

    /// One line, such as `usher.toml: ok, 3 routes, 1 listener, 2 issuers`.
    static func summary(of configuration: Configuration, path: String, warnings: Int) -> String {
        var parts = [
            "ok", Supervisor.counted(configuration.routes.count, "route"),
            Supervisor.counted(configuration.listeners.count, "listener"),
            Supervisor.counted(configuration.issuers.count, "issuer"),
        ]
        if !configuration.sessions.isEmpty {
            parts.append(Supervisor.counted(configuration.sessions.count, "session"))
        }
        if warnings > 0 { parts.append(Supervisor.counted(warnings, "warning")) }
        return "\(path): " + parts.joined(separator: ", ")
    }
}
