import ArgumentParser
import Config
import Control

/// `--config`, and how it is read: alike in every command that has it.
struct ConfigurationOption: ParsableArguments {
    @Option(
        name: [.long, .short],
        help: ArgumentHelp(
            "The configuration file. Default: $USHER_CONFIG, else /etc/usher/usher.toml, else ./usher.toml.",
            valueName: "file"))
    var config: String?

    /// An empty name is a variable that was not set, as a rule.
    func validate() throws {
        if config == "" { throw ValidationError("--config is empty; it is the path of a file.") }
    }

    /// Where the configuration is read; `overrides` are flags that win over the environment.
    func source(overrides: [String: String] = [:]) -> ConfigurationSource {
        let environment = SystemFiles.environment().merging(overrides) { _, flag in flag }
        return ConfigurationSource(path: config, environment: environment)
    }

    /// The configuration; ends the command with 1, everything that is wrong shown, where there are errors. Warnings
    /// alone are shown where the command is about the configuration.
    func load(
        overrides: [String: String] = [:], showsWarnings: Bool = false
    ) throws -> (Configuration, LoadedConfiguration) {
        let loaded = source(overrides: overrides).load()
        if showsWarnings || loaded.hasErrors { Console.error(loaded.render()) }
        guard let configuration = loaded.configuration else { throw refusal(loaded) }
        return (configuration, loaded)
    }

    /// Where the proxy can be asked how it is: of a file with mistakes too, for the proxy that it was changed under runs
    /// on. Ends the command as `load` does where the file does not say.
    func entrance() throws -> LoadedConfiguration.Entrance {
        let loaded = source().load()
        if let entrance = loaded.entrance { return entrance }
        Console.error(loaded.render())
        throw refusal(loaded)
    }

    private func refusal(_ loaded: LoadedConfiguration) -> ExitCode {
        let count = loaded.diagnostics.count { $0.severity == .error }
        Console.error("\(loaded.path): \(Supervisor.counted(count, "error"))\n")
        return .failure
    }
}
