internal import Bytes
internal import HTTP
internal import JOSE

/// The routes of one snapshot in flat arrays, most specific first: the first one that matches is the one.
struct RouteTable: ~Copyable {
    private let inPlace = InPlace()
    /// The compiled routes in the order in which they are tried; `specIndex` is the place in the specification.
    private var routes: FixedArray<CompiledRoute>
    private var segments: FixedArray<CompiledSegment>
    private var hosts: FixedArray<ByteRange>
    private var extensionMethods: FixedArray<ByteRange>
    private var literals = ByteArray()
    /// What the routes ask of a token.
    let requirements: RequirementTable

    init(_ spec: PolicySpec) throws(PolicyError) {
        let specs = spec.routes
        routes = FixedArray(capacity: max(specs.count, 1))
        segments = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.path.segments.count }, 1))
        hosts = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.hosts.count }, 1))
        extensionMethods = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.methods.count }, 1))
        requirements = try RequirementTable(specs)
        for index in RouteOrder.ordered(specs) { append(specs[index], at: index) }
    }

    /// The compiled route at a place given by `match`.
    func route(_ place: Int) -> CompiledRoute { routes[place] }

    /// The place of the most specific route that serves this request, `none`, or in which way it is ambiguous; fills the
    /// captures of that route.
    ///
    /// A route that is bound to other methods or hosts does not take part, so a wider one may serve the request.
    ///
    /// Backends undo percent-encoding before they route, so literal segments are compared with it undone. Some of them
    /// also cut parameters off (`/api;x=1` is `/api`), and others do not: a path whose route depends on that is
    /// ambiguous, and nobody can say which route's rules the backend would expect to have been kept. So is one that
    /// another route would serve but for the case of its letters, which many backends do not look at.
    func match(
        _ target: CanonicalTarget, _ method: SoughtMethod, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, _ captures: inout Captures
    ) -> Int {
        guard target.form != .asterisk else { return Self.none }
        let path = RoutedPath(target, bytes)
        let key = firstKey(path, target, bytes)
        let place = place(of: path, key, target, method, head, bytes, &captures)
        guard place > 0 || path.hasParameters else { return place }
        if isOtherCase(of: path, key, place, target, method, head, bytes) { return Self.ambiguousCase }
        guard path.hasParameters else { return place }
        guard let bare = path.withoutParameters(target, bytes) else { return Self.ambiguousParameters }
        let bareKey = firstKey(bare, target, bytes)
        var others = captures
        let other = self.place(of: bare, bareKey, target, method, head, bytes, &others)
        guard other == place else { return Self.ambiguousParameters }
        let isOtherCase = isOtherCase(of: bare, bareKey, place, target, method, head, bytes)
        return isOtherCase ? Self.ambiguousCase : place
    }

    /// No route serves the request.
    static var none: Int { -1 }
    /// Which route serves it depends on whether the backend cuts parameters off.
    static var ambiguousParameters: Int { -2 }
    /// Which route serves it depends on whether the backend tells `/API` from `/api`.
    static var ambiguousCase: Int { -3 }

    private func place(
        of path: RoutedPath, _ key: UInt64, _ target: CanonicalTarget, _ method: SoughtMethod,
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ captures: inout Captures
    ) -> Int {
        var place = 0
        while place < routes.count {
            let route = routes[place]
            if route.firstKey == 0 || key == 0 || route.firstKey == key, serves(route, method),
                matchesPath(route, path, target, bytes, &captures), matchesMethodText(route, method, bytes),
                matchesHost(route, head, bytes)
            {
                return place
            }
            place &+= 1
        }
        return Self.none
    }

    /// True where a route that asks for a user would come before the one at `place`, were it not for the case of letters:
    /// Express, ASP.NET and IIS serve `/API/x` as they do `/api/x`, and the wider route's rules are not those of `/api`.
    private func isOtherCase(
        of path: RoutedPath, _ key: UInt64, _ place: Int, _ target: CanonicalTarget, _ method: SoughtMethod,
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        let key = key | Self.lowerCaseBits
        var earlier = 0
        while earlier < place {
            let route = routes[earlier]
            if route.firstKey == 0 || path.hasEscapes || route.firstKey | Self.lowerCaseBits == key,
                !route.issuers.isEmpty, serves(route, method),
                matchesIgnoringCase(route, path, target, bytes, insteadOf: routes[place]),
                matchesMethodText(route, method, bytes), matchesHost(route, head, bytes)
            {
                return true
            }
            earlier &+= 1
        }
        return false
    }

    /// True where the path is one of the route but for the case of letters, and the route that serves it does not tell them
    /// apart itself, by a literal segment in the same place.
    private func matchesIgnoringCase(
        _ route: CompiledRoute, _ path: RoutedPath, _ target: CanonicalTarget, _ bytes: Span<UInt8>,
        insteadOf served: CompiledRoute
    ) -> Bool {
        guard hasShape(of: route, target) else { return false }
        for place in 0..<Int(route.segments.count) {
            let segment = segments[Int(route.segments.start) &+ place]
            guard !segment.isCapture else { continue }
            let text = bytes.slice(path.segment(place, target, bytes))
            if path.equals(text, literals.span(segment.literal)) { continue }
            let isTold =
                place < served.segments.count && !segments[Int(served.segments.start) &+ place].isCapture
            guard !isTold, path.equalsIgnoringCase(text, literals.span(segment.literal)) else { return false }
        }
        return true
    }

    /// What the first segment has in common with a literal one of a route: its size and its first seven bytes. 0 where
    /// the segments have to be compared, because of another spelling.
    private func firstKey(_ path: RoutedPath, _ target: CanonicalTarget, _ bytes: Span<UInt8>) -> UInt64 {
        guard target.segmentCount > 0 else { return 1 }
        return path.hasEscapes ? 0 : Self.key(bytes.slice(path.segment(0, target, bytes)))
    }

    /// Makes keys equal that are so but for the case of letters; a few others too.
    private static var lowerCaseBits: UInt64 { 0x2020_2020_2020_2000 }

    /// Never 0 and never 1: those stand for "any" and for "no segment".
    private static func key(_ segment: Span<UInt8>) -> UInt64 {
        var key = UInt64(truncatingIfNeeded: min(segment.count, 255)) | 2
        var index = 0
        while index < min(segment.count, 7) {
            key |= UInt64(segment[index]) << UInt64(8 * (index + 1))
            index &+= 1
        }
        return key
    }

    private func serves(_ route: CompiledRoute, _ sought: SoughtMethod) -> Bool {
        route.methods & (1 << UInt64(sought.method.rawValue)) != 0
    }

    private func matchesMethodText(
        _ route: CompiledRoute, _ sought: SoughtMethod, _ bytes: Span<UInt8>
    ) -> Bool {
        guard sought.method == .other, !route.extensionMethods.isEmpty else { return true }
        for index in route.extensionMethods.bounds {
            if ASCII.equals(bytes.slice(sought.text), literals.span(extensionMethods[index])) {
                return true
            }
        }
        return false
    }

    private func matchesHost(
        _ route: CompiledRoute, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        guard !route.hosts.isEmpty else { return true }
        let name = bytes.slice(head.authority.name)
        for index in route.hosts.bounds {
            if ASCII.equalsIgnoringCase(name, literals.span(hosts[index])) { return true }
        }
        return false
    }

    /// True where the path has as many segments as the route takes.
    @inline(__always)
    private func hasShape(of route: CompiledRoute, _ target: CanonicalTarget) -> Bool {
        let count = Int(route.segments.count)
        guard !route.hasRest else { return target.segmentCount >= count }
        return target.segmentCount == count && target.hasTrailingSlash == route.hasTrailingSlash
    }

    private func matchesPath(
        _ route: CompiledRoute, _ path: RoutedPath, _ target: CanonicalTarget, _ bytes: Span<UInt8>,
        _ captures: inout Captures
    ) -> Bool {
        guard hasShape(of: route, target) else { return false }
        var captured = 0
        for place in 0..<Int(route.segments.count) {
            let segment = segments[Int(route.segments.start) &+ place]
            let range = path.segment(place, target, bytes)
            if segment.isCapture {
                captures[captured] = range
                captured &+= 1
            } else if !path.equals(bytes.slice(range), literals.span(segment.literal)) {
                return false
            }
        }
        return true
    }

    // MARK: Compiling

    private mutating func append(_ spec: RouteSpec, at index: Int) {
        var route = CompiledRoute(spec, index)
        let firstSegment = segments.count
        for segment in spec.path.segments {
            switch segment {
            case .literal(let bytes) where bytes.isEmpty: route.hasTrailingSlash = true
            case .literal(let bytes): _ = segments.append(CompiledSegment(literal: add(bytes)))
            case .capture: _ = segments.append(CompiledSegment())
            case .rest: route.hasRest = true
            }
        }
        route.segments = ByteRange(from: firstSegment, to: segments.count)
        if case .literal(let bytes)? = spec.path.segments.first, !bytes.isEmpty {
            route.firstKey = Self.key(bytes.span)
        }
        // The path `/` has no segment, and no trailing slash either.
        if route.segments.isEmpty { route.hasTrailingSlash = false }
        let firstHost = hosts.count
        for host in spec.hosts { _ = hosts.append(add(Array(host.utf8))) }
        route.hosts = ByteRange(from: firstHost, to: hosts.count)
        appendMethods(spec.methods, to: &route)
        if let prefix = spec.stripPrefix {
            route.strippedSegmentCount = prefix.utf8.count { $0 == UInt8(ascii: "/") }
        }
        _ = routes.append(route)
    }

    private mutating func appendMethods(_ methods: [String], to route: inout CompiledRoute) {
        guard !methods.isEmpty else { return }
        route.methods = 0
        let first = extensionMethods.count
        for text in methods {
            let bytes = Array(text.utf8)
            let method = Method(bytes.span, ByteRange(start: 0, count: bytes.count))
            route.methods |= 1 << UInt64(method.rawValue)
            if method == .other { _ = extensionMethods.append(add(bytes)) }
        }
        route.extensionMethods = ByteRange(from: first, to: extensionMethods.count)
    }

    private mutating func add(_ bytes: [UInt8]) -> ByteRange {
        let start = literals.count
        literals.append(bytes.span)
        return literals.range(since: start)
    }
}

