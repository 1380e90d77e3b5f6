import Bytes

/// Which texts may be shown: those that are what their key asks for, and cannot well be a secret.
enum PlainTexts {
    /// Whether a value of a plain key may be shown: no line ends, no key, no credentials.
    static func isHarmless(_ text: String, mayNameUsers: Bool = false) -> Bool {
        let folded = text.prefix(7).lowercased()
        return text.utf8.count <= 512
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
            && text.range(ofFirst: "-----BEGIN") == nil
            && (mayNameUsers || !text.contains("@"))
            && (text.range(ofFirst: "://") == nil || !text.contains("?"))
            && !folded.hasPrefix("bearer ") && !folded.hasPrefix("basic ") && !folded.hasPrefix("eyj")
    }

    /// The same of a path. Keys and certificates in base64 are longer than the names of files; `@` stands in those of systemd's
    /// units, and behind a password there is a colon before it.
    static func isPath(_ text: String) -> Bool {
        isHarmless(text, mayNameUsers: text.hasPrefix("/") || !text.contains(":"))
            && text.utf8.split(whereSeparator: { "/.".utf8.contains($0) }).allSatisfy { $0.count <= 64 }
    }

    /// Whether a text in the place of the path of a secret's file is a path, and not the secret: words without digits in their
    /// midst, and more than one of them. Several words may be written as one, `LikeThis`, where there is a folder around them,
    /// and `@` may stand in whole paths, as in the names of systemd's units: few secrets begin with `/`, and none of those is
    /// made of words.
    static func isPathOfSecret(_ text: String) -> Bool {
        let path = withoutReferences(text)
        let (isWhole, hasFolder) = (path.hasPrefix("/"), path.contains("/"))
        guard isHarmless(text, mayNameUsers: isWhole),
            path.utf8.allSatisfy({ isPathByte($0) || $0 == UInt8(ascii: "@") }),
            referencedNames(of: text).allSatisfy(isMadeOfWords)
        else { return false }
        let words = path.utf8.split(whereSeparator: { "/.-_@".utf8.contains($0) })
        return (words.count > 1 || isWhole)
            && words.allSatisfy {
                isWord($0, longest: 24, digits: 4) || hasFolder && isWordOfWords($0, longest: 24, digits: 4)
            }
    }

    /// Whether a text is words, as the name of a header is.
    static func isName(_ text: String) -> Bool {
        text.utf8.allSatisfy(isPathByte)
            && text.utf8.split(whereSeparator: { ".-_".utf8.contains($0) }).allSatisfy {
                isWord($0, longest: 20, digits: 2)
            }
    }

    /// Whether a text in the place of a variable's name is one, and not the secret. `$NAME` and `${NAME}` are slips of one.
    static func isVariableName(_ text: String) -> Bool {
        let name = variableMeant(by: text) ?? text
        return isMadeOfWords(name) && (name == name.uppercased() || isLowerCaseName(name))
    }

    private static func isMadeOfWords(_ name: some StringProtocol) -> Bool {
        Loader.isVariableName(String(name)) && name.utf8.count <= 64
            && Substring(name).utf8.split(separator: UInt8(ascii: "_")).allSatisfy {
                isWord($0, longest: 20, digits: 3)
            }
    }

    /// Words in lower case may be a pass phrase as well. A name is of few of them, and one says what the variable is for; an
    /// HMAC secret is longer (J19).
    private static func isLowerCaseName(_ name: String) -> Bool {
        let words = name.split(separator: "_")
        return name == name.lowercased() && (2...4).contains(words.count)
            && name.utf8.count < Loader.leastHMACKeyBytes
            && words.contains { purposes.contains(String($0)) }
    }

    private static let purposes: Set<String> = [
        "auth", "credential", "credentials", "hmac", "host", "jwt", "key", "pass", "passwd", "password",
        "port",
        "redis", "secret", "token", "url", "user",
    ]

    /// `NAME` of `$NAME` and `${NAME}`.
    static func variableMeant(by text: String) -> String? {
        guard text.hasPrefix("$") else { return nil }
        let rest = text.dropFirst()
        let isBraced = rest.hasPrefix("{") && rest.hasSuffix("}")
        let name = isBraced ? String(rest.dropFirst().dropLast()) : String(rest)
        return Loader.isVariableName(name) ? name : nil
    }

    /// Whether a text is one of the words that `authorization` takes, or a slip of one; a token would stand there, too.
    static func isAuthorizationWord(_ text: String) -> Bool {
        let words = ["remove", "forward"]
        return words.contains(text) || Suggestion.nearest(to: text, among: words) != nil
    }

