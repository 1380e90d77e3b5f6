import ArgumentParser
import Config
import Control

/// `usher routes`
struct RoutesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routes",
        abstract: "Show the effective route table, the most specific route first.",
        discussion: "The first row that fits a request serves it. A request that no row fits is answered 404."
    )

    @OptionGroup var file: ConfigurationOption

    func run() throws {
        let (configuration, _) = try file.load(showsWarnings: true)
        try Console.output(RouteRow.table(configuration.routes, Console.harmless), terminator: "")
    }
}
