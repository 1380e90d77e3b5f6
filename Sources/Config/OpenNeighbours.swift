// Warnings about what a protected route leaves to a wider one that asks for less: nothing is wrong with either, but together
// they say something that was hardly meant. Only where both lead to the same backend, which may take one request for the
// other, and only of what no third route holds back.

extension ConfigurationReader {
    /// Warns where another spelling, method or host of a protected route's requests would go to a route of the same backend
    /// that lets nobody in particular through.
    func warnOfOpenNeighbours(_ configuration: Configuration) {
        let routes = RoutesByPrefix(configuration.routes)
        for route in configuration.routes where route.strictness > 0 {
            let neighbours = routes.covering(route.path).filter {
                $0.path.segments.last == .rest && $0.isLaxer(than: route)
                    && configuration.sharesServer($0, route)
            }
            guard !neighbours.isEmpty else { continue }
            warnOfSlash(route, routes, neighbours)
            if !route.methods.isEmpty { warnOfMethods(route, routes, neighbours) }
            if !route.hosts.isEmpty { warnOfHosts(route, routes, neighbours) }
        }
    }

    private func warnOfSlash(
        _ route: RouteConfiguration, _ routes: RoutesByPrefix, _ neighbours: [RouteConfiguration]
    ) {
        guard route.path.isExact else { return }
        var other = route
        other.path = route.path.withSlash
        guard let wider = Self.taker(of: other, routes, neighbours) else { return }
        loader.warning(
            route.position,
            "\(route.path.text)/ is not this route and goes to the \(wider.laxness) route \(wider.path.text), though "
                + "many backends serve both alike; write \"\(route.path.text)/**\" to cover it")
    }

    private func warnOfMethods(
        _ route: RouteConfiguration, _ routes: RoutesByPrefix, _ neighbours: [RouteConfiguration]
    ) {
        var other = route
        other.methods = []
        guard let wider = Self.taker(of: other, routes, neighbours) else { return }
        loader.warning(
            route.position,
            "other methods than \(route.methods.joined(separator: ", ")) go to the \(wider.laxness) route "
                + "\(wider.path.text), HEAD too if it is not named; leave \"methods\" out to cover them")
    }

    private func warnOfHosts(
        _ route: RouteConfiguration, _ routes: RoutesByPrefix, _ neighbours: [RouteConfiguration]
    ) {
        var other = route
        other.hosts = []
        guard let wider = Self.taker(of: other, routes, neighbours) else { return }
        loader.warning(
            route.position,
            "requests for other hosts than \(route.hosts.joined(separator: ", ")), which anybody can name, go to the "
                + "\(wider.laxness) route \(wider.path.text); leave \"host\" out to cover them, or give that route a host"
        )
    }

    /// The neighbour that gets such requests; nil where another route takes all of them first. No methods and no hosts
    /// stand for any.
    private static func taker(
        of request: RouteConfiguration, _ routes: RoutesByPrefix, _ neighbours: [RouteConfiguration]
    ) -> RouteConfiguration? {
        let others = routes.covering(request.path).filter { $0.takesAll(of: request) }
        return neighbours.first { neighbour in
            guard neighbour.takesAll(of: request) || neighbour.takesSome(of: request) else { return false }
            return !others.contains { RouteSpecificity.isMoreSpecific($0, than: neighbour) }
        }
    }
}

/// Routes by what their paths begin with, so that thousands of them are not compared with one another.
private struct RoutesByPrefix {
    private let routes: [RouteConfiguration]
    /// Places among the routes, by the literal segments in front of everything else.
    private var places: [ArraySlice<PathPattern.Segment>: [Int]] = [:]

    /// `routes` stand in the order in which they are matched, the most specific first.
    init(_ routes: [RouteConfiguration]) {
        self.routes = routes
        for (place, route) in routes.enumerated() { places[route.path.prefix, default: []].append(place) }
    }

    /// The routes that all requests with such a path match by their path, the most specific first.
    func covering(_ path: PathPattern) -> [RouteConfiguration] {
        let prefix = path.prefix
        let found = (0...prefix.count).flatMap { places[prefix.prefix($0)] ?? [] }
        return found.sorted().map { routes[$0] }.filter { $0.path.covers(path) }
    }
}

extension PathPattern {
    /// The literal segments in front of everything else.
    fileprivate var prefix: ArraySlice<Segment> {
        segments.prefix { if case .literal = $0 { true } else { false } }
    }

    /// True where the path ends with a segment, so that the same path with a slash behind it is another.
    fileprivate var isExact: Bool {
        switch segments.last {
        case .rest, .literal(""), nil: false
        case .literal, .capture: true
        }
    }

    /// The same with a slash behind it.
    fileprivate var withSlash: PathPattern {
        PathPattern(segments: segments + [.literal("")], text: text + "/")
    }

    /// True where every path of the other pattern is one of this pattern.
    fileprivate func covers(_ other: PathPattern) -> Bool {
        let isOpenEnded = segments.last == .rest
        let prefix = isOpenEnded ? segments.dropLast() : segments[...]
        guard isOpenEnded ? prefix.count <= other.segments.count : prefix.count == other.segments.count else {
            return false
        }
        return zip(prefix, other.segments).allSatisfy { mine, its in
            if case .capture = mine { return its != .rest && its != .literal("") }
            return mine == its
        }
    }
}

extension RouteConfiguration {
    /// 0 for everybody, 1 for nobody and somebody, 2 for somebody alone; a redirection leads to no backend.
    fileprivate var strictness: Int {
        if redirectPort != nil { return 2 }
        return switch authentication {
        case .open: 0
        case .optional: 1
        case .required: 2
        }
    }

    /// The word for it in a warning.
    fileprivate var laxness: String { strictness == 0 ? "open" : "optional" }

    fileprivate func isLaxer(than other: RouteConfiguration) -> Bool {
        strictness < other.strictness && redirectPort == nil && other.redirectPort == nil
            && path.covers(other.path)
    }

    /// True where this route serves each of those requests, unless a more specific one does.
    fileprivate func takesAll(of request: RouteConfiguration) -> Bool {
        path.covers(request.path) && Self.covers(hosts, request.hosts)
            && Self.covers(methods, request.methods)
    }

    /// The same for some of those hosts and methods; none of them are meant only where all are.
    fileprivate func takesSome(of request: RouteConfiguration) -> Bool {
        path.covers(request.path) && Self.meets(hosts, request.hosts) && Self.meets(methods, request.methods)
    }

    private static func covers(_ mine: [String], _ its: [String]) -> Bool {
        mine.isEmpty || (!its.isEmpty && its.allSatisfy { mine.contains($0) })
    }

    private static func meets(_ mine: [String], _ its: [String]) -> Bool {
        mine.isEmpty || its.contains { mine.contains($0) }
    }
}

extension Configuration {
    /// True where the requests of both routes may reach one server.
    fileprivate func sharesServer(_ one: RouteConfiguration, _ other: RouteConfiguration) -> Bool {
        one.upstream == other.upstream || !addresses(one).isDisjoint(with: addresses(other))
    }

    private func addresses(_ route: RouteConfiguration) -> Set<EndpointAddress> {
        Set(upstreams.first { $0.name == route.upstream }?.servers.map(\.address) ?? [])
    }
}
