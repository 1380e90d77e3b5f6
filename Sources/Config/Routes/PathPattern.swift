internal import Bytes
internal import Policy

/// A route's path: literal segments, `{name}` for one segment, `**` at the end for the rest, which may be nothing.
public struct PathPattern: Sendable, Hashable {
    /// One part between slashes.
    public enum Segment: Sendable, Hashable {
        /// Exactly these characters; empty as the last one: the path ends with a slash.
        case literal(String)
        /// Any one segment that is not empty, remembered under a name.
        case capture(String)
        /// All the rest; only as the last one.
        case rest
    }

    /// The segments from left to right.
    public let segments: [Segment]
    /// The text of the file, variables expanded.
    public let text: String

    /// The names of the captures, from left to right.
    public var captureNames: [String] {
        segments.compactMap { if case .capture(let name) = $0 { name } else { nil } }
    }
}

extension Loader {
    /// A template, or an error at its place that says what is wrong.
    func pathPattern(_ text: Located<String>) -> PathPattern? {
        guard text.value.hasPrefix("/") else {
            error(text.position, "a path begins with \"/\"", didYouMean: "/" + text.value)
            return nil
        }
        let parts = text.value.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        var segments: [PathPattern.Segment] = []
        for (index, part) in parts.enumerated() {
            guard let segment = segment(part, isLast: index == parts.count - 1, text) else { return nil }
            segments.append(segment)
        }
        return checked(PathPattern(segments: segments, text: text.value), at: text.position)
    }

    private func checked(_ pattern: PathPattern, at position: SourcePosition) -> PathPattern? {
        let names = pattern.captureNames
        if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
            error(position, "the path \"\(pattern.text)\" has two captures {\(twice)}")
            return nil
        }
        guard pattern.segments.count <= PathTemplate.maximumSegmentCount,
            names.count <= PathTemplate.maximumCaptureCount
        else {
            error(
                position,
                "a path has at most \(PathTemplate.maximumSegmentCount) segments and \(PathTemplate.maximumCaptureCount) captures"
            )
            return nil
        }
        return pattern
    }

    private func segment(_ part: Substring, isLast: Bool, _ text: Located<String>) -> PathPattern.Segment? {
        switch part {
        case "**" where isLast: return .rest
        case "**": error(text.position, "\"**\" stands only at the end of a path: \"\(text.value)\"")
        case "" where isLast: return .literal("")
        case "": error(text.position, "the path \"\(text.value)\" has an empty segment (\"//\")")
        case ".", "..":
            error(text.position, "\"\(part)\" in a path never matches: such requests are refused (P1)")
        case _ where part.hasPrefix("{") && part.hasSuffix("}"): return capture(part, text)
        case _ where part.hasPrefix(":") || part.hasPrefix("<"): colonStyle(part, text)
        case _ where part.utf8.contains { "{}*".utf8.contains($0) }:
            error(
                text.position,
                "\"\(part)\" in a path: a segment is literal, {name} for one segment, or ** for the rest at the end"
            )
        default: return literal(part, text)
        }
        return nil
    }

    private func capture(_ part: Substring, _ text: Located<String>) -> PathPattern.Segment? {
        let name = part.dropFirst().dropLast()
        guard !name.isEmpty, name.utf8.allSatisfy(isCaptureNameByte) else {
            error(text.position, "\"\(part)\" in a path: a capture is {name} of letters, digits and \"_\"")
            return nil
        }
        return .capture(String(name))
    }

    /// `:id` and `<id>` are how other routers write a capture; taken literally they would match nothing.
    private func colonStyle(_ part: Substring, _ text: Located<String>) {
        let name = part.filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        error(text.position, "\"\(part)\" in a path: a capture is written {name}", didYouMean: "{\(name)}")
    }

    private func literal(_ part: Substring, _ text: Located<String>) -> PathPattern.Segment? {
        if part.contains("?") || part.contains("#") {
            error(text.position, "a path has no query and no fragment: \"\(text.value)\"")
            return nil
        }
        guard part.utf8.allSatisfy(isPathByte) else {
            error(
                text.position,
                "\"\(part)\" in a path: a literal has letters, digits and -._~!$&'()+,;=:@; take {name} for "
                    + "a segment with others")
            return nil
        }
        // Two spellings of one escape are one path to a backend, and must not be two to the matcher (P2).
        guard !part.contains("%") else {
            error(
                text.position,
                "\"\(part)\" in a path: a literal with a percent-encoded character could be spelt in other ways (P2); "
                    + "take {name} for the segment")
            return nil
        }
        return .literal(String(part))
    }

    /// The text with its `{name}` parts, each of which must be a capture of the route's path.
    func claimExpectation(_ text: Located<String>, captures: [String]?) -> ClaimExpectation? {
        var parts: [ClaimExpectation.Part] = []
        var literal = ""
        var rest = text.value[...]
        while let character = rest.popFirst() {
            guard character == "{" || character == "}" else {
                literal.append(character)
                continue
            }
            guard character == "{", let end = rest.firstIndex(of: "}"), end != rest.startIndex,
                rest[..<end].utf8.allSatisfy(isCaptureNameByte)
            else {
                error(
                    text.position,
                    "\"\(text.value)\": braces name a capture of the path, such as \"{user_id}\"")
                return nil
            }
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = ""
            let name = String(rest[..<end])
            guard isKnown(name, captures, at: text.position) else { return nil }
            parts.append(.capture(name))
            rest = rest[rest.index(after: end)...]
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        warnOfTwoReadings(parts, text)
        return ClaimExpectation(parts: parts, text: text.value)
    }

    /// Warns where two paths could ask for one claim: what stands between two captures may stand in a capture, too. A slash
    /// and a semicolon may not.
    private func warnOfTwoReadings(_ parts: [ClaimExpectation.Part], _ text: Located<String>) {
        let captures = parts.indices.filter { if case .capture = parts[$0] { true } else { false } }
        let isAmbiguous = zip(captures, captures.dropFirst()).contains { first, second in
            !parts[first..<second].contains {
                if case .literal(let text) = $0 { text.contains("/") || text.contains(";") } else { false }
            }
        }
        guard isAmbiguous else { return }
        warning(
            text.position,
            "\"\(text.value)\": one claim fits several paths, because a segment can hold what stands between the captures; "
                + "put \"/\" there, or compare each with a claim of its own")
    }

    /// `captures` nil: the path itself is broken and has been reported.
    private func isKnown(_ name: String, _ captures: [String]?, at position: SourcePosition) -> Bool {
        guard let captures, !captures.contains(name) else { return true }
        error(
            position, "{\(name)} is not a capture of the route's path",
            didYouMean: Suggestion.nearest(to: name, among: captures).map { "{\($0)}" })
        return false
    }
}

private func isCaptureNameByte(_ byte: UInt8) -> Bool {
    ASCIISet.alphanumeric.contains(byte) || byte == UInt8(ascii: "_")
}

/// RFC 3986, 2.3.
private func isUnreserved(_ byte: UInt8) -> Bool { ASCIISet.unreserved.contains(byte) }

/// pchar of RFC 3986, 3.3, without `*`, which is kept for `**`.
private func isPathByte(_ byte: UInt8) -> Bool {
    isUnreserved(byte) || "!$&'()+,;=:@%".utf8.contains(byte)
}
