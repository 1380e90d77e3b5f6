extension ConfigurationReader {
    static let issuerKeys = [
        "issuer", "audience", "secret", "public_key", "jwks", "algorithms", "subject", "types",
        "required_type", "leeway", "maximum_lifetime", "refuse_claims", "token_from", "trusted_origins",
        "provider", "url", "dpop", "dpop_lifetime", "dpop_nonce",
        "introspection",
    ]

    /// What a route's set of issuers has room for.
    static let maximumIssuers = 64

    /// All `[issuer.NAME]`; those whose keys cannot be had are left out, with an error.
    func issuers(_ section: Section) -> [IssuerConfiguration] {
        let tables = section.namedTables("issuer")
        if tables.count > Self.maximumIssuers {
            loader.error(
                tables[Self.maximumIssuers].name.position,
                "there are \(tables.count) issuers; at most \(Self.maximumIssuers) are possible")
        }
        return tables.compactMap(issuer)
    }

    private func issuer(_ named: NamedTable) -> IssuerConfiguration? {
        if named.name.value == "none" {
            loader.error(
                named.name.position, "an issuer cannot be named \"none\": auth = \"none\" means nobody")
        }
        let section = Section(
            "[issuer.\(named.name.value)]", named.table, at: named.position, keys: Self.issuerKeys,
            loader: loader)
        let tokenFrom = tokenFrom(section)
        let trustedOrigins = trustedOrigins(section)
        if !trustedOrigins.isEmpty, !tokenFrom.contains(where: Self.isCookie) {
            section.warnOfNoEffect(
                ["trusted_origins"], "it is about cookies, and \"token_from\" names none")
        }
        let preset = preset(section)
        let issuer = issuerText(section, preset)
        let audience = audience(section, preset)
        let keys = keySource(section, preset, issuer: issuer)
        let algorithms = algorithms(section, named.table, preset)
        let zero = Duration.zero
        let lifetime = section.setting("maximum_lifetime", .duration, in: .seconds(1) ... .days(3650))
        let leeway = section.duration("leeway", default: .seconds(30), in: zero ... .seconds(600))
        let subject = claimPaths(section, "subject") ?? ["sub"]
        let types =
            names(section, "types", "accepted types such as [\"JWT\"]") ?? preset?.types
            ?? ["JWT", "at+jwt"]
        let refused = section.strings("refuse_claims")
        let requiredType = section.boolean("required_type", default: false)
        let dpop = dpop(section, tokenFrom)
        refuseEmpty(refused ?? [], "a claim's name in \"refuse_claims\"")
        guard let keys else { return nil }
        var configuration = IssuerConfiguration(
            name: named.name.value, issuer: issuer.flatMap { $0.value == "*" ? nil : $0.value },
            audience: audience, keySource: keys.value,
            keyPosition: keys.position, algorithms: algorithms, subject: subject, types: types,
            requiredType: requiredType, leeway: leeway, maximumLifetime: lifetime.value(default: nil),
            refuseClaims: refused?.map(\.value) ?? preset?.refuseClaims ?? [], tokenFrom: tokenFrom,
            trustedOrigins: trustedOrigins, position: named.position)
        configuration.dpop = dpop
        // Better Auth names the key in every token, and takes none without. Its 1.0 and 1.1 publish RSA keys of which nobody
        // can tell whether they are for RS256 or PS256.
        configuration.requiresNamedKeys = preset != nil && !keys.value.isNameless
        checkKeys(configuration)
        return configuration
    }

    /// The exact `iss` or `"*"`; below a preset it may be the preset's. Nil after a mistake, which is reported.
    private func issuerText(_ section: Section, _ preset: ProviderPreset?) -> Located<String>? {
        if section.table["issuer"] == nil, let preset {
            return Located(value: preset.origin, position: preset.position)
        }
        if section.table["issuer"] == nil, section.table["provider"] == nil {
            section.missing("issuer", "the exact \"iss\" of its tokens, or \"*\"")
        }
        guard let text = section.string("issuer") else { return nil }
        if text.value.isEmpty {
            loader.error(text.position, "\"issuer\" is empty; \"*\" would mean: not checked")
            return nil
        }
        return text
    }

    /// Nil = not checked. Never left out: a token for another service must not pass by an oversight (J14).
    private func audience(_ section: Section, _ preset: ProviderPreset?) -> [String]? {
        if section.table["audience"] == nil, let preset { return [preset.origin] }
        guard let entry = section.table["audience"] else {
            if section.table["provider"] == nil {
                section.missing("audience", "the \"aud\" values that mean this service, or \"*\" (J14)")
            }
            return nil
        }
        guard let values = section.strings("audience", single: true) else { return nil }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"audience\" is empty; \"*\" would mean: not checked (J14)")
        }
        refuseEmpty(values, "an audience")
        if values.contains(where: { $0.value == "*" }) {
            if values.count > 1 {
                loader.error(entry.node.start, "\"*\" stands alone: it means that \"aud\" is not checked")
            }
            return nil
        }
        return values.map(\.value)
    }

    private func refuseEmpty(_ values: [Located<String>], _ what: String) {
        for value in values where value.value.isEmpty { loader.error(value.position, "\(what) is empty") }
    }

    /// A list of names that is not empty and has none twice.
    private func names(_ section: Section, _ key: String, _ example: String) -> [String]? {
        guard let entry = section.table[key], let values = section.strings(key) else { return nil }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"\(key)\" is empty; list \(example), or leave it out")
        }
        refuseEmpty(values, "a value of \"\(key)\"")
        return values.map(\.value)
    }

    private func claimPaths(_ section: Section, _ key: String) -> [String]? {
        guard let entry = section.table[key], let values = section.strings(key, single: true) else {
            return nil
        }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"\(key)\" is empty; name the claims that may hold the user")
        }
        return values.filter { loader.isClaimPath($0) }.map(\.value)
    }
}

extension Loader {
    /// A claim's name, or names joined by dots, at most 256 bytes; else an error.
    func isClaimPath(_ text: Located<String>) -> Bool {
        let steps = text.value.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if steps.allSatisfy({ !$0.isEmpty }), text.value.utf8.count <= 256 { return true }
        error(text.position, "\"\(text.value)\" is not a claim: a name, or names joined by dots")
        return false
    }
}