    /// Whether a text is the address of a store without user and password, or with variables in their place.
    static func isStoreAddress(_ text: String) -> Bool {
        if text.hasPrefix("unix:") { return isPath(text) }
        let folded = text.lowercased()
        guard let scheme = ["redis://", "rediss://"].first(where: folded.hasPrefix) else { return false }
        let parts = withoutReferences(text).dropFirst(scheme.count).split(
            separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var authority = parts.first ?? ""
        // The default of a variable is text of the file, and counts.
        let login = [":@", "@"].first(where: authority.hasPrefix) ?? ""
        authority = authority.dropFirst(login.count)
        let port = authority.last == "]" ? "" : authority.drop { $0 != ":" }.dropFirst()
        let isBracketed = authority.hasPrefix("[") && authority.contains("]")
        return isHarmless(text, mayNameUsers: true) && !authority.contains("@")
            && referencedNames(of: text).allSatisfy(isMadeOfWords)
            && (isBracketed || port.utf8.allSatisfy(ASCII.isDigit))
            && (parts.count < 2 || parts[1].utf8.allSatisfy(ASCII.isDigit))
    }

    /// Whether a text is the names of variables and nothing else.
    static func isReferences(_ text: String) -> Bool { text.hasPrefix("${") && references(of: text) == text }

    /// `…${NAME}…`: the text without what stands between its variables, and without their defaults.
    static func references(of text: String) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.range(ofFirst: "${") {
            if start.lowerBound != rest.startIndex { result += "…" }
            rest = rest[start.upperBound...]
            guard let end = rest.firstIndex(of: "}") else { return result + "…" }
            result += reference(rest[..<end])
            rest = rest[rest.index(after: end)...]
        }
        return rest.isEmpty && !result.isEmpty ? result : result + "…"
    }

    private static func reference(_ text: Substring) -> String {
        let separator = text.range(ofFirst: ":-")
        let name = String(text[..<(separator?.lowerBound ?? text.endIndex)])
        return "${" + (isVariableName(name) ? name : "…") + (separator == nil ? "}" : ":-…}")
    }

    /// What each `${…}` names: where braces stand wrong, it may be a secret.
    private static func referencedNames(of text: String) -> [Substring] {
        var names: [Substring] = []
        var rest = text[...]
        while let start = rest.range(ofFirst: "${"), let end = rest[start.upperBound...].firstIndex(of: "}") {
            let inner = rest[start.upperBound..<end]
            names.append(inner[..<(inner.range(ofFirst: ":-")?.lowerBound ?? inner.endIndex)])
            rest = rest[rest.index(after: end)...]
        }
        return names
    }

    /// With nothing in the place of each `${…}`.
    private static func withoutReferences(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.range(ofFirst: "${"), let end = rest[start.upperBound...].firstIndex(of: "}") {
            result += rest[..<start.lowerBound]
            let inner = rest[start.upperBound..<end]
            if let separator = inner.range(ofFirst: ":-") { result += inner[separator.upperBound...] }
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }

    /// Letters of one case, the first perhaps a capital, and a few digits behind them.
    private static func isWord(_ word: Substring.UTF8View, longest: Int, digits: Int) -> Bool {
        // As in "k8s".
        if word.count <= 3 { return true }
        let letters = word.prefix { !ASCII.isDigit($0) }
        let rest = word.dropFirst(letters.count)
        let areSmall = letters.dropFirst().allSatisfy { $0 & 0x20 != 0 }
        let areLarge = letters.allSatisfy { $0 & 0x20 == 0 }
        return word.count <= longest && rest.count <= digits && rest.allSatisfy(ASCII.isDigit)
            && (areSmall || areLarge)
    }

    /// `LikeThis`: letters in runs that begin with a capital, each of three letters at least but for the first, and a few
    /// digits behind them.
    private static func isWordOfWords(_ word: Substring.UTF8View, longest: Int, digits: Int) -> Bool {
        let letters = word.prefix { !ASCII.isDigit($0) }
        let rest = word.dropFirst(letters.count)
        guard word.count <= longest, rest.count <= digits, rest.allSatisfy(ASCII.isDigit) else {
            return false
        }
        var (run, runs) = (2, 1)
        for letter in letters.dropFirst() {
            if letter & 0x20 != 0 {
                run += 1
            } else {
                guard run > 2 else { return false }
                (run, runs) = (1, runs + 1)
            }
        }
        return run > 2 && runs <= 4
    }

    private static func isPathByte(_ byte: UInt8) -> Bool {
        ASCIISet.alphanumeric.contains(byte) || "/.-_".utf8.contains(byte)
    }
}
