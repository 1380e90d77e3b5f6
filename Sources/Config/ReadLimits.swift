extension ConfigurationReader {
    static let limitKeys = [
        "header_bytes", "header_count", "target_bytes", "token_bytes", "connections",
        "connections_per_address", "buffer_bytes", "handshake_timeout", "header_timeout",
        "idle_timeout", "body_timeout", "drain_timeout", "failed_authentications", "tokens_cached",
    ]

    /// How long somebody may be waited for: as long as the file's own examples of durations go, so that "off" is not missed.
    static let patience = Duration.milliseconds(1)...Duration.days(7)

    /// The `[limits]` table, or its defaults.
    func limits(_ section: Section) -> LimitsConfiguration {
        var limits = LimitsConfiguration()
        guard let section = section.subsection("limits", keys: Self.limitKeys) else { return limits }
        // Less than 1 KiB refuses ordinary browsers; more than 240 KiB no buffer has room for.
        limits.headerBytes = section.size("header_bytes", default: limits.headerBytes, in: 1024...(240 << 10))
        limits.headerCount = section.integer("header_count", default: limits.headerCount, in: 1...1000)
        limits.targetBytes = part(
            "target_bytes", section, limits.targetBytes, least: 64, of: min(limits.headerBytes, 65_535))
        // A larger token is refused whatever the file says (J12).
        limits.tokenBytes = part(
            "token_bytes", section, limits.tokenBytes, least: 256, of: min(limits.headerBytes, 16 * 1024))
        limits.connections = number("connections", orWord: "auto", section)
        limits.bufferBytes = bufferBytes(section)
        limits.connectionsPerAddress = number("connections_per_address", orWord: "off", section)
        let times = Self.patience
        limits.handshakeTimeout = section.duration(
            "handshake_timeout", default: limits.handshakeTimeout, in: times)
        limits.headerTimeout = section.duration("header_timeout", default: limits.headerTimeout, in: times)
        limits.idleTimeout = section.duration("idle_timeout", default: limits.idleTimeout, in: times)
        limits.bodyTimeout = section.duration("body_timeout", default: limits.bodyTimeout, in: times)
        limits.drainTimeout = section.duration(
            "drain_timeout", default: limits.drainTimeout, in: .zero...Self.patience.upperBound)
        limits.failedAuthentications = failedAuthentications(section)
        limits.tokensCached = section.integer(
            "tokens_cached", default: limits.tokensCached, in: 1...1_000_000)
        return limits
    }

    /// What stands in a head is no larger than the head; a default follows a smaller head.
    private func part(_ key: String, _ section: Section, _ fallback: Int, least: Int, of most: Int) -> Int {
        section.size(key, default: min(fallback, most), in: least...most)
    }

    /// A size, or nil for "auto".
    private func bufferBytes(_ section: Section) -> Int? {
        if let entry = section.table["buffer_bytes"], case .string("auto") = entry.node.value { return nil }
        return section.setting("buffer_bytes", .size, in: (1 << 20)...(1 << 40)).value(default: nil)
    }

    /// A whole number, or nil for the one word that may stand in its place, and where nothing is written.
    private func number(_ key: String, orWord word: String, _ section: Section) -> Int? {
        guard let entry = section.table[key] else { return nil }
        if case .integer = entry.node.value { return section.integer(key, default: 1, in: 1...10_000_000) }
        guard case .string = entry.node.value else {
            section.mismatch(entry, expected: "\"\(word)\" or a whole number")
            return nil
        }
        guard let text = section.string(key), text.value != word else { return nil }
        loader.error(
            text.position, "\"\(key)\" must be \"\(word)\" or a whole number, not \"\(text.value)\"",
            didYouMean: Suggestion.nearest(to: text.value, among: [word]))
        return nil
    }

    /// The `[log]` table, or its defaults.
    func log(_ section: Section) -> LogConfiguration {
        var log = LogConfiguration()
        guard let section = section.subsection("log", keys: Self.logKeys)
        else {
            return log
        }
        log.level = section.choice("level", default: log.level)
        if section.table["format"] != nil { log.format = section.choice("format", default: LogFormat.json) }
        if let access = section.string("access") { log.access = accessLog(access) }
        log.accessForm = section.choice("access_format", default: log.accessForm)
        if let sample = section.subsection("sample", keys: Self.statusClasses) {
            for (index, name) in Self.statusClasses.enumerated() {
                log.sample[index] = share(name, sample)
            }
        }
        return log
    }

    private static let logKeys = ["level", "format", "access", "access_format", "sample"]
    private static let statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx"]

    /// A number from 0 to 1; 1 where nothing is written.
    func share(_ key: String, _ section: Section) -> Double {
        guard let entry = section.table[key] else { return 1 }
        let number: Double
        switch entry.node.value {
        case .integer(let value): number = Double(value)
        case .float(let value): number = value
        default:
            section.mismatch(entry, expected: "a number from 0 to 1")
            return 1
        }
        guard number >= 0, number <= 1 else {
            loader.error(entry.node.start, "\"\(key)\" must be between 0 and 1: the share that is written")
            return 1
        }
        return number
    }

    private func accessLog(_ text: Located<String>) -> AccessLogDestination {
        switch text.value {
        case "off": return .off
        case "stdout": return .standardOutput
        case "":
            loader.error(text.position, "\"access\" must be \"off\", \"stdout\" or a path")
            return .off
        default:
            // A typing mistake must not become a file of that name.
            let words = ["off", "stdout"]
            if !text.value.contains("/"), !text.value.contains("."),
                let word = Suggestion.nearest(to: text.value, among: words)
            {
                loader.error(
                    text.position, "\"access\" must be \"off\", \"stdout\" or a path, not \"\(text.value)\"",
                    didYouMean: word)
            }
            return .file(path: loader.resolve(path: text.value))
        }
    }
}
