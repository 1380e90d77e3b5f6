internal import Policy

extension ConfigurationReader {
    static let routeKeys = [
        "host", "methods", "path", "auth", "require", "scopes", "denied", "upstream", "timeout",
        "max_body", "rewrite", "stream_lifetime", "rate_limit", "cors", "sign_in", "redirect",
    ]

    /// All `[[route]]`, the most specific first.
    func routes(_ section: Section, _ names: KnownNames, _ issuers: [IssuerConfiguration])
        -> [RouteConfiguration]
    {
        guard let entry = section.table["route"] else {
            loader.warning(section.position, "there is no [[route]]: every request is answered 404")
            return []
        }
        guard case .array(let nodes) = entry.node.value else {
            loader.error(entry.position, "routes are a list: write [[route]], not [route]")
            return []
        }
        var routes: [RouteConfiguration] = []
        // Those with mistakes elsewhere, too: each mistake is told in the first run.
        var placed: [RouteConfiguration] = []
        for node in nodes {
            guard case .table(let table) = node.value else {
                loader.error(node.start, "a route must be a table, not \(own: node.value.kind)")
                continue
            }
            let section = Section("[[route]]", table, at: node.start, keys: Self.routeKeys, loader: loader)
            let (route, isWhole) = RouteReader(section: section, names: names, issuers: issuers).route()
            guard let route else { continue }
            placed.append(route)
            if isWhole { routes.append(route) }
        }
        refuseConflicts(placed)
        return RouteOrder.ordered(routes).map { routes[$0] }
    }

    private func refuseConflicts(_ routes: [RouteConfiguration]) {
        for (first, second) in RouteOrder.conflicts(routes) {
            let (route, other) = (routes[second], routes[first])
            loader.error(
                route.position,
                "the route \"\(route.path.text)\" is as specific as \"\(other.path.text)\" in line "
                    + "\(other.position.line): nothing but their order could choose between them")
        }
    }
}

/// Reads one `[[route]]`.
struct RouteReader {
    let section: Section
    let names: KnownNames
    /// The issuers without mistakes.
    let issuers: [IssuerConfiguration]

    private var loader: Loader { section.loader }

    /// The route, nil where its path is wrong; and false where its authentication is, so that it can be nobody's. Both have
    /// been reported then.
    func route() -> (RouteConfiguration?, isWhole: Bool) {
        let path = path()
        let authentication = authentication()
        let captures = path?.captureNames ?? (section.table["path"] == nil ? [] : nil)
        let require = requirements(captures: captures)
        let scopes = scopes()
        checkTokenNeeded(authentication, require)
        let redirectPort = redirectPort(authentication)
        let upstream = section.table["redirect"] == nil ? upstream() : ""
        let maxBody = section.setting("max_body", .size, in: 0...(1 << 50), orOff: true)
        let timeout = section.setting("timeout", .duration, in: ConfigurationReader.patience, orOff: true)
        let hosts = hosts()
        let methods = methods()
        let denied = denied()
        let prefix = stripPrefix(path)
        let lifetime = section.choice("stream_lifetime", default: StreamLifetime.token)
        let rateLimit = reference("rate_limit", to: names.rateLimits)
        let crossOrigin = reference("cors", to: names.crossOrigins)
        let signIn = signIn(authentication)
        guard let path else { return (nil, false) }
        let route = RouteConfiguration(
            hosts: hosts, methods: methods, path: path,
            authentication: authentication ?? .required(issuers: []), require: require,
            scopes: scopes, denied: denied, upstream: upstream, redirectPort: redirectPort,
            timeout: timeout.value(default: .seconds(60)),
            maxBodyBytes: maxBody.value(default: 10 << 20), stripPrefix: prefix, streamLifetime: lifetime,
            rateLimit: rateLimit, crossOrigin: crossOrigin, signIn: signIn, position: section.position)
        return (route, authentication != nil)
    }

    private func path() -> PathPattern? {
        if section.table["path"] == nil { section.missing("path", "such as \"/api/{user_id}/tasks/**\"") }
        return section.string("path").flatMap(loader.pathPattern)
    }

    private func upstream() -> String {
        if section.table["upstream"] == nil { section.missing("upstream", "the name of an [upstream.NAME]") }
        return reference("upstream", to: names.upstreams) ?? ""
    }

    /// The name of a table, which has to be there: `[upstream.NAME]` for `upstream`, and so on.
    private func reference(_ key: String, to known: [String]) -> String? {
        guard let name = section.string(key) else { return nil }
        guard known.contains(name.value) else {
            loader.error(
                name.position, "there is no [\(key).\(name.value)]",
                didYouMean: Suggestion.nearest(to: name.value, among: known))
            return nil
        }
        return name.value
    }

    private func denied() -> Int {
        guard let entry = section.table["denied"] else { return 403 }
        switch entry.node.value {
        case .integer(403): return 403
        case .integer(404):
            if section.table["require"] == nil {
                section.warnOfNoEffect(
                    ["denied"], "it is the answer where \"require\" does not hold, and there is none")
            }
            return 404
        default:
            loader.error(entry.node.start, "\"denied\" must be 403 or 404")
            return 403
        }
    }

