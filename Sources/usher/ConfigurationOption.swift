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

    /// Where the configuration is read; `overrides` are flags that win over the environment.
    func source(overrides: [String: String] = [:]) -> ConfigurationSource {
        let environment = SystemFiles.environment().merging(overrides) { _, flag in flag }
        return ConfigurationSource(path: config, environment: environment)
    }

    /// The configuration, its warnings shown; ends the command with 1, all mistakes shown, where there are errors.
    func load(overrides: [String: String] = [:]) throws -> (Configuration, LoadedConfiguration) {
        let loaded = source(overrides: overrides).load()
        Console.error(loaded.render())
        guard let configuration = loaded.configuration else {
            let count = loaded.diagnostics.count { $0.severity == .error }
            Console.error("\(loaded.path): \(count) \(count == 1 ? "error" : "errors")\n")
            throw ExitCode.failure
        }
        return (configuration, loaded)
    }
}
