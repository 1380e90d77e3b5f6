/// The order of routes: which of two that match the same request is the more specific one, and which two are
/// equally specific, so that nothing but their places in the file could choose between them.
///
/// Compared in turn: the segments from the left (literal before capture before rest), bound to hosts before any
/// host, bound to methods before any method.
public enum RouteOrder {
    /// The places of `routes`, most specific first; what is equal in rank stays in the order of the file.
    public static func ordered(_ routes: [RouteSpec]) -> [Int] {
        let ranks = routes.map { rank(of: $0) }
        return routes.indices.sorted { a, b in
            if ranks[a] == ranks[b] { return a < b }
            return ranks[a].lexicographicallyPrecedes(ranks[b])
        }
    }

    /// True where some request would match both routes and neither is more specific: an error in a configuration.
    public static func conflict(_ a: RouteSpec, _ b: RouteSpec) -> Bool {
        rank(of: a) == rank(of: b) && literalsAgree(a.path, b.path) && overlap(a.hosts, b.hosts)
            && overlap(a.methods, b.methods)
    }

    /// Every pair of equally specific routes, as places in `routes`, the earlier one first.
    public static func conflicts(_ routes: [RouteSpec]) -> [(first: Int, second: Int)] {
        var found: [(first: Int, second: Int)] = []
        for second in routes.indices {
            for first in routes.indices.prefix(second) where conflict(routes[first], routes[second]) {
                found.append((first, second))
            }
        }
        return found
    }

    /// Lower is more specific. The end of a path stands before `rest`: `/api` is more specific than `/api/**`.
    private static func rank(of route: RouteSpec) -> [UInt8] {
        var rank: [UInt8] = route.path.segments.map { segment in
            switch segment {
            case .literal: 1
            case .capture: 2
            case .rest: 3
            }
        }
        rank.append(0)
        rank.append(route.hosts.isEmpty ? 1 : 0)
        rank.append(route.methods.isEmpty ? 1 : 0)
        return rank
    }

    private static func literalsAgree(_ a: PathTemplate, _ b: PathTemplate) -> Bool {
        zip(a.segments, b.segments).allSatisfy { pair in
            guard case (.literal(let left), .literal(let right)) = pair else { return true }
            return left == right
        }
    }

    /// Equal ranks: both lists are empty, or neither is.
    private static func overlap(_ a: [String], _ b: [String]) -> Bool {
        a.isEmpty || b.isEmpty || a.contains { b.contains($0) }
    }
}
