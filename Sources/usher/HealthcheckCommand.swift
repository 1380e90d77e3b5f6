import ArgumentParser
import Control

/// `usher healthcheck`
struct HealthcheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "healthcheck",
        abstract: "Ask a running usher whether it is ready, for containers.",
        discussion: """
            Asks /readyz on the admin address of the configuration. Where admin is off, it is enough that the first \
            listener takes a connection. Mistakes elsewhere in the configuration do not matter: a proxy that runs \
            goes on with what it had. Exits with 0 or 1, and prints one line.
            """)

    @OptionGroup var file: ConfigurationOption

    @Option(
        help: ArgumentHelp(
            "Ask this instead: http://host:port/path, or unix:/path of an admin socket.", valueName: "url"))
    var url: String?

    @Option(help: ArgumentHelp("How long to wait at most, such as 3s.", valueName: "duration"))
    var timeout: Lifetime = Lifetime(seconds: 3)

    func validate() throws {
        guard timeout.seconds > 0 else { throw ValidationError("--timeout must be above zero.") }
        if let url, HealthTarget(url: url) == nil {
            throw ValidationError("--url must be http://host:port/path or unix:/path, not \"\(url)\".")
        }
    }

    func run() throws {
        let target: HealthTarget
        if let url, let named = HealthTarget(url: url) {
            target = named
        } else {
            target = HealthTarget(try file.entrance())
        }
        let finding = target.probe(timeoutMilliseconds: timeout.seconds * 1000)
        // Whoever asks whether the proxy is well has that in the status, though the words went nowhere.
        try? Console.output(Console.harmless(finding.text))
        if !finding.isHealthy { throw ExitCode.failure }
    }
}
