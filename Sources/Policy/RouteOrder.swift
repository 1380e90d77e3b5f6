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
        shape(of: a) == shape(of: b) && overlap(a, b)
    }

    private static func overlap(_ a: RouteSpec, _ b: RouteSpec) -> Bool {
        overlap(a.hosts, b.hosts) && overlap(a.methods, b.methods)
    }

    /// Every pair of equally specific routes, as places in `routes`, the earlier one first.
    public static func conflicts(_ routes: [RouteSpec]) -> [(first: Int, second: Int)] {
        var found: [(first: Int, second: Int)] = []
        // Only routes of one shape are compared: thousands of routes have thousands of shapes.
        var alike: [[UInt8]: [Int]] = [:]
        for second in routes.indices {
            let shape = shape(of: routes[second])
            for first in alike[shape] ?? [] where overlap(routes[first], routes[second]) {
                found.append((first, second))
            }
            alike[shape, default: []].append(second)
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

    /// The path without the names of its captures, and what else ranks a route: the same for two that are equally
    /// specific and match the same paths. No literal holds a slash, a brace or a space.
    private static func shape(of route: RouteSpec) -> [UInt8] {
        var shape: [UInt8] = []
        for segment in route.path.segments {
            shape.append(UInt8(ascii: "/"))
            switch segment {
            case .literal(let bytes): shape += bytes
            case .capture: shape.append(UInt8(ascii: "{"))
            case .rest: shape.append(UInt8(ascii: "*"))
            }
        }
        shape.append(UInt8(ascii: " "))
        return shape + [route.hosts.isEmpty ? 1 : 0, route.methods.isEmpty ? 1 : 0]
    }

    /// Equal ranks: both lists are empty, or neither is.
    private static func overlap(_ a: [String], _ b: [String]) -> Bool {
        a.isEmpty || b.isEmpty || a.contains { b.contains($0) }
    }
}
