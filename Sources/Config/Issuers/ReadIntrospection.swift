extension ConfigurationReader {
    static let introspectionKeys = ["url", "client_id", "client_secret", "cache_for", "ca"]

    /// Keys that are about signatures, which an opaque token has none of.
    private static let signatureKeys = ["algorithms", "types", "required_type"]

    /// `introspection = { url = …, client_id = …, client_secret = … }`
    func introspection(_ entry: TOMLEntry, _ issuer: Section) -> KeySource? {
        guard case .table(let table) = entry.node.value else {
            loader.error(
                entry.node.start,
                "\"introspection\" must be { url = …, client_id = …, client_secret = … }, not "
                    + "\(own: entry.node.value.kind)")
            return nil
        }
        for key in Self.signatureKeys {
            guard let other = issuer.table[key] else { continue }
            loader.error(
                other.position, "\"\(key)\" is about signed tokens, and \(issuer.title) has \"introspection\""
            )
        }
        let section = Section(
            "\"introspection\"", table, at: entry.node.start, keys: Self.introspectionKeys,
            loader: loader)
        for key in ["url", "client_id", "client_secret"] where table[key] == nil {
            section.missing(key, "the issuer tells nobody else about tokens (RFC 7662, 2.1)")
        }
        let url = section.string("url").flatMap(remoteURL)
        let name = section.string("client_id")
        if let name, name.value.isEmpty { loader.error(name.position, "\"client_id\" is empty") }
        let secret = table["client_secret"].flatMap { loader.secret($0, for: .clientSecret) }
        let cacheFor = section.duration(
            "cache_for", default: .seconds(30), in: .seconds(1) ... .seconds(3600))
        let authorities = authorities(section)
        section.warnOfPlainAuthorities(url)
        guard let url, let name, let secret else { return nil }
        return .introspection(
            IntrospectionConfiguration(
                url: url, clientID: name.value, clientSecret: secret, cacheFor: cacheFor,
                authorities: authorities))
    }
}

extension IssuerConfiguration {
    /// The name that the endpoint has in questions and answers, and in the log.
    var introspectionName: String { "issuer.\(name)" }

    /// The server that is asked about its tokens; nil where it has keys.
    var remoteSource: RemoteSource? {
        guard case .introspection(let introspection) = keySource else { return nil }
        return RemoteSource(
            name: introspectionName,
            kind: .introspection(clientID: introspection.clientID, clientSecret: introspection.clientSecret),
            url: introspection.url, authorities: introspection.authorities)
    }
}
