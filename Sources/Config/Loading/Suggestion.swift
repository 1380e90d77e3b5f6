/// The names of HTTP's versions, as people write them.
enum ApplicationProtocolName {
    /// What was meant by a name that is none: with a 2 in it, or as gRPC, it is HTTP/2, however near `http/1.1` looks. Nil
    /// where nobody could say.
    static func meant(by text: String) -> String? {
        let name = text.lowercased()
        if name.contains("grpc") || name.contains("2") && !name.hasPrefix("http/1") { return "h2" }
        return Suggestion.nearest(to: name, among: ["http/1.1", "h2"])
    }
}

/// "Did you mean": the nearest of the known names.
enum Suggestion {
    /// The candidate that the fewest edits make of `word`, if they are few for its length, or that begins with it.
    static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let folded = word.lowercased()
        let allowed = word.utf8.count <= 3 ? 1 : word.utf8.count <= 7 ? 2 : 3
        var best: (name: String, edits: Int)?
        for candidate in candidates where candidate != word {
            let isStart = folded.utf8.count >= 3 && candidate.lowercased().hasPrefix(folded)
            let distance = distance(folded, candidate.lowercased(), atMost: allowed)
            let edits = isStart ? min(allowed, distance) : distance
            if edits <= allowed, edits < candidate.utf8.count, edits < best?.edits ?? .max {
                best = (candidate, edits)
            }
        }
        return best?.name
    }

    /// Insertions, removals, replacements and swaps of neighbours that lead from one to the other
    /// (optimal string alignment); more than the bound for what is certainly far.
    static func distance(_ a: String, _ b: String, atMost bound: Int) -> Int {
        let (a, b) = (Array(a.utf8), Array(b.utf8))
        guard abs(a.count - b.count) <= bound, a.count <= 64 else { return bound + 1 }
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var edits = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    edits = min(edits, beforeLast[j - 1] + 1)
                }
                row.append(edits)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
