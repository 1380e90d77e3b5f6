internal import Policy

// Warnings about what a protected route leaves to another one that asks for less: nothing is wrong with either, but together
// they say something that was hardly meant. Only where both lead to the same backend, which may take one request for the
// other, and only of what no third route holds back.

extension ConfigurationReader {
    /// Warns where another spelling, method or host of a protected route's requests would go to a route of the same backend
    /// that asks for less, or where a route for everybody leads to the same paths behind a prefix.
    func warnOfOpenNeighbours(_ configuration: Configuration) {
        let routes = RoutesByPrefix(configuration.routes)
        let servers = ServersByUpstream(configuration.upstreams)
        let shortcuts = Shortcuts(configuration.routes, servers)
        for route in configuration.routes where route.strictness > 0 {
            warnOfPrefix(route, routes, shortcuts)
            warnOfSpelling(route, routes, servers)
            guard !route.methods.isEmpty || !route.hosts.isEmpty else { continue }
            let neighbours = Self.laxer(than: route, at: route.path, routes, servers)
            guard !neighbours.isEmpty else { continue }
            if !route.methods.isEmpty { warnOfMethods(route, routes, neighbours) }
            if !route.hosts.isEmpty { warnOfHosts(route, routes, neighbours) }
        }
    }

    /// The routes that match all such paths, lead to a server of that route, and ask for less.
    private static func laxer(
        than route: RouteConfiguration, at path: PathPattern, _ routes: RoutesByPrefix,
        _ servers: ServersByUpstream
    ) -> [RouteConfiguration] {
        routes.covering(path).filter { $0.isLaxer(than: route) && servers.areShared($0, route) }
    }

    /// The same path with a slash behind it, or without the one that it has. A route that is written for that spelling and
    /// nothing else is meant as it is.
    private func warnOfSpelling(
        _ route: RouteConfiguration, _ routes: RoutesByPrefix, _ servers: ServersByUpstream
    ) {
        guard let spelling = route.path.otherSpelling else { return }
        var other = route
        other.path = spelling
        let neighbours = Self.laxer(than: route, at: spelling, routes, servers).filter {
            !$0.path.isAlike(spelling)
        }
        guard let wider = Self.taker(of: other, routes, neighbours) else { return }
        let whole = route.path.text.hasSuffix("/") ? spelling.text : route.path.text
        loader.warning(
            route.position,
            "\(spelling.text) is not this route and goes to the \(wider.laxness) route \(wider.path.text), though "
                + "many backends serve both alike; write \"\(whole)/**\" to cover it")
    }

    /// Behind its prefix, a laxer route leads to the paths that this one protects; the first of such routes is named.
    private func warnOfPrefix(_ route: RouteConfiguration, _ routes: RoutesByPrefix, _ shortcuts: Shortcuts) {
        let backendPath = route.backendPath
        let shortcut = shortcuts.leading(to: route).first { shortcut in
            var other = route
            let prefix = shortcut.path.segments.prefix(shortcut.strippedCount)
            other.path = PathPattern(segments: prefix + backendPath.segments, text: "")
            return Self.taker(of: other, routes, [shortcut]) != nil
        }
        guard let shortcut else { return }
        loader.warning(
            route.position,
            "the \(shortcut.laxness) route \(shortcut.path.text), which strips \"\(shortcut.stripPrefix ?? "")\", leads to "
                + "what \(route.path.text) protects; give it another upstream, or a route of its own that asks for as much"
        )
    }

    private func warnOfMethods(
        _ route: RouteConfiguration, _ routes: RoutesByPrefix, _ neighbours: [RouteConfiguration]
    ) {
        guard let wider = Self.takerOfOtherMethods(route, routes, neighbours) else { return }
        let remedy =
            wider.path.isAlike(route.path)
            ? "give that route \"methods\", too" : "leave \"methods\" out to cover them"
        loader.warning(
            route.position,
            "other methods than \(route.methods.joined(separator: ", ")) go to the \(wider.laxness) route "
                + "\(wider.path.text), HEAD too if it is not named; \(remedy)")
    }

