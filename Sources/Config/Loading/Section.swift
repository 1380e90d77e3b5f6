/// One table of the file, with the keys it may hold. Making one reports the keys that are unknown; the getters report
/// values of a wrong kind and go on with the default, so that one run finds all.
struct Section {
    /// For messages: `[listen.public]`.
    let title: String
    let table: TOMLTable
    /// Where the table begins.
    let position: SourcePosition
    let loader: Loader
    /// The keys that it may hold.
    private let keys: [String]

    /// `meaning` knows what is meant by keys that do not look like one of these.
    init(
        _ title: String, _ table: TOMLTable, at position: SourcePosition, keys: [String], loader: Loader,
        meaning: (String) -> String? = { _ in nil }
    ) {
        self.title = title
        self.table = table
        self.position = position
        self.loader = loader
        self.keys = keys
        for entry in table.entries where !keys.contains(entry.key) {
            loader.error(
                entry.position, "unknown key \"\(entry.key)\" in \(title)",
                didYouMean: meaning(entry.key) ?? suggestion(for: entry.key))
        }
    }

    private func suggestion(for key: String) -> String? { Suggestion.nearest(to: key, among: keys) }

    /// Says that a key is needed and not there, unless it is there under a misspelt name: one mistake, one line.
    func missing(_ key: String, _ hint: String) {
        let isMisspelt = table.entries.contains {
            !keys.contains($0.key) && suggestion(for: $0.key) == key
        }
        if isMisspelt { return }
        loader.error(position, "\(title) needs \"\(key)\": \(hint)")
    }

    /// Says that a value is of the wrong kind.
    func mismatch(_ entry: TOMLEntry, expected: String) {
        loader.error(
            entry.node.start, "\"\(entry.key)\" must be \(own: expected), not \(own: entry.node.value.kind)")
    }
}

// MARK: - Values of one kind

extension Section {
    /// A string with its variables expanded.
    func string(_ key: String) -> Located<String>? {
        guard let entry = table[key] else { return nil }
        guard case .string(let text) = entry.node.value else {
            mismatch(entry, expected: "a string")
            return nil
        }
        // That name is looked up as it stands, and another text is refused there.
        if key != "env" { loader.warnOfBareVariable(text, at: entry.node.start) }
        return expanded(text, at: entry.node.start)
    }

    /// Strings with their variables expanded. `single`: one string without brackets will do.
    func strings(_ key: String, single: Bool = false) -> [Located<String>]? {
        guard let entry = table[key] else { return nil }
        if single, case .string(let text) = entry.node.value {
            loader.warnOfBareVariable(text, at: entry.node.start)
            return expanded(text, at: entry.node.start).map { [$0] }
        }
        guard case .array(let nodes) = entry.node.value else {
            mismatch(entry, expected: single ? "a string or a list of strings" : "a list of strings")
            return nil
        }
        return nodes.compactMap { element($0, of: entry) }
    }

    private func element(_ node: TOMLNode, of entry: TOMLEntry) -> Located<String>? {
        guard case .string(let text) = node.value else {
            loader.error(node.start, "\"\(entry.key)\" must hold strings, not \(own: node.value.kind)")
            return nil
        }
        loader.warnOfBareVariable(text, at: node.start)
        return expanded(text, at: node.start)
    }

    private func expanded(_ text: String, at position: SourcePosition) -> Located<String>? {
        loader.expand(text, at: position).map { Located(value: $0, position: position) }
    }

    func boolean(_ key: String, default fallback: Bool) -> Bool {
        guard let entry = table[key] else { return fallback }
        guard case .boolean(let value) = entry.node.value else {
            mismatch(entry, expected: "true or false")
            return fallback
        }
        return value
    }

    func integer(_ key: String, default fallback: Int, in range: ClosedRange<Int>) -> Int {
        guard let entry = table[key] else { return fallback }
        guard case .integer(let value) = entry.node.value else {
            mismatch(entry, expected: "a whole number")
            return fallback
        }
        guard let number = Int(exactly: value), range.contains(number) else {
            loader.error(
                entry.node.start,
                "\"\(key)\" must be between \(range.lowerBound) and \(range.upperBound), not \(value)")
            return fallback
        }
        return number
    }

    /// A number from 0 to 1; 1 where nothing is written.
    func share(_ key: String) -> Double {
        guard let entry = table[key] else { return 1 }
        let number: Double
        switch entry.node.value {
        case .integer(let value): number = Double(value)
        case .float(let value): number = value
        default:
            mismatch(entry, expected: "a number from 0 to 1")
            return 1
        }
        guard number >= 0, number <= 1 else {
            loader.error(entry.node.start, "\"\(key)\" must be between 0 and 1: the share that is written")
            return 1
        }
        return number
    }

    /// One of a few words. `meaning` knows what is meant by words that do not look like one of them.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String, default fallback: Choice, meaning: (String) -> String? = { _ in nil }
    ) -> Choice where Choice.RawValue == String {
        guard let text = string(key) else { return fallback }
        if let choice = Choice(rawValue: text.value) { return choice }
        let words = Choice.allCases.map(\.rawValue)
        let list = words.map { "\"\($0)\"" }.joined(separator: ", ")
        loader.error(
            text.position, "\"\(key)\" must be one of \(own: list), not \"\(text.value)\"",
            didYouMean: meaning(text.value) ?? Suggestion.nearest(to: text.value, among: words))
        return fallback
    }
}
