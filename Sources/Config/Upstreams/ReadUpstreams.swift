extension ConfigurationReader {
    static let upstreamKeys = [
        "servers", "protocol", "balance", "authorization", "preserve_host", "connect_timeout",
        "response_timeout", "idle_timeout", "max_connections", "max_pending", "retries", "tls",
        "health", "eject", "slow_start", "resolve_interval",
    ]

    /// All `[upstream.NAME]`.
    func upstreams(_ section: Section) -> [UpstreamConfiguration] {
        let tables = section.namedTables("upstream")
        if tables.count > Self.largestUpstreamCount {
            loader.error(
                tables[Self.largestUpstreamCount].position, "at most \(Self.largestUpstreamCount) upstreams")
        }
        return tables.map(upstream)
    }

    /// Workers keep the pools of earlier settings while requests are on them, beside those of these upstreams.
    private static var largestUpstreamCount: Int { 1024 }

    private func upstream(_ named: NamedTable) -> UpstreamConfiguration {
        let section = Section(
            "[upstream.\(named.name.value)]", named.table, at: named.position, keys: Self.upstreamKeys,
            loader: loader)
        let servers = servers(section)
        if servers.count == 1, !servers[0].address.isName {
            section.warnOfNoEffect(["eject"], "the only server is never ejected")
        }
        warnOfPlainPort(section, servers)
        return UpstreamConfiguration(
            name: named.name.value, servers: servers,
            balance: section.choice("balance", default: .leastRequests),
            authorization: authorization(section),
            preserveHost: section.boolean("preserve_host", default: true),
            connectTimeout: section.duration(
                "connect_timeout", default: .seconds(2), in: Self.patience),
            responseTimeout: section.duration(
                "response_timeout", default: .seconds(60), in: Self.patience),
            idleTimeout: section.duration(
                "idle_timeout", default: .seconds(60), in: Self.patience),
            maxConnections: section.integer("max_connections", default: 1024, in: 1...65_535),
            maxPending: section.integer("max_pending", default: 1024, in: 0...1_000_000),
            retries: section.integer("retries", default: 1, in: 0...10), health: health(section),
            eject: ejection(section),
            slowStart: section.duration(
                "slow_start", default: .seconds(10), in: .zero ... .seconds(3600)),
            resolveInterval: section.duration(
                "resolve_interval", default: .seconds(10), in: .seconds(1) ... .days(1)),
            tls: upstreamTLS(section, servers),
            backendProtocol: section.choice(
                "protocol", default: .http11, meaning: ApplicationProtocolName.meant(by:)),
            position: named.position)
    }
}

// MARK: - Servers

extension ConfigurationReader {
    /// What listens at 443 expects TLS nearly always, and would get users' names in clear.
    private func warnOfPlainPort(_ section: Section, _ servers: [ServerConfiguration]) {
        guard section.table["tls"] == nil, let server = servers.first(where: { $0.address.port == 443 })
        else { return }
        loader.warning(
            server.position,
            "port 443 is that of TLS, and \(section.title) has no \"tls\": requests go there in clear; write tls = true, or "
                + "tls = false where that is meant")
    }

    /// Servers that are the proxy itself: each request would come back as another one, until its head is too large.
    func warnOfOwnListeners(_ configuration: Configuration) {
        for upstream in configuration.upstreams {
            for server in upstream.servers {
                guard
                    let listener = configuration.listeners.first(where: {
                        server.address.leads(to: $0.address)
                    })
                else { continue }
                loader.warning(
                    server.position,
                    "the server \(server.address) of [upstream.\(upstream.name)] is [listen.\(listener.name)] of usher itself: "
                        + "requests would come back to it again and again")
            }
        }
    }

    private func servers(_ section: Section) -> [ServerConfiguration] {
        guard let entry = section.table["servers"] else {
            section.missing("servers", "a list such as [\"127.0.0.1:8000\"]")
            return []
        }
        guard case .array(let nodes) = entry.node.value else {
            section.mismatch(entry, expected: "a list such as [\"127.0.0.1:8000\"]")
            return []
        }
        if nodes.isEmpty {
            loader.error(entry.node.start, "\"servers\" of \(section.title) is empty")
        }
        var servers: [ServerConfiguration] = []
        for server in nodes.compactMap({ server($0, section) }) {
            if servers.contains(where: { $0.address == server.address }) {
                loader.error(server.position, "\(section.title) names the server \(server.address) twice")
            } else {
                servers.append(server)
            }
        }
        return servers
    }