    /// The neighbour that gets requests with another method, where that was hardly meant.
    ///
    /// Two routes with one path may well let everybody read and some people write, and a route that asks for more than
    /// the one around it may be about a single method: of those, only what leaves changes to more people is told.
    private static func takerOfOtherMethods(
        _ route: RouteConfiguration, _ routes: RoutesByPrefix, _ neighbours: [RouteConfiguration]
    ) -> RouteConfiguration? {
        let isAboutReading = route.methods.allSatisfy(readingMethods.contains)
        let wider = neighbours.filter { !$0.path.isAlike(route.path) && $0.strictness < 2 }
        var other = route
        other.methods = []
        if let taker = taker(of: other, routes, wider) { return taker }
        let deliberate = neighbours.filter { neighbour in
            guard neighbour.methods.isEmpty else { return false }
            return neighbour.strictness < 2 ? neighbour.path.isAlike(route.path) : isAboutReading
        }
        guard !deliberate.isEmpty else { return nil }
        for method in changingMethods where !route.methods.contains(method) {
            other.methods = [method]
            if let taker = taker(of: other, routes, deliberate) { return taker }
        }
        return nil
    }

    private static let readingMethods = ["GET", "HEAD", "OPTIONS"]
    private static let changingMethods = ["POST", "PUT", "PATCH", "DELETE"]

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
            return !others.contains { RouteOrder.isMoreSpecific($0, than: neighbour) }
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

/// The routes for everybody, or for nobody and somebody, that strip a prefix, by what they lead to.
private struct Shortcuts {
    private struct Key: Hashable {
        let strictness: Int
        /// Of `ServersByUpstream`.
        let server: Int
        /// One that the route names; nil for every host.
        let host: String?
        /// What the path at the backend begins with.
        let prefix: ArraySlice<PathPattern.Segment>
    }

    /// So many are looked at for one route, and kept under one key. The first one is nearly always what the warning names;
    /// more are looked at only where other routes hold them back, as each version of an interface may for itself.
    private static let candidateLimit = 32

    private let routes: [RouteConfiguration]
    private let servers: ServersByUpstream
    /// Places among the routes.
    private var places: [Key: [Int]] = [:]

    /// `routes` stand in the order in which they are matched, the most specific first.
    init(_ routes: [RouteConfiguration], _ servers: ServersByUpstream) {
        self.routes = routes.filter { $0.stripPrefix != nil && $0.strictness < 2 }
        self.servers = servers
        for (place, route) in self.routes.enumerated() {
            let hosts = route.hosts.isEmpty ? [nil] : route.hosts.map(Optional.some)
            let prefix = route.backendPath.prefix
            for server in servers[route] {
                for host in hosts {
                    let key = Key(strictness: route.strictness, server: server, host: host, prefix: prefix)
                    if places[key, default: []].count < Self.candidateLimit {
                        places[key, default: []].append(place)
                    }
                }
            }
        }
    }

    /// Some laxer routes that lead to all the paths that this one has at a server, the most specific first.
    func leading(to route: RouteConfiguration) -> [RouteConfiguration] {
        guard !routes.isEmpty, route.redirectPort == nil else { return [] }
        let path = route.backendPath
        let prefix = path.prefix
        var found: Set<Int> = []
        for server in servers[route] {
            for host in [nil] + route.hosts.map(Optional.some) {
                for strictness in 0..<route.strictness {
                    for count in 0...prefix.count {
                        let key = Key(
                            strictness: strictness, server: server, host: host, prefix: prefix.prefix(count))
                        found.formUnion(places[key] ?? [])
                    }
                }
            }
        }
        let leading = found.sorted().lazy.map { routes[$0] }.filter { $0.backendPath.covers(path) }
        return Array(leading.prefix(Self.candidateLimit))
    }
}

/// The servers of each upstream, as numbers. Servers that the same upstreams have are one here, so that an upstream of many
/// servers costs no more than one of a single server.
private struct ServersByUpstream {
    private var numbers: [String: Set<Int>] = [:]

    init(_ upstreams: [UpstreamConfiguration]) {
        var owners: [EndpointAddress: [String]] = [:]
        for upstream in upstreams {
            for server in upstream.servers {
                owners[server.address.throughLoopback, default: []].append(upstream.name)
            }
        }
        for (number, names) in Set(owners.values).enumerated() {
            for name in names { numbers[name, default: []].insert(number) }
        }
    }

    /// None for a redirection.
    subscript(_ route: RouteConfiguration) -> Set<Int> { numbers[route.upstream] ?? [] }

    /// True where the requests of both routes may reach one server.
    func areShared(_ one: RouteConfiguration, _ other: RouteConfiguration) -> Bool {
        !self[one].isDisjoint(with: self[other])
    }
}
