import ArgumentParser
import Control
import Reactor

/// `usher`: the command line.
@main
struct Usher: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usher",
        abstract:
            "An authenticating reverse proxy: verifies who is calling, and tells the backend in one header.",
        discussion: """
            Flags win over environment variables, and those over the configuration file.

              USHER_CONFIG      the configuration file
              USHER_WORKERS     event-loop threads: "auto" or a number
              USHER_LOG_LEVEL   trace, debug, info, notice, warning, error or critical

            Start with "usher check" to see what is wrong with a configuration, "usher routes" to see what it \
            serves, and "usher run" to serve it.
            """,
        version: "usher \(Version.usher)",
        subcommands: [
            RunCommand.self, CheckCommand.self, DoctorCommand.self, RoutesCommand.self, ExplainCommand.self,
            TokenCommand.self,
            HealthcheckCommand.self,
            VersionCommand.self,
        ])

    static func main() {
        StandardStreams.openMissing()
        guard let arguments = givenArguments() else {
            exit(withError: Console.fail("cannot read the command line: /proc is not mounted here"))
        }
        // What takes time, reading the arguments among it, comes behind this.
        if arguments.first == RunCommand.configuration.commandName { Signal.awaitSource() }
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
        } catch {
            end(error)
        }
    }

    /// Swift finds the arguments behind the environment, in memory. Where a preloaded library has moved that away before
    /// the start, as libfaketime does, it finds none, not even the program's name, and the kernel has to be asked. Nil where
    /// that cannot be done either: without arguments there would be help and 0, and a check that was not made would pass.
    private static func givenArguments() -> [String]? {
        guard CommandLine.arguments.isEmpty else { return Array(CommandLine.arguments.dropFirst()) }
        guard let bytes = try? FileContents.read("/proc/self/cmdline", limitBytes: 4 << 20), !bytes.isEmpty
        else {
            return nil
        }
        let arguments = bytes.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        // The last one is terminated, too.
        return Array(arguments.dropFirst().dropLast())
    }

    /// Ends as `exit(withError:)` does, but for an output that nobody gets: help and version are results as others are.
    private static func end(_ error: any Error) -> Never {
        let text = fullMessage(for: error)
        let code = exitCode(for: error)
        guard !text.isEmpty else { exit(withError: code) }
        guard code.isSuccess else {
            Console.error(text + "\n")
            exit(withError: code)
        }
        do { try Console.output(text) } catch { exit(withError: error) }
        exit(withError: code)
    }
}
