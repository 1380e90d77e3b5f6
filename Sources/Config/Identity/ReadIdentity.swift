extension IdentityConfiguration {
    /// What is sent and stripped where the file says nothing.
    static let standard = IdentityConfiguration(
        headers: [IdentityHeader(name: "X-User-Id", claim: "sub", position: .none)],
        strip: [
            HeaderPattern(name: "X-User-", isPrefix: true),
            HeaderPattern(name: "X-Forwarded-User", isPrefix: false),
            HeaderPattern(name: "X-Remote-User", isPrefix: false),
            HeaderPattern(name: "Remote-User", isPrefix: false),
            HeaderPattern(name: "X-Auth-Request-", isPrefix: true),
        ])
}

extension ConfigurationReader {
    /// The `[identity]` table, or its defaults.
    func identity(_ section: Section) -> IdentityConfiguration {
        var identity = IdentityConfiguration.standard
        guard let section = section.subsection("identity", keys: ["headers", "strip"]) else {
            return identity
        }
        if let entry = section.table["headers"] {
            if case .table(let table) = entry.node.value {
                identity.headers = headers(table)
            } else {
                section.mismatch(entry, expected: "a table such as { \"X-User-Id\" = \"sub\" }")
            }
        }
        if let patterns = section.strings("strip") { identity.strip = patterns.compactMap(headerPattern) }
        return identity
    }

    private func headers(_ table: TOMLTable) -> [IdentityHeader] {
        var owners: [String: String] = [:]
        var headers: [IdentityHeader] = []
        for entry in table.entries {
            guard let header = header(entry) else { continue }
            let folded = HeaderNames.folded(header.name)
            if let first = owners[folded] {
                loader.error(
                    entry.position,
                    "\"\(header.name)\" is the same header as \"\(first)\" to a backend that folds names (H1, H2)"
                )
            } else {
                owners[folded] = header.name
                headers.append(header)
            }
        }
        return headers
    }

    private func header(_ entry: TOMLEntry) -> IdentityHeader? {
        guard HeaderNames.isToken(entry.key) else {
            loader.error(entry.position, "\"\(entry.key)\" is not a header name (RFC 9110, 5.1)")
            return nil
        }
        guard HeaderNames.mayCarryIdentity(entry.key) else {
            loader.error(
                entry.position, "the header \"\(entry.key)\" has its own meaning and cannot carry a claim")
            return nil
        }
        guard case .string(let text) = entry.node.value else {
            loader.error(
                entry.node.start,
                "\"\(entry.key)\" must name a claim such as \"sub\", not \(own: entry.node.value.kind)")
            return nil
        }
        guard let claim = loader.expand(text, at: entry.node.start),
            loader.isClaimPath(Located(value: claim, position: entry.node.start))
        else { return nil }
        return IdentityHeader(name: entry.key, claim: claim, position: entry.position)
    }

    private func headerPattern(_ text: Located<String>) -> HeaderPattern? {
        let isPrefix = text.value.hasSuffix("*")
        let name = isPrefix ? String(text.value.dropLast()) : text.value
        guard HeaderNames.isToken(name), !name.contains("*") else {
            loader.error(
                text.position,
                "\"\(text.value)\" is not a header name, with or without a \"*\" at its end")
            return nil
        }
        let folded = HeaderNames.folded(name)
        let hit = HeaderNames.indispensable.sorted().first { isPrefix ? $0.hasPrefix(folded) : $0 == folded }
        guard hit == nil else {
            loader.error(
                text.position,
                "\"\(text.value)\" would strip \"\(hit ?? "")\", without which no request works")
            return nil
        }
        return HeaderPattern(name: name, isPrefix: isPrefix)
    }
}
