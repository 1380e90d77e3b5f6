import Bytes

extension Loader {
    /// The text with every `${NAME}` and `${NAME:-default}` replaced; nil, with an error at `position`, when a
    /// variable is unset or the form is broken. The default is for a variable that is unset or empty.
    func expand(_ text: String, at position: SourcePosition) -> String? {
        var result = ""
        var values: [String: String] = [:]
        var rest = text[...]
        while let start = rest.range(ofFirst: "${") {
            result += rest[..<start.lowerBound]
            rest = rest[start.upperBound...]
            guard let end = rest.firstIndex(of: "}") else {
                error(position, "\"${\" without \"}\"")
                return nil
            }
            guard let value = variable(rest[..<end], at: position, noting: &values) else { return nil }
            result += value
            rest = rest[rest.index(after: end)...]
        }
        result += rest
        if result != text { note(text, became: result, by: values, at: position) }
        return result
    }

    /// A value of the environment is noted by the name of its variable.
    private func variable(
        _ reference: Substring, at position: SourcePosition, noting values: inout [String: String]
    ) -> String? {
        let separator = reference.range(ofFirst: ":-")
        let name = String(reference[..<(separator?.lowerBound ?? reference.endIndex)])
        guard Self.isVariableName(name) else {
            error(position, "\"${\(reference)}\" does not name an environment variable")
            return nil
        }
        if let separator {
            // Taken as it stands, it would end at the inner "}", and the outer one would be text behind the value.
            guard reference.range(ofFirst: "${") == nil else {
                error(
                    position,
                    "the default of \"${\(own: shown(name, position)):-…}\" has a \"${\"; it must be plain text"
                )
                return nil
            }
            guard let value = environment[name], !value.isEmpty else {
                return String(reference[separator.upperBound...])
            }
            values[name] = value
            return value
        }
        guard let value = environment[name] else {
            let name = shown(name, position)
            error(
                position,
                "environment variable \(own: name) is not set (or not UTF-8); \"${\(own: name):-default}\" would give it a default"
            )
            return nil
        }
        values[name] = value
        return value
    }

    /// A variable's name; what stands in a secret's place and does not look like one may be the secret.
    private func shown(_ name: String, _ position: SourcePosition) -> String {
        PlainTexts.isVariableName(name) || !hides(valueAt: position) ? name : "…"
    }

    /// POSIX: letters, digits and underscores, no digit first.
    static func isVariableName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !ASCII.isDigit(first) else { return false }
        return name.utf8.allSatisfy { ASCIISet.alphanumeric.contains($0) || $0 == 0x5F }
    }
}