    private func server(_ node: TOMLNode, _ section: Section) -> ServerConfiguration? {
        switch node.value {
        case .string(let text):
            loader.warnOfBareVariable(text, at: node.start)
            guard let text = loader.expand(text, at: node.start) else { return nil }
            return server(Located(value: text, position: node.start), weight: 1)
        case .table(let table):
            let inner = Section(
                "a server of \(section.title)", table, at: node.start,
                keys: ["address", "weight"],
                loader: loader)
            let weight = inner.integer("weight", default: 1, in: 1...1000)
            if table["address"] == nil { inner.missing("address", "host:port, [v6]:port or unix:/path") }
            return inner.string("address").flatMap { server($0, weight: weight) }
        default:
            loader.error(
                node.start,
                "\"servers\" must hold strings or { address = …, weight = … }, not \(own: node.value.kind)")
            return nil
        }
    }

    private func server(_ text: Located<String>, weight: Int) -> ServerConfiguration? {
        loader.address(text, for: .server).map {
            ServerConfiguration(address: $0, weight: weight, position: text.position)
        }
    }
}

// MARK: - Authorization

extension ConfigurationReader {
    private static let authorizationForms =
        "\"remove\", \"forward\", { bearer = { env = \"NAME\" } } or { mint = { secret = … } }"

    private func authorization(_ section: Section) -> AuthorizationConfiguration {
        guard let entry = section.table["authorization"] else { return .remove }
        switch entry.node.value {
        case .string: return plainAuthorization(section)
        case .table(let table): return tableAuthorization(table, entry) ?? .remove
        default:
            section.mismatch(entry, expected: Self.authorizationForms)
            return .remove
        }
    }

    private func plainAuthorization(_ section: Section) -> AuthorizationConfiguration {
        guard let text = section.string("authorization") else { return .remove }
        switch text.value {
        case "remove": return .remove
        case "forward": return .forward
        default:
            loader.error(
                text.position,
                "\"authorization\" must be \(own: Self.authorizationForms), not \"\(text.value)\"",
                didYouMean: Suggestion.nearest(to: text.value, among: ["remove", "forward"]))
            return .remove
        }
    }

    private func tableAuthorization(_ table: TOMLTable, _ entry: TOMLEntry) -> AuthorizationConfiguration? {
        let section = Section(
            "\"authorization\"", table, at: entry.node.start, keys: ["bearer", "mint"],
            loader: loader)
        switch (table["bearer"], table["mint"]) {
        case (let bearer?, nil): return loader.secret(bearer, for: .bearerToken).map { .bearer($0) }
        case (nil, let mint?): return self.mint(mint).map { .mint($0) }
        case (_?, let mint?):
            loader.error(
                mint.position, "\"authorization\" has both \"bearer\" and \"mint\"; one of them is enough")
        case (nil, nil) where table.entries.isEmpty:
            loader.error(section.position, "\"authorization\" must be \(own: Self.authorizationForms)")
        case (nil, nil): break  // the unknown key has been reported
        }
        return nil
    }

    /// The one algorithm that tokens are minted with.
    private enum MintAlgorithm: String, CaseIterable {
        case hs256 = "HS256"
    }

    private func mint(_ entry: TOMLEntry) -> MintConfiguration? {
        guard case .table(let table) = entry.node.value else {
            loader.error(entry.node.start, "\"mint\" must be a table, not \(own: entry.node.value.kind)")
            return nil
        }
        let section = Section(
            "\"mint\"", table, at: entry.node.start,
            keys: ["algorithm", "secret", "lifetime", "claims"], loader: loader)
        _ = section.choice("algorithm", default: MintAlgorithm.hs256)
        let lifetime = section.duration("lifetime", default: .seconds(60), in: .seconds(2) ... .days(1))
        let claims = mintedClaims(section)
        guard let secret = table["secret"] else {
            section.missing("secret", "{ env = \"NAME\" } or { file = \"path\" }")
            return nil
        }
        return loader.secret(secret, for: .hmacKey).map {
            MintConfiguration(secret: $0, lifetime: lifetime, claims: claims)
        }
    }

    private func mintedClaims(_ section: Section) -> [MintedClaim] {
        guard let entry = section.table["claims"] else { return [] }
        guard case .table(let table) = entry.node.value else {
            section.mismatch(entry, expected: "a table such as { type = \"access\" }")
            return []
        }
        return table.entries.compactMap(mintedClaim)
    }

    private func mintedClaim(_ entry: TOMLEntry) -> MintedClaim? {
        guard !["sub", "iat", "nbf", "exp"].contains(entry.key) else {
            loader.error(entry.position, "\"\(entry.key)\" of a minted token is usher's own to write")
            return nil
        }
        guard !entry.key.isEmpty, case .string(let text) = entry.node.value else {
            loader.error(entry.node.start, "the minted claim \"\(entry.key)\" must be a string")
            return nil
        }
        return loader.expand(text, at: entry.node.start).map { MintedClaim(name: entry.key, value: $0) }
    }
}

extension Duration {
    /// So many times 24 hours.
    static func days(_ count: Int) -> Duration { .seconds(count * 86_400) }
}
