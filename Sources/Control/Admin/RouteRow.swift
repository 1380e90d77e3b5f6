public import Config

/// A route as people read it: one text for each column of the table.
public struct RouteRow: Sendable, Equatable {
    /// The names of the columns.
    public static let columns = [
        "HOST", "METHODS", "PATH", "AUTH", "REQUIRE", "SCOPES", "CORS", "SIGN IN", "UPSTREAM",
    ]

    /// The texts, in the order of `columns`; `*` for everything, `-` for nothing.
    public let texts: [String]

    /// The row of a route.
    public init(_ route: RouteConfiguration) {
        texts = [
            route.hosts.isEmpty ? "*" : route.hosts.joined(separator: ","),
            route.methods.isEmpty ? "*" : route.methods.joined(separator: ","),
            route.path.text,
            Self.text(route.authentication),
            route.require.isEmpty ? "-" : route.require.map(Self.text).joined(separator: " or "),
            route.scopes.isEmpty ? "-" : route.scopes.joined(separator: ","),
            route.crossOrigin ?? "-",
            route.signIn ?? "-",
            route.redirectPort.map { $0 == 443 ? "(https)" : "(https:\($0))" } ?? route.upstream,
        ]
    }

    /// The routes as lines, columns aligned. `shown` makes of each text what a reader may get to see.
    public static func table(
        _ routes: [RouteConfiguration], _ shown: (String) -> String = { $0 }
    ) -> String {
        let rows = [columns] + routes.map { RouteRow($0).texts.map(shown) }
        let widths = columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (column, text) in row.enumerated() {
                line += text
                if column < row.count - 1 {
                    line += String(repeating: " ", count: widths[column] - text.count + 2)
                }
            }
            return line + "\n"
        }.joined()
    }

    /// The issuers of a route as one word: `none`, `main`, `optional:main`.
    public static func text(_ authentication: RouteAuthentication) -> String {
        switch authentication {
        case .open: "none"
        case .required(let issuers): issuers.joined(separator: ",")
        case .optional(let issuers): issuers.map { "optional:" + $0 }.joined(separator: ",")
        }
    }

    /// One alternative of `require`: `role=admin|owner and org=acme`.
    public static func text(_ requirement: ClaimRequirement) -> String {
        requirement.entries.map { entry in
            "\(entry.claim)=" + entry.anyOf.map(\.text).joined(separator: "|")
        }.joined(separator: " and ")
    }
}
