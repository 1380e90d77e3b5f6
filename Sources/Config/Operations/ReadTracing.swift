extension ConfigurationReader {
    static let tracingKeys = [
        "url", "sample", "continue_from", "sampled_by", "include", "service", "resource", "headers", "ca",
        "timeout", "interval",
    ]

    /// The `[tracing]` table; nil without one.
    func tracing(_ section: Section) -> TracingConfiguration? {
        guard let section = section.subsection("tracing", keys: Self.tracingKeys) else { return nil }
        if section.table["url"] == nil {
            section.missing("url", "where the collector is, such as \"http://127.0.0.1:4318/v1/traces\"")
        }
        let url = section.string("url").flatMap { collectorURL($0) }
        // Without a URL, what else is wrong is told all the same.
        var tracing = TracingConfiguration(url: url ?? Self.anyURL)
        tracing.sample = section.share("sample")
        tracing.continueFrom = section.choice("continue_from", default: tracing.continueFrom)
        tracing.sampledBy = section.choice("sampled_by", default: tracing.sampledBy)
        tracing.include = details(section)
        if let name = section.string("service") { tracing.service = serviceName(name) }
        tracing.resource = attributes(section)
        tracing.headers = collectorHeaders(section)
        tracing.authorities = authorities(section)
        section.warnOfPlainAuthorities(url)
        if tracing.continueFrom == .nobody {
            section.warnOfNoEffect(
                ["sampled_by"], "continue_from = \"nobody\" goes on with nobody's trace")
        }
        tracing.timeout = section.duration(
            "timeout", default: tracing.timeout, in: .milliseconds(100) ... .seconds(60))
        tracing.interval = section.duration(
            "interval", default: tracing.interval, in: .milliseconds(100) ... .seconds(60))
        return url == nil ? nil : tracing
    }

    private static var anyURL: RemoteURL {
        guard let url = RemoteURL("http://localhost/") else { preconditionFailure("that is a URL") }
        return url
    }

    /// A URL without a path is the collector's base, as in OTEL_EXPORTER_OTLP_ENDPOINT.
    private func collectorURL(_ text: Located<String>) -> RemoteURL? {
        guard let url = RemoteURL(text.value) else {
            loader.error(
                text.position,
                "\"\(text.value)\" is not a URL such as \"http://127.0.0.1:4318/v1/traces\" (http or https, "
                    + "without user and fragment)")
            return nil
        }
        return url.target == "/" ? url.with(target: "/v1/traces") : url
    }

    private func serviceName(_ name: Located<String>) -> String {
        if name.value.isEmpty || name.value.utf8.count > 255 {
            loader.error(name.position, "\"service\" must have 1 to 255 bytes")
        }
        return name.value
    }

    private func details(_ section: Section) -> [TracingConfiguration.Detail] {
        let words = TracingConfiguration.Detail.allCases.map(\.rawValue)
        return (section.strings("include") ?? []).compactMap { text in
            if let detail = TracingConfiguration.Detail(rawValue: text.value) { return detail }
            let list = words.map { "\"\($0)\"" }.joined(separator: ", ")
            loader.error(
                text.position, "\"include\" may hold \(own: list), not \"\(text.value)\"",
                didYouMean: Suggestion.nearest(to: text.value, among: words))
            return nil
        }
    }

    /// The most attributes of the resource, and fields for the collector.
    private static let largestCount = 32

    private func attributes(_ section: Section) -> [TracingConfiguration.Attribute] {
        entries("resource", section, example: "{ \"deployment.environment.name\" = \"production\" }")
            .compactMap {
                entry in
                guard case .string(let raw) = entry.node.value else {
                    section.mismatch(entry, expected: "a string")
                    return nil
                }
                guard !["service.name", "service.version", "service.instance.id"].contains(entry.key),
                    (1...255).contains(entry.key.utf8.count)
                else {
                    loader.error(
                        entry.position,
                        "\"\(entry.key)\" cannot stand in \"resource\": usher says it itself, or it is no name"
                    )
                    return nil
                }
                return loader.expand(raw, at: entry.node.start).map {
                    TracingConfiguration.Attribute(name: entry.key, text: $0)
                }
            }
    }

    /// Names that are usher's own in a request to the collector, in lower case.
    private static let ownHeaders = [
        "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "te",
        "upgrade", "expect", "user-agent",
    ]

    private func collectorHeaders(_ section: Section) -> [TracingConfiguration.Header] {
        entries("headers", section, example: "{ \"Authorization\" = { env = \"OTLP_AUTHORIZATION\" } }")
            .compactMap {
                entry in
                guard HeaderNames.isToken(entry.key), !Self.ownHeaders.contains(entry.key.lowercased()) else {
                    loader.error(
                        entry.position, "\"\(entry.key)\" is no header that can be sent to the collector")
                    return nil
                }
                guard let value = loader.secret(entry, for: .headerValue) else { return nil }
                return TracingConfiguration.Header(name: entry.key, value: value)
            }
    }

    private func entries(_ key: String, _ section: Section, example: String) -> [TOMLEntry] {
        guard let entry = section.table[key] else { return [] }
        guard case .table(let table) = entry.node.value else {
            section.mismatch(entry, expected: "a table such as \(example)")
            return []
        }
        if table.entries.count > Self.largestCount {
            loader.error(entry.position, "\"\(key)\" has more than \(Self.largestCount) entries")
        }
        return table.entries
    }
}
