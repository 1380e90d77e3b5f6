import Bytes

extension ConfigurationReader {
    static let sessionKeys = [
        "provider", "secret", "secrets", "cookie_prefix", "secure_cookies", "cookie_cache",
        "cookie_cache_version", "url", "issuer", "ca", "cache_for", "trusted_origins",
    ]

    /// All `[session.NAME]`; those without a usable secret are left out, with an error.
    func sessions(_ section: Section) -> [SessionConfiguration] {
        section.namedTables("session").compactMap(session)
    }

    private func session(_ named: NamedTable) -> SessionConfiguration? {
        let section = Section(
            "[session.\(named.name.value)]", named.table, at: named.position, keys: Self.sessionKeys,
            loader: loader)
        checkProvider(section)
        let secrets = sessionSecrets(section)
        let url = betterAuthURL(section)?.value
        let cache = section.choice("cookie_cache", default: SessionConfiguration.Cache.any)
        let configuration = SessionConfiguration(
            name: named.name.value, secrets: secrets, cookiePrefix: cookiePrefix(section),
            secureCookies: section.boolean("secure_cookies", default: true), cache: cache,
            cacheVersion: section.string("cookie_cache_version")?.value ?? "1", url: url,
            issuer: section.string("issuer")?.value, authorities: authorities(section),
            cacheFor: section.duration(
                "cache_for", default: .seconds(30), in: .seconds(1) ... .seconds(3600)),
            trustedOrigins: trustedOrigins(section), position: named.position)
        checkTogether(section, configuration)
        return secrets.isEmpty ? nil : configuration
    }

    private func checkProvider(_ section: Section) {
        guard section.table["provider"] != nil else {
            return section.missing("provider", "\"better-auth\"")
        }
        if let provider = section.string("provider") { _ = isBetterAuth(provider) }
    }

    /// What cannot be seen in one key.
    private func checkTogether(_ section: Section, _ session: SessionConfiguration) {
        if session.cache == .jwks || session.cache == .off, session.url == nil, section.table["url"] == nil {
            section.missing(
                "url", "the base URL of Better Auth, which cookie_cache = \"\(session.cache.rawValue)\" needs"
            )
        }
        let mayHaveKeys =
            session.cache == .jwks || (session.cache == .any && section.table["url"] != nil)
        if let issuer = section.table["issuer"], !mayHaveKeys {
            loader.error(
                issuer.position,
                "\"issuer\" is the \"iss\" of a cache that is signed with a key of \"url\" + /jwks: it belongs to a \"url\" and "
                    + "to cookie_cache = \"auto\" or \"jwks\"")
        }
        if section.table["url"] == nil {
            section.warnOfNoEffect(["cache_for", "ca"], "without \"url\" no server is asked")
        }
        section.warnOfPlainAuthorities(session.url)
        if session.cache == .off {
            section.warnOfNoEffect(["cookie_cache_version"], "cookie_cache = \"off\" looks at no cache")
        }
        if section.table["trusted_origins"] == nil {
            loader.warning(
                section.position,
                "\(section.title) has no \"trusted_origins\": with its cookies nothing but GET, HEAD and OPTIONS passes"
            )
        }
    }

    // MARK: Secrets

    /// The current secret, and those before it: from `secret`, or from `secrets` as `BETTER_AUTH_SECRETS` has them.
    private func sessionSecrets(_ section: Section) -> [Secret] {
        var secrets: [Secret] = []
        if let entry = section.table["secrets"] { secrets = versionedSecrets(entry) ?? [] }
        if let entry = section.table["secret"], let secret = loader.secret(entry, for: .hmacKey),
            !secrets.contains(secret)
        {
            secrets.append(secret)
        }
        if section.table["secret"] == nil, section.table["secrets"] == nil {
            section.missing("secret", "Better Auth's, such as { env = \"BETTER_AUTH_SECRET\" }")
        }
        return secrets
    }

    /// `2:new,1:old`, the current one first.
    private func versionedSecrets(_ entry: TOMLEntry) -> [Secret]? {
        // Each of them is a key, and not the whole: what is wrong is said of the one that it is.
        guard let whole = loader.secret(entry, for: .clientSecret) else { return nil }
        var versions: Set<String> = []
        var secrets: [Secret] = []
        for part in String(decoding: whole.bytes, as: UTF8.self).split(
            separator: ",", omittingEmptySubsequences: false)
        {
            let pair = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, let version = Self.version(pair[0]),
                versions.insert(version).inserted
            else {
                loader.error(
                    entry.node.start,
                    "\"secrets\" must be VERSION:SECRET, one after the other with commas, each version a number of its "
                        + "own, as in BETTER_AUTH_SECRETS")
                return nil
            }
            let secret = Secret(bytes: Array(Self.trimmed(pair[1]).utf8))
            if let complaint = loader.complaint(about: secret.bytes, .hmacKey) {
                loader.error(
                    entry.node.start, "the secret with version \(version) in \"secrets\" \(own: complaint)")
                return nil
            }
            secrets.append(secret)
        }
        return secrets
    }

    private static func version(_ text: Substring) -> String? {
        let digits = trimmed(text)
        guard !digits.isEmpty, digits.utf8.allSatisfy(ASCII.isDigit) else { return nil }
        return digits
    }

    private static func trimmed(_ text: Substring) -> String {
        let rest = text.drop { $0 == " " || $0 == "\t" }
        return String(rest.reversed().drop { $0 == " " || $0 == "\t" || $0 == "\n" }.reversed())
    }

    // MARK: Names and places

    /// A part of cookie names, which are tokens (RFC 6265, 4.1.1).
    private func cookiePrefix(_ section: Section) -> String {
        guard let text = section.string("cookie_prefix") else { return "better-auth" }
        if HeaderNames.isToken(text.value), text.value.utf8.count <= 64, !text.value.hasPrefix("__") {
            return text.value
        }
        loader.error(
            text.position,
            "\"\(text.value)\" cannot begin the name of a cookie: letters, digits, \"-\", \"_\", without \"__Secure-\", "
                + "which secure_cookies adds")
        return "better-auth"
    }

    /// Routes name issuers and sessions alike.
    func refuseSharedNames(_ configuration: Configuration) {
        for (index, session) in configuration.sessions.enumerated() {
            if configuration.issuerIndex(named: session.name) != nil {
                loader.error(
                    session.position, "an issuer is named \"\(session.name)\" too: routes could mean either")
            }
            if session.name == "none" {
                loader.error(
                    session.position, "a session cannot be named \"none\": auth = \"none\" means nobody")
            }
            let twin = configuration.sessions[..<index].first {
                $0.cookiePrefix == session.cookiePrefix && $0.secureCookies == session.secureCookies
            }
            guard let twin, sharesRoute(session.name, twin.name, configuration.routes) else { continue }
            loader.error(
                session.position,
                "the sessions \"\(twin.name)\" and \"\(session.name)\" share the names of their cookies, and a route"
            )
        }
        let places = configuration.keyIssuers.count + configuration.sessions.count
        if places > Self.maximumIssuers, let last = configuration.sessions.last {
            loader.error(
                last.position,
                "there are \(places) issuers and sessions; at most \(Self.maximumIssuers) are possible")
        }
    }

    private func sharesRoute(_ a: String, _ b: String, _ routes: [RouteConfiguration]) -> Bool {
        routes.contains { route in
            switch route.authentication {
            case .open: false
            case .required(let names), .optional(let names): names.contains(a) && names.contains(b)
            }
        }
    }
}
