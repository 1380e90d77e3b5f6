import ArgumentParser
import Config

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
        var table = Table(["HOST", "METHODS", "PATH", "AUTH", "REQUIRE", "SCOPES", "UPSTREAM"])
        for route in routes {
            table.add([
                route.hosts.isEmpty ? "*" : route.hosts.joined(separator: ","),
                route.methods.isEmpty ? "*" : route.methods.joined(separator: ","),
                route.path.text,
                text(route.authentication),
                route.require.isEmpty ? "-" : route.require.map(text).joined(separator: " or "),
                route.scopes.isEmpty ? "-" : route.scopes.joined(separator: ","),
                route.redirectPort.map { $0 == 443 ? "(https)" : "(https:\($0))" } ?? route.upstream,
            ])
        }
        return table.render()
    }

    private static func text(_ authentication: RouteAuthentication) -> String {
        switch authentication {
        case .open: "none"
        case .required(let issuers): issuers.joined(separator: ",")
        case .optional(let issuers): issuers.map { "optional:" + $0 }.joined(separator: ",")
        }
    }

    private static func text(_ requirement: ClaimRequirement) -> String {
        requirement.entries.map { entry in
            "\(entry.claim)=" + entry.anyOf.map(\.text).joined(separator: "|")
        }.joined(separator: " and ")
    }
}
