extension ConfigurationReader {
    /// More would be no limit, and a microsecond is what the buckets count in.
    private static let requestRange = 1...1_000_000

    /// What else /metrics calls by a name among the limits: two series of one name are one that no scraper takes.
    private static let reservedNames = [
        "failed-authentications": "\"failed_authentications\" of [limits]",
        "other": "all limits beyond the first 62",
    ]

    /// All `[rate_limit.NAME]`.
    func rateLimits(_ section: Section) -> [RateLimitConfiguration] {
        section.namedTables("rate_limit").compactMap { named in
            if let meaning = Self.reservedNames[named.name.value] {
                loader.error(
                    named.name.position,
                    "the name \"\(named.name.value)\" is taken: in the metrics it stands for \(own: meaning); "
                        + "choose another one")
            }
            let section = Section(
                "[rate_limit.\(named.name.value)]", named.table, at: named.position,
                keys: ["key", "requests", "per", "burst", "shared"], loader: loader)
            if section.table["key"] == nil { section.missing("key", "\"user\" or \"address\"") }
            let key = section.choice("key", default: RateLimitKey.address)
            return RateLimitConfiguration(
                name: named.name.value, key: key, rate: rate(section),
                isShared: section.boolean("shared", default: true))
        }
    }

    /// `failed_authentications` of `[limits]`: "off", or a table like a rate limit without a key.
    func failedAuthentications(_ section: Section) -> RateConfiguration? {
        guard let entry = section.table["failed_authentications"] else { return nil }
        if entry.node.value == .string("off") { return nil }
        guard case .table(let table) = entry.node.value else {
            section.mismatch(entry, expected: "\"off\" or a table such as { requests = 100, per = \"1m\" }")
            return nil
        }
        return rate(
            Section(
                "\"failed_authentications\"", table, at: entry.node.start,
                keys: ["requests", "per", "burst"], loader: loader))
    }

    private func rate(_ section: Section) -> RateConfiguration {
        if section.table["requests"] == nil { section.missing("requests", "how many in the time of \"per\"") }
        if section.table["per"] == nil { section.missing("per", "a duration such as \"10s\"") }
        let requests = section.integer("requests", default: 1, in: Self.requestRange)
        let per = section.duration("per", default: .seconds(1), in: .seconds(1) ... .seconds(86_400))
        if per.components.attoseconds != 0, let entry = section.table["per"] {
            // The client is told whole seconds.
            loader.error(entry.node.start, "\"per\" must be whole seconds")
        }
        let burst = section.integer("burst", default: requests, in: Self.requestRange)
        return RateConfiguration(requests: requests, per: per, burst: burst)
    }
}
