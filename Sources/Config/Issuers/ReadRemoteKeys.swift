// Keys that are fetched while the proxy runs, and the presets that know where they are.

/// What `provider` and `url` stand for; each part can still be written out.
struct ProviderPreset {
    /// Issuer and audience of its tokens.
    var origin: String
    /// Where its keys are.
    var keySet: RemoteKeys.Location
    var algorithms: [TokenAlgorithm]
    var types: [String]
    /// Tokens with one of these are not user tokens, though the same keys sign them.
    var refuseClaims: [String]
    /// Where the file says `url`.
    var position: SourcePosition

    /// Better Auth's `jwt` plugin at the base URL of its API, such as `https://app.example.com/api/auth`.
    init(betterAuth url: RemoteURL, at position: SourcePosition) {
        origin = url.origin
        keySet = .url(url.below("/jwks"))
        algorithms = TokenAlgorithm.ofBetterAuth
        types = ["JWT"]
        refuseClaims = ["azp", "client_id", "scope", "events"]
        self.position = position
    }
}

extension ConfigurationReader {
    private static let remoteKeys = ["url", "refresh", "cooldown", "stale_for", "ca"]

    /// The preset that a table names; nil without one, and after a mistake, which is reported.
    func preset(_ section: Section) -> ProviderPreset? {
        guard let provider = section.string("provider") else {
            if section.table["provider"] == nil, let url = section.table["url"] {
                loader.error(
                    url.position,
                    "\"url\" in \(section.title) belongs to a \"provider\"; keys elsewhere are jwks = { url = … }"
                )
            }
            return nil
        }
        guard isBetterAuth(provider) else { return nil }
        guard section.table["url"] != nil else {
            section.missing(
                "url", "the base URL of Better Auth, such as \"https://app.example.com/api/auth\"")
            return nil
        }
        return betterAuthURL(section).map { ProviderPreset(betterAuth: $0.value, at: $0.position) }
    }

    /// Whether a `provider` is the one that there is; else an error.
    func isBetterAuth(_ provider: Located<String>) -> Bool {
        if provider.value == "better-auth" { return true }
        loader.error(
            provider.position, "\"provider\" must be \"better-auth\", not \"\(provider.value)\"",
            didYouMean: Suggestion.nearest(to: provider.value, among: ["better-auth"]))
        return false
    }

    /// The `url` of a Better Auth: the base of its API. Nil without one, and after a mistake, which is reported.
    func betterAuthURL(_ section: Section) -> Located<RemoteURL>? {
        guard let text = section.string("url"), let url = remoteURL(text) else { return nil }
        guard !url.target.contains("?") else {
            loader.error(text.position, "\"\(text.value)\" has a query; the base URL of Better Auth has none")
            return nil
        }
        if let page = ["/jwks", "/get-session"].first(where: url.target.hasSuffix) {
            loader.warning(
                text.position,
                "\"\(text.value)\" is a page of Better Auth's API, and \"url\" is its base: without \"\(own: page)\""
            )
        }
        return Located(value: url, position: text.position)
    }

    /// Whether a `jwks` table is about keys that are fetched.
    static func isRemote(_ table: TOMLTable) -> Bool {
        table.entries.contains { remoteKeys.contains($0.key) }
    }

    /// `jwks = { url = … }`; below a preset the URL may be left out.
    func remoteKeys(_ entry: TOMLEntry, _ table: TOMLTable, _ preset: ProviderPreset?) -> KeySource? {
        let section = Section(
            "\"jwks\"", table, at: entry.node.start, keys: Self.remoteKeys, loader: loader)
        var location = preset?.keySet
        if table["url"] != nil {
            location = section.string("url").flatMap(remoteURL).map { .url($0) }
        } else if preset == nil {
            section.missing("url", "where the key set is")
        }
        let times = Self.times(section)
        let authorities = authorities(section)
        if case .url(let url)? = location { section.warnOfPlainAuthorities(url) }
        guard var keys = location.map({ RemoteKeys($0) }) else { return nil }
        (keys.refresh, keys.cooldown, keys.staleFor) = times
        keys.authorities = authorities
        return .remote(keys)
    }

    private static func times(
        _ section: Section
    ) -> (refresh: Duration, cooldown: Duration, staleFor: Duration) {
        (
            section.duration("refresh", default: .seconds(600), in: .milliseconds(100) ... .days(7)),
            section.duration("cooldown", default: .seconds(10), in: .milliseconds(100) ... .seconds(3600)),
            section.duration("stale_for", default: .days(1), in: .zero ... .days(365))
        )
    }

    /// `jwks = "discover"`: the issuer is a URL, and says where its keys are.
    func discovered(_ entry: TOMLEntry, _ issuer: Located<String>) -> KeySource? {
        guard issuer.value != "*" else {
            loader.error(
                entry.node.start, "jwks = \"discover\" needs the exact \"issuer\", whose keys are to be found"
            )
            return nil
        }
        guard let url = remoteURL(issuer) else { return nil }
        guard !url.target.contains("?") else {
            loader.error(
                issuer.position, "\"\(issuer.value)\" has a query, which no issuer has (RFC 8414, 2)")
            return nil
        }
        return .remote(RemoteKeys(.discovery(issuer: url, name: issuer.value)))
    }

    func remoteURL(_ text: Located<String>) -> RemoteURL? {
        guard let url = RemoteURL(text.value) else {
            loader.error(
                text.position,
                "\"\(text.value)\" is not a URL such as \"https://app.example.com/api/auth\" (http or https, "
                    + "without user and fragment)")
            return nil
        }
        if !url.isSecure, !url.isLoopback {
            loader.warning(
                text.position,
                "\"\(text.value)\" is not encrypted: whoever is on the way can put in keys of their own; use https"
            )
        }
        return url
    }

    /// The certificates of `ca`, one of which must have signed the server's; nil for those of the system.
    func authorities(_ section: Section) -> [UInt8]? { section.string("ca").flatMap { certificateText($0) } }
}
