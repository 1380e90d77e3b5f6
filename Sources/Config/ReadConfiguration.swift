import Bytes

/// The root of the file: reads each part, then checks what concerns several of them.
struct ConfigurationReader {
    let loader: Loader

    static let keys = [
        "workers", "listen", "upstream", "issuer", "identity", "route", "rate_limit", "limits", "log",
        "admin", "revocation", "cors", "takeover", "watch", "session", "shared", "tracing",
    ]

    func configuration(_ root: TOMLNode) -> Configuration? {
        guard case .table(let table) = root.value else { return nil }
        let section = Section(
            "the file", table, at: SourcePosition(line: 1, column: 1), keys: Self.keys, loader: loader)
        let names = KnownNames(section)
        var configuration = Configuration(
            workers: workers(section), listeners: listeners(section), upstreams: upstreams(section),
            issuers: issuers(section), sessions: sessions(section), identity: identity(section), routes: [],
            rateLimits: rateLimits(section), limits: limits(section),
            log: log(section), admin: admin(section), revocation: revocation(section))
        configuration.crossOrigins = crossOrigins(section)
        configuration.routes = routes(section, names, configuration.issuers)
        configuration.takeover = takeover(section)
        configuration.tracing = tracing(section)
        configuration.shared = shared(section)
        configuration.watch = section.boolean("watch", default: false)
        refuseSharedNames(configuration)
        refuseSharedAddresses(configuration)
        warnOfPlainOrigins(configuration)
        warnOfOpenNeighbours(configuration)
        warnOfOwnListeners(configuration)
        warnOfGuardedSignIn(configuration)
        warnOfNoEffect(section, configuration)
        applyEnvironment(to: &configuration)
        return configuration
    }
}

/// The names that routes may use, those of tables with mistakes included: one mistake, one diagnostic.
struct KnownNames {
    var upstreams: [String]
    var issuers: [String]
    /// Sessions authenticate like issuers.
    var sessions: [String]
    var rateLimits: [String]
    var crossOrigins: [String]

    init(_ section: Section) {
        func names(_ key: String) -> [String] {
            guard case .table(let table) = section.table[key]?.node.value else { return [] }
            return table.entries.map(\.key)
        }
        upstreams = names("upstream")
        issuers = names("issuer")
        sessions = names("session")
        rateLimits = names("rate_limit")
        crossOrigins = names("cors")
    }
}

/// A table with a name that the user chose, such as `[issuer.main]`.
struct NamedTable {
    var name: Located<String>
    var table: TOMLTable
    var position: SourcePosition
}

extension Section {
    /// The tables below a key, such as all `[issuer.NAME]`.
    func namedTables(_ key: String) -> [NamedTable] {
        guard let entry = table[key] else { return [] }
        guard case .table(let tables) = entry.node.value else {
            mismatch(entry, expected: "named tables such as [\(key).main]")
            return []
        }
        let strays = tables.entries.filter { entry in
            if case .table = entry.node.value { false } else { true }
        }
        guard let stray = strays.first else {
            return tables.entries.compactMap { namedTable($0, below: key) }
        }
        loader.error(
            stray.position,
            "[\(key)] holds named tables: \"\(stray.key)\" belongs into one, such as [\(key).main]")
        // A table that lacks its name holds tables without a header of their own, such as `secret = { … }`, which are no named
        // ones: one mistake, one line. A header's bracket stands in front of its name.
        return tables.entries.filter { $0.node.start < $0.position }.compactMap {
            namedTable($0, below: key)
        }
    }

    private func namedTable(_ entry: TOMLEntry, below key: String) -> NamedTable? {
        guard case .table(let inner) = entry.node.value else { return nil }
        guard (1...64).contains(entry.key.utf8.count), entry.key.utf8.allSatisfy(Self.isNameByte) else {
            loader.error(
                entry.position,
                "the name \"\(entry.key)\" of [\(key).…] must be 1 to 64 letters, digits, \"-\" and \"_\"")
            return nil
        }
        return NamedTable(
            name: Located(value: entry.key, position: entry.position), table: inner,
            position: entry.node.start)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        ASCIISet.alphanumeric.contains(byte) || byte == 0x2D || byte == 0x5F
    }

    /// The one table below a key, such as `[limits]`; nil where the file has none, or no table there, which is reported.
    /// `title` is what messages call it, and `meaning` knows what is meant by keys that do not look like one of these.
    func subsection(
        _ key: String, keys: [String], title: String? = nil, meaning: (String) -> String? = { _ in nil }
    ) -> Section? {
        guard let entry = table[key] else { return nil }
        guard case .table(let inner) = entry.node.value else {
            mismatch(entry, expected: "a table")
            return nil
        }
        return Section(
            title ?? "[\(key)]", inner, at: entry.node.start, keys: keys, loader: loader, meaning: meaning)
    }
}

extension ConfigurationReader {
    static let workerRange = 1...1024

    private func workers(_ section: Section) -> WorkerCount {
        guard let entry = section.table["workers"] else { return .automatic }
        if case .integer = entry.node.value {
            return .count(section.integer("workers", default: 1, in: Self.workerRange))
        }
        guard case .string = entry.node.value else {
            section.mismatch(entry, expected: "\"auto\" or a whole number")
            return .automatic
        }
        guard let text = section.string("workers") else { return .automatic }
        if let count = Self.workers(text.value) { return count }
        loader.error(
            text.position,
            "\"workers\" must be \"auto\" or a whole number from 1 to 1024, not \"\(text.value)\"",
            didYouMean: Suggestion.nearest(to: text.value, among: ["auto"]))
        return .automatic
    }

    /// Digits in a string are what `"${WORKERS:-2}"` becomes.
    private static func workers(_ text: String) -> WorkerCount? {
        if text == "auto" { return .automatic }
        guard text.utf8.allSatisfy(ASCII.isDigit), let count = Int(text),
            workerRange.contains(count)
        else { return nil }
        return .count(count)
    }

    /// `USHER_WORKERS` and `USHER_LOG_LEVEL` win over the file.
    private func applyEnvironment(to configuration: inout Configuration) {
        if let text = loader.environment["USHER_WORKERS"], !text.isEmpty {
            if let count = Self.workers(text) {
                configuration.workers = count
            } else {
                loader.error(
                    .none, "USHER_WORKERS must be \"auto\" or a whole number from 1 to 1024, not \"\(text)\"")
            }
        }
        if let text = loader.environment["USHER_LOG_LEVEL"], !text.isEmpty {
            if let level = LogLevel(rawValue: text) {
                configuration.log.level = level
            } else {
                let words = LogLevel.allCases.map(\.rawValue)
                loader.error(
                    .none, "USHER_LOG_LEVEL must be one of \(words.joined(separator: ", ")), not \"\(text)\"",
                    didYouMean: Suggestion.nearest(to: text, among: words))
            }
        }
    }
}
