/// Hides secrets that were written into a configuration's text, so that the text can be shown.
enum SourceMask {
    /// The text with everything between the places replaced by `*`; lines and columns stay.
    static func mask(_ text: String, _ regions: [(start: SourcePosition, end: SourcePosition)]) -> String {
        guard !regions.isEmpty else { return text }
        var masked = ""
        var place = SourcePosition(line: 1, column: 1)
        for scalar in text.unicodeScalars {
            if scalar == "\n" {
                masked.unicodeScalars.append(scalar)
                place = SourcePosition(line: place.line + 1, column: 1)
                continue
            }
            let isHidden = regions.contains { $0.start <= place && place < $0.end }
            masked.unicodeScalars.append(isHidden ? "*" : scalar)
            place.column += 1
        }
        return masked
    }

    /// For a text that is not TOML, so that nothing is known of its values: hides what is quoted in lines that
    /// look as if they held a secret.
    static func maskSuspiciousLines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let folded = line.lowercased()
            let isSuspicious = ["secret", "bearer", "token", "password"].contains { folded.contains($0) }
            return isSuspicious ? hidingQuoted(line) : String(line)
        }.joined(separator: "\n")
    }

    private static func hidingQuoted(_ line: Substring) -> String {
        var result = ""
        var isQuoted = false
        for scalar in line.unicodeScalars {
            let isQuote = scalar == "\"" || scalar == "'"
            if isQuote { isQuoted = true }
            result.unicodeScalars.append(isQuoted && !isQuote ? "*" : scalar)
        }
        return result
    }
}
