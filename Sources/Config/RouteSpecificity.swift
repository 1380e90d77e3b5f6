/// Which of two routes that match the same request is the more specific one. Compared in turn:
///
/// 1. the paths, segment by segment from the left: literal before `{name}`, and both before `**`; a path that
///    ends before one that goes on with `**`;
/// 2. bound to hosts before any host;
/// 3. bound to methods before any method.
///
/// Routes that are equal in all three, and that some request would match both, are an error.
public enum RouteSpecificity {
    /// Sorts first what is more specific; equal ranks are equally specific.
    static func rank(of route: RouteConfiguration) -> [UInt8] {
        var rank: [UInt8] = route.path.segments.map { segment in
            switch segment {
            case .literal: 1
            case .capture: 2
            case .rest: 3
            }
        }
        rank.append(0)
        return rank + [route.hosts.isEmpty ? 1 : 0, route.methods.isEmpty ? 1 : 0]
    }

    /// Whether `a` wins over `b` where both match.
    public static func isMoreSpecific(_ a: RouteConfiguration, than b: RouteConfiguration) -> Bool {
        rank(of: a).lexicographicallyPrecedes(rank(of: b))
    }

    /// Whether some request matches both and neither is more specific.
    public static func conflict(_ a: RouteConfiguration, _ b: RouteConfiguration) -> Bool {
        shape(of: a) == shape(of: b) && overlap(a, b)
    }

    /// For each route, the first one before it that it conflicts with.
    static func conflicts(_ routes: [RouteConfiguration]) -> [(route: Int, with: Int)] {
        var found: [(route: Int, with: Int)] = []
        // Only routes of one shape are compared: thousands of routes have thousands of shapes.
        var alike: [String: [Int]] = [:]
        for (index, route) in routes.enumerated() {
            let shape = shape(of: route)
            if let other = alike[shape]?.first(where: { overlap(routes[$0], route) }) {
                found.append((index, other))
            }
            alike[shape, default: []].append(index)
        }
        return found
    }

    /// The path without the names of its captures, and what else ranks a route: the same for two that are equally
    /// specific and match the same paths.
    private static func shape(of route: RouteConfiguration) -> String {
        let segments = route.path.segments.map { segment in
            switch segment {
            case .literal(let text): "/" + text
            case .capture: "/{}"
            case .rest: "/**"
            }
        }
        return segments.joined() + (route.hosts.isEmpty ? " *" : " host")
            + (route.methods.isEmpty ? " *" : " method")
    }

    private static func overlap(_ a: RouteConfiguration, _ b: RouteConfiguration) -> Bool {
        overlap(a.hosts, b.hosts) && overlap(a.methods, b.methods)
    }

    /// With equal ranks both lists are empty, or neither is.
    private static func overlap(_ a: [String], _ b: [String]) -> Bool {
        a.isEmpty || b.isEmpty || a.contains { b.contains($0) }
    }
}
