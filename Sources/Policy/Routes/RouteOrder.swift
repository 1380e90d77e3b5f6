/// What of a route decides on its rank: the file's routes have it before they are compiled, and the policy's after.
public protocol RankedRoute {
    /// The segments of its path, from the left.
    var rankedSegments: [RankedSegment] { get }
    /// The hosts that it is bound to; empty means any.
    var hosts: [String] { get }
    /// The methods that it serves; empty means any.
    var methods: [String] { get }
}

/// A segment of a path template as far as ranks go.
public enum RankedSegment: Hashable, Sendable {
    /// Exactly this; empty as the last one, where the path ends with a slash.
    case literal(String)
    /// Any one segment, whatever it is called.
    case capture
    /// All the rest.
    case rest
}

extension RouteSpec: RankedRoute {
    /// The segments of its path, from the left.
    public var rankedSegments: [RankedSegment] {
        path.segments.map { segment in
            switch segment {
            case .literal(let bytes): .literal(String(decoding: bytes, as: UTF8.self))
            case .capture: .capture
            case .rest: .rest
            }
        }
    }
}

/// Which of two routes that match the same request is the more specific one. Compared in turn:
///
/// 1. the paths, segment by segment from the left: literal before capture, and both before rest; a path that ends before
///    one that goes on with rest (`/api` before `/api/**`);
/// 2. bound to hosts before any host;
/// 3. bound to methods before any method.
///
/// Routes that are equal in all three, and that some request would match both, conflict: nothing but their places in the
/// file could choose between them.
public enum RouteOrder {
    /// The places of `routes`, most specific first; what is equal in rank stays in the order of the file.
    public static func ordered(_ routes: [some RankedRoute]) -> [Int] {
        let ranks = routes.map { rank(of: $0) }
        return routes.indices.sorted { a, b in
            if ranks[a] == ranks[b] { return a < b }
            return ranks[a].lexicographicallyPrecedes(ranks[b])
        }
    }

    /// True where `a` wins over `b` for what both match.
    public static func isMoreSpecific(_ a: some RankedRoute, than b: some RankedRoute) -> Bool {
        rank(of: a).lexicographicallyPrecedes(rank(of: b))
    }

    /// For each route the first one before it that it conflicts with, as places in `routes`.
    public static func conflicts(_ routes: [some RankedRoute]) -> [(first: Int, second: Int)] {
        var found: [(first: Int, second: Int)] = []
        // Only routes of one shape are compared: thousands of routes have thousands of shapes.
        var alike: [Shape: [Int]] = [:]
        for second in routes.indices {
            let shape = Shape(routes[second])
            if let first = alike[shape]?.first(where: { overlap(routes[$0], routes[second]) }) {
                found.append((first, second))
            }
            alike[shape, default: []].append(second)
        }
        return found
    }

    /// Lower is more specific.
    private static func rank(of route: some RankedRoute) -> [UInt8] {
        var rank: [UInt8] = route.rankedSegments.map { segment in
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

    /// The same for two routes that are equally specific and match the same paths.
    private struct Shape: Hashable {
        let segments: [RankedSegment]
        let isBoundToHosts: Bool
        let isBoundToMethods: Bool

        init(_ route: some RankedRoute) {
            segments = route.rankedSegments
            isBoundToHosts = !route.hosts.isEmpty
            isBoundToMethods = !route.methods.isEmpty
        }
    }

    private static func overlap(_ a: some RankedRoute, _ b: some RankedRoute) -> Bool {
        overlap(a.hosts, b.hosts) && overlap(a.methods, b.methods)
    }

    /// Equal shapes: both lists are empty, or neither is.
    private static func overlap(_ a: [String], _ b: [String]) -> Bool {
        a.isEmpty || b.isEmpty || a.contains { b.contains($0) }
    }
}
