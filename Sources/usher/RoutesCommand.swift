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
        print(RoutesCommand.table(configuration.routes), terminator: "")
    }

    /// The routes, a row each, in the order that they have.
    static func table(_ routes: [RouteConfiguration]) -> String {
        var table = Table(RouteRow.columns)
        for route in routes { table.add(RouteRow(route).texts) }
        return table.render()
    }
}