/// The captures of the route that matched: ranges of the head's bytes.
typealias Captures = InlineArray<8, ByteRange>

/// One segment of a path template; `**` and the last slash are flags of the route.
struct CompiledSegment: BitwiseCopyable {
    let isCapture: Bool
    let literal: ByteRange

    init(literal: ByteRange) {
        isCapture = false
        self.literal = literal
    }

    init() {
        isCapture = true
        literal = .empty
    }
}

/// One route as plain numbers; ranges are places in the arrays of the table.
struct CompiledRoute: BitwiseCopyable {
    /// What `RouteTable.key` says of the first segment; 0 where the template does not start with a literal one.
    var firstKey: UInt64 = 0
    /// Bit i stands for the method with raw value i.
    var methods: UInt64 = .max
    var segments: ByteRange = .empty
    var hosts: ByteRange = .empty
    var extensionMethods: ByteRange = .empty
    var hasRest = false
    var hasTrailingSlash = false
    /// How many segments `strip_prefix` takes away.
    var strippedSegmentCount = 0
    let specIndex: Int32
    let upstream: Int32
    let issuers: IssuerSet
    let isOptional: Bool
    let deniesWithNotFound: Bool
    /// -1 is without end.
    let timeoutMilliseconds: Int64
    let maxBodyBytes: Int64
    let endsWithToken: Bool
    /// -1 is none.
    let rateLimit: Int32
    /// A place in `PolicySpec.crossOrigins`; -1 is none.
    let crossOrigin: Int32
    let hasSignIn: Bool
    /// The port of the secure listener that requests are sent to; 0 where they are not.
    let redirectPort: Int32

    init(_ spec: RouteSpec, _ index: Int) {
        specIndex = Int32(index)
        upstream = Int32(spec.upstream)
        switch spec.authentication {
        case .none:
            issuers = []
            isOptional = false
        case .required(let list):
            issuers = list.reduce(into: []) { $0.insert(IssuerSet(index: $1)) }
            isOptional = false
        case .optional(let list):
            issuers = list.reduce(into: []) { $0.insert(IssuerSet(index: $1)) }
            isOptional = true
        }
        deniesWithNotFound = spec.denied == .notFound
        timeoutMilliseconds = spec.timeoutMilliseconds ?? -1
        maxBodyBytes = spec.maxBodyBytes
        endsWithToken = spec.endsWithToken
        rateLimit = Int32(spec.rateLimit ?? -1)
        crossOrigin = Int32(spec.crossOrigin ?? -1)
        hasSignIn = spec.signIn != nil
        redirectPort = Int32(spec.redirectPort ?? 0)
    }

    /// True where answers say something to browsers: all other routes pass this one check.
    @inline(__always)
    var concernsBrowsers: Bool { crossOrigin >= 0 || hasSignIn }
}
