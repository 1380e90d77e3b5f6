import Bytes

/// Hides secrets in a configuration's text, so that the text can be shown. Lines and columns stay.
enum SourceMask {
    /// The text with what is concealed replaced by `*`.
    static func mask(_ text: String, _ concealment: Concealment) -> String {
        let regions = concealment.regions.sorted { $0.start < $1.start }
        var next = regions.startIndex
        var end = SourcePosition.none
        var isComment = false
        var masked = String.UnicodeScalarView()
        var place = SourcePosition(line: 1, column: 1)
        for scalar in text.unicodeScalars {
            while next < regions.endIndex, regions[next].start <= place {
                end = max(end, regions[next].end)
                next += 1
            }
            if scalar == "#", place >= end, concealment.linesOfSecrets.contains(place.line) {
                isComment = isComment || place.column >= concealment.lastColumns[place.line] ?? 1
            }
            let isHidden = place < end || isComment
            masked.append(isHidden && scalar != "\n" && scalar != "\r" ? "*" : scalar)
            if scalar == "\n" {
                place = SourcePosition(line: place.line + 1, column: 1)
                isComment = false
            } else {
                place.column += 1
            }
        }
        return String(masked)
    }

    /// For a text that is not TOML, so that nothing is known of where its values begin and end: shows headers of tables, and
    /// keys that there are, with no value but a short number or a truth value.
    static func maskBroken(_ text: String) -> String {
        text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map { scalars in
            let line = Substring(scalars)
            let shown = shownPrefix(of: line)
            return line.prefix(shown) + stars(line.dropFirst(shown))
        }.joined(separator: "\n")
    }

    private static func stars(_ text: Substring) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            result.append(scalar == "\t" || scalar == " " || scalar == "\r" ? scalar : "*")
        }
        return String(result)
    }

    /// How many characters of a line may be shown.
    private static func shownPrefix(of line: Substring) -> Int {
        let trimmed = line.drop { $0 == " " || $0 == "\t" }
        let indent = line.count - trimmed.count
        if trimmed.hasPrefix("[") { return indent + headerLength(trimmed) }
        guard let equals = line.firstIndex(of: "=") else { return 0 }
        guard let key = knownKey(line[..<equals]) else { return 0 }
        let value = line[line.index(after: equals)...]
        if KeyKinds.plain.contains(key), isShortNumberOrTruth(value) { return line.count }
        return line.distance(from: line.startIndex, to: equals) + 1
    }

    /// The last part of a key, where all of it is known, or a name below a table of names.
    private static func knownKey(_ text: Substring) -> String? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(trimmed)
        guard let last = parts.last, KeyKinds.all.contains(last), parts.dropLast().allSatisfy(isName) else {
            return nil
        }
        return last
    }

    /// How much of `[issuer.main` or `[[route]] # text` is a header.
    private static func headerLength(_ text: Substring) -> Int {
        let opening = text.prefix { $0 == "[" }.count
        let name = text.dropFirst(opening).prefix { $0 != "]" && $0 != "#" && $0 != "\r" }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(trimmed)
        guard opening <= 2, let first = parts.first, KeyKinds.all.contains(first) || KeyKinds.isSlip(first),
            parts.allSatisfy(isName)
        else { return 0 }
        return opening + name.count + min(2, text.dropFirst(opening + name.count).prefix { $0 == "]" }.count)
    }

    private static func isName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                ASCIISet.alphanumeric.contains($0) || $0 == 0x2D || $0 == 0x5F
            }
    }

    private static func trimmed(_ text: Substring) -> String {
        let isSpace = { (character: Character) in character == " " || character == "\t" || character == "\r" }
        return String(text.drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }

    private static func isShortNumberOrTruth(_ text: Substring) -> Bool {
        let value = trimmed(text)
        return ["true", "false"].contains(value)
            || (value.utf8.count <= 6 && value.utf8.allSatisfy(ASCII.isDigit))
    }
}

/// What toml++ says of a text that is no TOML, without what it quotes of it: a value may begin there.
enum TOMLComplaint {
    /// Keys that are known stay, and so do signs.
    static func withoutValues(_ message: String) -> String {
        let parts = message.split(separator: "'", omittingEmptySubsequences: false)
        // A quotation mark that is quoted itself; what follows cannot be told apart.
        guard parts.count % 2 == 1, parts.count <= 7 else { return withoutNumber(parts[0]) + "…" }
        return parts.enumerated().map { index, part in
            index % 2 == 0 ? withoutNumber(part) : "'\(isPlain(part) ? String(part) : "…")'"
        }.joined()
    }

    private static func isPlain(_ text: Substring) -> Bool {
        if ["true", "false", "inf", "nan", "table", "\\n", "\\r"].contains(String(text)) { return true }
        let isSign = text.utf8.count == 1 && text.utf8.allSatisfy { !isLetterOrDigit($0) }
        return isSign
            || text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { isKey(String($0)) }
    }

    private static func isKey(_ text: String) -> Bool { KeyKinds.all.contains(text) }

    /// `saw 99`, of a date.
    private static func withoutNumber(_ text: Substring) -> String {
        guard let saw = text.range(ofFirst: "saw "),
            text[saw.upperBound...].utf8.first.map(ASCII.isDigit) == true
        else { return String(text) }
        return text[..<saw.upperBound] + "…"
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        ASCIISet.alphanumeric.contains(byte) || byte >= 0x80
    }
}
