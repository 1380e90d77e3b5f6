internal import Policy

/// Who may call a route, and what is required of the token.
extension RouteReader {
    private var loader: Loader { section.loader }

    /// Nil where `auth` is missing or wrong, which has been reported: a route is never open by an oversight.
    func authentication() -> RouteAuthentication? {
        guard let entry = section.table["auth"] else {
            let names = names.issuers.map { "\"\($0)\"" }.joined(separator: " or ")
            section.missing(
                "auth",
                (names.isEmpty ? "the name of an [issuer.NAME]" : names) + ", or \"none\" for everybody")
            return nil
        }
        guard let texts = section.strings("auth", single: true) else { return nil }
        if entry.node.value == .array([]) {
            loader.error(
                entry.node.start, "\"auth\" is empty; write \"none\" for a route that is open to everybody")
            return nil
        }
        if texts.count == 1, texts[0].value == "none" { return .open }
        return issuerList(texts, at: entry.node.start)
    }

    private func issuerList(_ texts: [Located<String>], at position: SourcePosition) -> RouteAuthentication? {
        let prefix = "optional:"
        let optional = texts.filter { $0.value.hasPrefix(prefix) }
        let isMixed = !optional.isEmpty && optional.count < texts.count
        if isMixed {
            loader.error(
                position,
                "\"auth\" mixes optional and required names: an anonymous request would need no token; "
                    + "write \"optional:\" before each name or before none")
        }
        var found: [String] = []
        var complete = !texts.isEmpty && !isMixed
        for text in texts {
            let name = String(text.value.dropFirst(text.value.hasPrefix(prefix) ? prefix.utf8.count : 0))
            if checkIssuer(name, text.position, alone: texts.count == 1), !found.contains(name) {
                found.append(name)
            } else {
                if found.contains(name), !isMixed {
                    loader.error(text.position, "the issuer \"\(name)\" is named twice")
                }
                complete = false
            }
        }
        refuseIndistinct(found, at: position)
        guard complete else { return nil }
        return optional.isEmpty ? .required(issuers: found) : .optional(issuers: found)
    }

    private func checkIssuer(_ name: String, _ position: SourcePosition, alone: Bool) -> Bool {
        if name == "none" {
            loader.error(
                position, alone ? "\"optional:none\" means nothing; write \"none\"" : "\"none\" stands alone")
            return false
        }
        if names.issuers.contains(name) || names.sessions.contains(name) { return true }
        loader.error(
            position, name.isEmpty ? "\"auth\" lacks the name of an issuer" : "there is no [issuer.\(name)]",
            didYouMean: Suggestion.nearest(
                to: name, among: names.issuers + names.sessions + (alone ? ["none"] : [])))
        return false
    }

    /// Two issuers of one route must differ in `iss` or in their algorithms: a token's issuer is never found by
    /// trying (J4). Of those that are asked there can be one, and it may share its `iss` with one that has keys: opaque
    /// tokens are its own.
    private func refuseIndistinct(_ found: [String], at position: SourcePosition) {
        let accepted = found.compactMap { name in issuers.first { $0.name == name } }
        for (index, issuer) in accepted.enumerated() {
            guard let twin = accepted[..<index].first(where: { $0.isConfusable(with: issuer) }) else {
                continue
            }
            let names = "the issuers \"\(twin.name)\" and \"\(issuer.name)\""
            loader.error(
                position,
                issuer.isAsked
                    ? "\(names) both have \"introspection\": nothing would tell which of them to ask"
                    : "\(names) share their \"issuer\" and an algorithm: nothing would tell their tokens apart"
            )
        }
    }

    /// Nobody could meet a rule about the token where there is none.
    func checkTokenNeeded(_ authentication: RouteAuthentication?, _ require: [ClaimRequirement]) {
        for key in ["require", "scopes"] {
            guard let entry = section.table[key] else { continue }
            switch authentication {
            case .open:
                loader.error(entry.position, "\"\(key)\" needs a token, and auth = \"none\" asks for none")
            case .optional:
                loader.warning(
                    entry.position,
                    "\"\(key)\" refuses requests without a token, which \"optional:\" would allow")
            case .required, nil: break
            }
        }
    }

    /// Scopes of RFC 6749, 3.3.
    func scopes() -> [String] {
        guard let texts = section.strings("scopes") else { return [] }
        var scopes: [String] = []
        for text in texts {
            if !Scopes.isValid(text.value) {
                loader.error(
                    text.position,
                    "\"\(text.value)\" is not a scope (RFC 6749, 3.3): list each as its own string")
            } else if !scopes.contains(text.value) {
                scopes.append(text.value)
            }
        }
        return scopes
    }

    /// `captures` nil: the path is wrong, and what it captures is not known.
    func requirements(captures: [String]?) -> [ClaimRequirement] {
        guard let entry = section.table["require"] else { return [] }
        switch entry.node.value {
        case .table(let table): return [requirement(table, at: entry.node.start, captures)]
        case .array(let nodes):
            if nodes.isEmpty { loader.error(entry.node.start, "\"require\" is empty; leave it out") }
            return nodes.compactMap { node in
                guard case .table(let table) = node.value else {
                    loader.error(node.start, "\"require\" must hold tables, not \(own: node.value.kind)")
                    return nil
                }
                return requirement(table, at: node.start, captures)
            }
        default:
            section.mismatch(entry, expected: "a table such as { sub = \"{user_id}\" }, or a list of them")
            return []
        }
    }

    private func requirement(_ table: TOMLTable, at position: SourcePosition, _ captures: [String]?)
        -> ClaimRequirement
    {
        // An empty table would hold for everybody.
        if table.entries.isEmpty {
            loader.error(position, "an empty \"require\" requires nothing; leave it out")
        }
        return ClaimRequirement(
            entries: flattened(table, prefix: "").compactMap { requiredClaim($0, captures) })
    }

    /// TOML reads `realm.role = "x"` as a table in a table; a claim path means the same.
    private func flattened(_ table: TOMLTable, prefix: String) -> [TOMLEntry] {
        table.entries.flatMap { entry -> [TOMLEntry] in
            var entry = entry
            entry.key = prefix + entry.key
            guard case .table(let inner) = entry.node.value, !inner.entries.isEmpty else { return [entry] }
            return flattened(inner, prefix: entry.key + ".")
        }
    }

    private func requiredClaim(_ entry: TOMLEntry, _ captures: [String]?) -> RequiredClaim? {
        guard loader.isClaimPath(Located(value: entry.key, position: entry.position)) else { return nil }
        let nodes: [TOMLNode]
        if case .array(let elements) = entry.node.value { nodes = elements } else { nodes = [entry.node] }
        if nodes.isEmpty {
            loader.error(entry.node.start, "\"\(entry.key)\" has no value that could hold: the list is empty")
        }
        let values = nodes.compactMap { expectation($0, entry, captures) }
        return RequiredClaim(claim: entry.key, anyOf: values)
    }

    private func expectation(_ node: TOMLNode, _ entry: TOMLEntry, _ captures: [String]?) -> ClaimExpectation?
    {
        guard case .string(let raw) = node.value else {
            // Claims that are numbers and booleans are compared as they stand.
            let meant: String? =
                switch node.value {
                case .integer(let number): "\(number)"
                case .boolean(let value): "\(value)"
                default: nil
                }
            loader.error(
                node.start,
                "the claim \"\(entry.key)\" is compared with strings, not \(own: node.value.kind)",
                didYouMean: meant)
            return nil
        }
        guard let text = loader.expand(raw, at: node.start) else { return nil }
        return loader.claimExpectation(Located(value: text, position: node.start), captures: captures)
    }
}
