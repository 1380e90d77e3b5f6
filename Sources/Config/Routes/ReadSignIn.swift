extension RouteReader {
    /// The page that browsers are sent to: an absolute URL, or a path of the same origin.
    func signIn(_ authentication: RouteAuthentication?) -> String? {
        guard let page = section.string("sign_in") else { return nil }
        if authentication == .open {
            section.loader.error(
                page.position, "\"sign_in\" on a route with auth = \"none\": nobody is asked there")
            return nil
        }
        guard let url = Self.url(page.value) else {
            section.loader.error(
                page.position,
                "\"sign_in\" must be a URL such as \"https://app.example.com/sign-in\", or a path such as "
                    + "\"/sign-in\", without fragment, not \"\(page.value)\"")
            return nil
        }
        if page.value.hasPrefix("http://"), !url.isLoopback {
            section.loader.warning(
                page.position, "\"sign_in\" is not encrypted: people would sign in over plain HTTP")
        }
        return page.value
    }

    private static func url(_ text: String) -> RemoteURL? {
        guard !text.hasPrefix("/") else { return RemoteURL("http://localhost")?.following(text) }
        guard text.hasPrefix("https://") || text.hasPrefix("http://") else { return nil }
        return RemoteURL(text)
    }
}

extension ConfigurationReader {
    /// Warns of sign-in pages that nobody gets to who has not signed in. Of paths alone: what else answers at another origin
    /// nobody here knows; nor what a proxy that asks a forward-auth listener asks about.
    func warnOfGuardedSignIn(_ configuration: Configuration) {
        guard !configuration.listeners.contains(where: \.answersForwardAuth) else { return }
        for route in configuration.routes {
            guard let page = route.signIn, let path = PathPattern(page: page),
                let guarding = Self.taker(of: path, from: route, configuration.routes),
                case .required = guarding.authentication
            else { continue }
            if let other = guarding.signIn, other != page { continue }
            let what =
                guarding.signIn == nil
                ? "it would be refused" : "browsers would be sent there again and again"
            loader.warning(
                route.position,
                "\"sign_in\" leads to \(path.text), which the route \(guarding.path.text) protects: \(what); write a route "
                    + "with auth = \"none\" for the page")
        }
    }

    /// The route that a browser comes to which another one sends to that page; nil where that depends on the host.
    private static func taker(
        of path: PathPattern, from route: RouteConfiguration, _ routes: [RouteConfiguration]
    ) -> RouteConfiguration? {
        var request = route
        request.path = path
        request.methods = ["GET"]
        // The most specific one that takes it at some host must take it at each.
        let first = routes.first { candidate in
            guard candidate.path.covers(path), candidate.methods.isEmpty || candidate.methods.contains("GET")
            else { return false }
            return candidate.hosts.isEmpty || request.hosts.isEmpty
                || candidate.hosts.contains(where: request.hosts.contains)
        }
        return first.flatMap { $0.takesAll(of: request) ? $0 : nil }
    }
}

extension PathPattern {
    /// The path of a page of the same origin, without its query; nil for a URL, and for a path that could be spelt in other
    /// ways.
    fileprivate init?(page: String) {
        guard page.hasPrefix("/"), !page.contains("%") else { return nil }
        let path = page.prefix { $0 != "?" }
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.dropLast().contains(""), !parts.contains("."), !parts.contains("..") else { return nil }
        self.init(segments: parts.map { .literal(String($0)) }, text: String(path))
    }
}
