internal import Policy

// Warnings about what a protected route leaves to a wider one that asks for less: nothing is wrong with either, but together
// they say something that was hardly meant. Only where both lead to the same backend, which may take one request for the
// other, and only of what no third route holds back.

extension ConfigurationReader {
    /// Warns where another spelling, method or host of a protected route's requests would go to a route of the same backend
    /// that lets nobody in particular through, or where such a route leads to the same paths behind a prefix.
    func warnOfOpenNeighbours(_ configuration: Configuration) {
        let routes = RoutesByPrefix(configuration.routes)
        let servers = ServersByUpstream(configuration.upstreams)
        let shortcuts = Shortcuts(configuration.routes, servers)
        for route in configuration.routes where route.strictness > 0 {
            warnOfPrefix(route, routes, shortcuts)
            let neighbours = routes.covering(route.path).filter {
                $0.path.segments.last == .rest && $0.isLaxer(than: route) && servers.areShared($0, route)
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
            for server in upstream.servers { owners[server.address, default: []].append(upstream.name) }
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

    /// How many segments `strip_prefix` takes off.
    fileprivate var strippedCount: Int { stripPrefix?.utf8.count { $0 == 0x2f } ?? 0 }

    /// The path as the backend sees it.
    fileprivate var backendPath: PathPattern {
        PathPattern(segments: Array(path.segments.dropFirst(strippedCount)), text: path.text)
    }

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
