/// What of a file's values must not be shown: neither in its source lines nor quoted by messages.
///
/// Made from the whole tree before any of it is read, so that it depends on no reader's knowing that it reads a secret: shown
/// is what is known to be harmless, in a place that is known.
struct Concealment {
    /// Where values stand that are hidden, from the first character to the place after the last.
    private(set) var regions: [(start: SourcePosition, end: SourcePosition)] = []
    /// Lines with a secret, or the name of one: a comment behind it may hold what it was before.
    private(set) var linesOfSecrets: Set<Int> = []
    /// The column after the last value of each line.
    private(set) var lastColumns: [Int: Int] = [:]
    /// The texts of hidden values, and what others became, by where they and the tables and lists around them begin.
    private var texts: [SourcePosition: [HiddenText]] = [:]
    /// The hidden values.
    private var hiddenStarts: Set<SourcePosition> = []
    /// What environment variables put into the file, the longest first.
    private var variables: [(value: String, text: HiddenText)] = []
    /// The names of the file's keys, which may be quoted.
    private var keys = KeyKinds.all
    /// What tells names and paths from secrets.
    private var surroundings = Surroundings()
    /// How many unknown keys were compared with known ones.
    private var comparisons = 0

    /// Nothing is hidden.
    init() {}

    init(of root: TOMLNode, _ surroundings: Surroundings = Surroundings()) {
        guard case .table(let table) = root.value else { return }
        self.surroundings = surroundings
        for entry in table.entries {
            let place = Place(isRoot: true, root: entry.key)
            visit(entry, place)
        }
        // They may know the loader, which has this.
        self.surroundings = Surroundings()
    }

    /// What may be quoted of `text` in a message about the value that begins at `position`.
    func quotable(_ text: String, at position: SourcePosition) -> String {
        if keys.contains(text) { return text }
        let near = texts[position] ?? []
        for hidden in near {
            if let replacement = hidden.replacementOfPiece(text) { return replacement }
        }
        var text = text
        for variable in variables where !keys.contains(variable.value) {
            text = variable.text.removed(from: text)
        }
        for hidden in near { text = hidden.piecesRemoved(from: hidden.removed(from: text)) }
        return text
    }

    /// Whether nothing of the value that begins there is shown.
    func hides(valueAt position: SourcePosition) -> Bool { hiddenStarts.contains(position) }

    /// Notes what a text became by its variables, whose values are never quoted: their names say as much.
    mutating func note(
        _ written: String, became text: String, by values: [String: String], at position: SourcePosition
    ) {
        let shown = hides(valueAt: position) ? PlainTexts.references(of: written) : written
        // In the place of what the file says there, for it has that in it, but for the names of variables.
        texts[position, default: []].removeAll { $0.isText(written) }
        texts[position, default: []].append(HiddenText(text, shownAs: shown))
        for (name, value) in values where !variables.contains(where: { $0.value == value }) {
            variables.append((value, HiddenText(value, shownAs: "${\(name)}")))
        }
        variables.sort { $0.value.utf8.count > $1.value.utf8.count }
    }

    /// Notes a secret that was read for the value that begins there.
    mutating func note(secret: [UInt8], at position: SourcePosition) {
        hideText(String(decoding: secret, as: UTF8.self), shownAs: "…", at: [position])
    }
}

// MARK: - The tree

extension Concealment {
    /// Where an entry stands.
    private struct Place {
        /// Whether it is one of the root.
        var isRoot = false
        /// The key of the root that it is below.
        var root: String
        /// The key of the table that it is in, unless the user chose that.
        var table = ""
        /// Whether its keys are names that the user chose, of tables.
        var isNamed = false
        /// Whether its keys are names that the user chose, and its values plain.
        var isMap = false
        /// Where the tables and lists begin that are secret as a whole; empty elsewhere.
        var secrets: [SourcePosition] = []

        func inside() -> Place {
            var place = self
            (place.isRoot, place.isNamed) = (false, false)
            return place
        }
    }

    private mutating func visit(_ entry: TOMLEntry, _ place: Place) {
        if !place.secrets.isEmpty { return visitSecret(entry, place) }
        let isStrict = KeyKinds.strict[place.table] != nil
        if !isStrict || KeyKinds.isShort(entry.key) { keys.insert(entry.key) }
        var inner = place.inside()
        if place.isMap { return show(entry.node, inner) { PlainTexts.isHarmless($0, mayNameUsers: true) } }
        if place.isNamed, case .table = entry.node.value { return show(entry.node, inner) }
        inner.isNamed = place.isRoot && KeyKinds.named.contains(entry.key)
        inner.table = entry.key
        inner.isMap = entry.key == "require" || (entry.key == "headers" && place.root == "identity")
        if inner.isMap { return show(entry.node, inner) { PlainTexts.isHarmless($0, mayNameUsers: true) } }
        if isShown(entry, place) { return show(entry.node, inner, test(of: entry.key)) }
        conceal(entry, place)
    }

