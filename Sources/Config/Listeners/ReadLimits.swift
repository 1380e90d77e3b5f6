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
}