    private func hosts() -> [String] {
        guard let entry = section.table["host"], let texts = section.strings("host", single: true) else {
            return []
        }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"host\" is empty; leave it out for every host")
        }
        var hosts: [String] = []
        for text in texts {
            guard let host = host(text) else { continue }
            if hosts.contains(host) {
                loader.error(text.position, "the host \"\(host)\" is named twice")
            } else {
                hosts.append(host)
            }
        }
        return hosts
    }

    /// Lower case, without trailing dot, as requests are matched (P5).
    private func host(_ text: Located<String>) -> String? {
        var host = text.value.lowercased()
        if host.hasSuffix(".") { host.removeLast() }
        if host.hasPrefix("["), host.hasSuffix("]"),
            HostAddress(text: String(host.dropFirst().dropLast())) != nil
        {
            return host
        }
        if HostAddress(text: host)?.isIPv6 == false || HostName.isValid(host) { return host }
        if let meant = Self.hostMeant(by: host) {
            loader.error(
                text.position, "a host stands without scheme, port and path: \"\(text.value)\"",
                didYouMean: meant)
        } else if host.hasPrefix("*.") || host == "*" {
            loader.error(
                text.position, "\"\(text.value)\": hosts are matched exactly; leave \"host\" out for all")
        } else {
            loader.error(text.position, "\"\(text.value)\" is not a host name")
        }
        return nil
    }

    /// The host of a URL, or of a host with its port.
    private static func hostMeant(by text: String) -> String? {
        var rest = text[...]
        if let scheme = rest.range(ofFirst: "://") { rest = rest[scheme.upperBound...] }
        rest = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") { rest = rest[..<colon] }
        let host = String(rest)
        let hasBrackets = host.hasPrefix("[") && host.hasSuffix("]")
        let address = HostAddress(text: hasBrackets ? String(host.dropFirst().dropLast()) : host)
        return address?.isIPv6 == hasBrackets || HostName.isValid(host) ? host : nil
    }

    private static let commonMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    private func methods() -> [String] {
        guard let entry = section.table["methods"], let texts = section.strings("methods") else { return [] }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"methods\" is empty; leave it out for every method")
        }
        var methods: [String] = []
        for text in texts where isMethod(text) {
            if methods.contains(text.value) {
                loader.error(text.position, "the method \(text.value) is named twice")
            } else {
                methods.append(text.value)
            }
        }
        return methods
    }

    private func isMethod(_ text: Located<String>) -> Bool {
        let name = text.value
        if ["CONNECT", "TRACE"].contains(name.uppercased()) {
            loader.error(text.position, "\(name.uppercased()) is never let through (P8)")
            return false
        }
        guard HeaderNames.isToken(name), name != "*" else {
            let hint = name == "*" ? "; leave \"methods\" out for every method" : ""
            loader.error(text.position, "\"\(name)\" is not a method\(hint)")
            return false
        }
        // Methods are case-sensitive (RFC 9110, 9.1): "get" would match no request.
        guard name == name.uppercased() else {
            loader.error(
                text.position, "methods are written in upper case, not \"\(name)\"",
                didYouMean: name.uppercased())
            return false
        }
        if !Self.commonMethods.contains(name),
            let better = Suggestion.nearest(to: name, among: Self.commonMethods),
            !["LOCK", "COPY", "MOVE", "BIND", "LINK", "LABEL", "ACL", "REPORT", "MERGE"].contains(name)
        {
            loader.error(text.position, "unknown method \"\(name)\"", didYouMean: better)
            return false
        }
        return true
    }

    private func stripPrefix(_ path: PathPattern?) -> String? {
        guard let entry = section.table["rewrite"] else { return nil }
        guard case .table(let table) = entry.node.value else {
            section.mismatch(entry, expected: "a table such as { strip_prefix = \"/v1\" }")
            return nil
        }
        let rewrite = Section(
            "\"rewrite\"", table, at: entry.node.start, keys: ["strip_prefix"], loader: loader)
        if table.entries.isEmpty { rewrite.missing("strip_prefix", "such as \"/v1\"") }
        guard let prefix = rewrite.string("strip_prefix") else { return nil }
        guard prefix.value.hasPrefix("/"), !prefix.value.hasSuffix("/") else {
            loader.error(
                prefix.position,
                "\"strip_prefix\" begins with \"/\" and does not end with it, such as \"/v1\"")
            return nil
        }
        guard let path else { return nil }
        switch coverage(of: path, by: prefix.value) {
        case .always: return prefix.value
        case .never:
            loader.warning(
                prefix.position,
                "no path of \"\(path.text)\" begins with \"\(prefix.value)\": there is nothing to strip")
        case .sometimes:
            loader.error(
                prefix.position,
                "the path \"\(path.text)\" does not always begin with \"\(prefix.value)\": write a route for those that do"
            )
        }
        return nil
    }

    private enum Coverage {
        case always, sometimes, never
    }

    /// How many of the requests that the pattern matches begin with the prefix, in whole segments.
    private func coverage(of path: PathPattern, by prefix: String) -> Coverage {
        let steps = prefix.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        var coverage = Coverage.always
        for (index, step) in steps.enumerated() {
            guard index < path.segments.count else { return .never }
            switch path.segments[index] {
            case .literal(let text): if text != step { return .never }
            case .capture: coverage = .sometimes
            case .rest: return .sometimes
            }
        }
        return coverage
    }
}