    /// Whether the values of a key are hidden only where they look like a secret.
    private mutating func isShown(_ entry: TOMLEntry, _ place: Place) -> Bool {
        let key = entry.key
        if KeyKinds.secret.contains(key) || (key == "headers" && place.root == "tracing") { return false }
        if KeyKinds.guarded.contains(key) {
            if case .string = entry.node.value { return key == "redis" || key == "authorization" }
            if case .table = entry.node.value { return key != "redis" }
            return false
        }
        if KeyKinds.all.contains(key) { return KeyKinds.strict[place.table]?.contains(key) != false }
        // Comparing takes its time, and a file with as many unknown keys is none of ours.
        comparisons += 1
        return comparisons <= 1000 && KeyKinds.isSlip(key, in: place.table)
    }

    /// What a text of that key must be like to be shown.
    private func test(of key: String) -> (String) -> Bool {
        if key == "redis" { return PlainTexts.isStoreAddress }
        if key == "authorization" { return PlainTexts.isAuthorizationWord }
        if KeyKinds.paths.contains(key) { return PlainTexts.isPath }
        return { PlainTexts.isHarmless($0) }
    }

    /// Goes on below a value that may be shown.
    private mutating func show(
        _ node: TOMLNode, _ place: Place, _ isPlain: (String) -> Bool = { PlainTexts.isHarmless($0) }
    ) {
        noteEnd(of: node)
        switch node.value {
        case .table(let table): for entry in table.entries { visit(entry, place) }
        case .array(let nodes): for node in nodes { show(node, place, isPlain) }
        case .string(let text): if !isPlain(text) { hide(node, []) }
        case .integer, .float, .boolean, .dateTime: break
        }
    }

    /// Hides the value of a key that is secret, or not known.
    private mutating func conceal(_ entry: TOMLEntry, _ place: Place) {
        if !keys.contains(entry.key) { hideKey(of: entry, []) }
        linesOfSecrets.insert(entry.position.line)
        var inner = place.inside()
        inner.secrets.append(entry.node.start)
        conceal(entry.node, inner)
    }

    private mutating func conceal(_ node: TOMLNode, _ place: Place) {
        noteEnd(of: node)
        linesOfSecrets.insert(node.end.line)
        switch node.value {
        case .table(let table): for entry in table.entries { visit(entry, place) }
        case .array(let nodes):
            hide(node, [])
            var inner = place
            inner.secrets.append(node.start)
            for node in nodes { conceal(node, inner) }
        case .string, .integer, .float, .boolean, .dateTime: hide(node, place.secrets)
        }
    }

    /// An entry of the table in a secret's place: where it is read shows, what it is does not.
    private mutating func visitSecret(_ entry: TOMLEntry, _ place: Place) {
        linesOfSecrets.insert(entry.position.line)
        if case .string(let text) = entry.node.value {
            let isPlace =
                entry.key == "env" && surroundings.isVariableName(text)
                || entry.key == "file" && surroundings.isPath(text)
            if isPlace { return noteEnd(of: entry.node) }
        }
        // The name of a header says nothing, and is longer.
        if KeyKinds.isShort(entry.key) || (place.root == "tracing" && PlainTexts.isName(entry.key)) {
            keys.insert(entry.key)
        } else {
            hideKey(of: entry, place.secrets)
        }
        var inner = place
        inner.secrets.append(entry.node.start)
        conceal(entry.node, inner)
    }

    private mutating func hideKey(of entry: TOMLEntry, _ holders: [SourcePosition]) {
        regions.append((entry.position, max(entry.position, entry.node.end)))
        hideText(entry.key, shownAs: "…", at: [entry.position, entry.node.start] + holders)
    }

    private mutating func noteEnd(of node: TOMLNode) {
        lastColumns[node.end.line] = max(lastColumns[node.end.line] ?? 1, node.end.column)
    }

    private mutating func hide(_ node: TOMLNode, _ holders: [SourcePosition]) {
        if case .string(let text) = node.value, PlainTexts.isReferences(text) { return }
        regions.append((node.start, node.end))
        linesOfSecrets.formUnion([node.start.line, node.end.line])
        hiddenStarts.insert(node.start)
        guard case .string(let text) = node.value else { return }
        hideText(text, shownAs: PlainTexts.references(of: text), at: [node.start] + holders)
    }

    private mutating func hideText(_ text: String, shownAs shown: String, at positions: [SourcePosition]) {
        let hidden = HiddenText(text, shownAs: shown)
        for position in Set(positions) { texts[position, default: []].append(hidden) }
    }
}
