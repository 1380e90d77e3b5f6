/// A text that must not be quoted, and what is said in its place.
struct HiddenText {
    /// Its characters, in lower case where they are ASCII: messages quote host names and the like in lower case.
    private let text: [Unicode.Scalar]
    /// What stands in the file, as far as that may be shown.
    private let replacement: String

    init(_ text: String, shownAs replacement: String) {
        self.text = Self.folded(text)
        self.replacement = replacement
    }

    /// Whether it is this text.
    func isText(_ other: String) -> Bool { text == Self.folded(other) }

    /// What this short says nothing of a secret, and stands by chance in any text.
    private static let shortestPiece = 4

    /// The same text, or nil where it is no part of this one: for messages about this very value, which may quote a piece.
    func replacementOfPiece(_ quotation: String) -> String? {
        let quotation = Self.folded(quotation)
        guard !quotation.isEmpty else { return nil }
        if quotation == text { return replacement }
        let isPiece = quotation.count >= Self.shortestPiece - 1 && Self.place(of: quotation, in: text) != nil
        return isPiece ? replacement : nil
    }

    /// The quotation without this text in it.
    func removed(from quotation: String) -> String {
        guard text.count >= Self.shortestPiece else { return quotation }
        var rest = Array(quotation.unicodeScalars)[...]
        var folded = Self.folded(quotation)[...]
        var result = ""
        while let place = Self.place(of: text, in: Array(folded)) {
            result.unicodeScalars.append(contentsOf: rest.prefix(place))
            result += replacement
            rest = rest.dropFirst(place + text.count)
            folded = folded.dropFirst(place + text.count)
        }
        result.unicodeScalars.append(contentsOf: rest)
        return result
    }

    /// The quotation without any piece of this text, of four characters or more, in it.
    func piecesRemoved(from quotation: String) -> String {
        let pieces = Self.pieces(of: text)
        let folded = Self.folded(quotation)
        guard !pieces.isEmpty, folded.count >= Self.shortestPiece else { return quotation }
        var isHidden = [Bool](repeating: false, count: folded.count)
        for start in 0...(folded.count - Self.shortestPiece) where pieces.contains(Self.piece(folded, start))
        {
            for place in start..<(start + Self.shortestPiece) { isHidden[place] = true }
        }
        var result = ""
        for (place, scalar) in quotation.unicodeScalars.enumerated() {
            if !isHidden[place] {
                result.unicodeScalars.append(scalar)
            } else if place == 0 || !isHidden[place - 1] {
                result += "…"
            }
        }
        return result
    }

    private static func pieces(of text: [Unicode.Scalar]) -> Set<SIMD4<UInt32>> {
        guard text.count >= shortestPiece else { return [] }
        return Set((0...(text.count - shortestPiece)).map { piece(text, $0) })
    }

    private static func piece(_ text: [Unicode.Scalar], _ start: Int) -> SIMD4<UInt32> {
        SIMD4(text[start].value, text[start + 1].value, text[start + 2].value, text[start + 3].value)
    }

    private static func place(of part: [Unicode.Scalar], in whole: [Unicode.Scalar]) -> Int? {
        guard !part.isEmpty, part.count <= whole.count else { return nil }
        return (0...(whole.count - part.count)).first { start in
            whole[start] == part[0] && whole[start..<(start + part.count)].elementsEqual(part)
        }
    }

    private static func folded(_ text: String) -> [Unicode.Scalar] {
        text.unicodeScalars.map { scalar in
            (0x41...0x5A).contains(scalar.value) ? Unicode.Scalar(UInt8(scalar.value) | 0x20) : scalar
        }
    }
}
