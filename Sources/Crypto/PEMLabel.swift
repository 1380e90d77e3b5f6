/// The label of a PEM text (RFC 7468 §2): told before OpenSSL reads it, so that the mistake can be named.
enum PEMLabel: Equatable {
    case publicKey, privateKey, other

    /// The label of the first block, or nil where there is none. A block begins with a line: elsewhere its words explain.
    static func first(in text: Span<UInt8>) -> PEMLabel? {
        let begin = Array("-----BEGIN ".utf8)
        // Editors of Windows put a byte order mark in front, which OpenSSL passes over.
        let start = text.count >= 3 && matches(text, [0xef, 0xbb, 0xbf], at: 0) ? 3 : 0
        var index = start
        while index + begin.count <= text.count {
            guard index == start || text[index - 1] == 0x0a, matches(text, begin, at: index) else {
                index += 1
                continue
            }
            var label: [UInt8] = []
            var end = index + begin.count
            while end < text.count, text[end] != 0x2d, text[end] != 0x0a {
                label.append(text[end])
                end += 1
            }
            return named(label)
        }
        return nil
    }

    private static func named(_ label: [UInt8]) -> PEMLabel {
        if label == Array("PUBLIC KEY".utf8) { return .publicKey }
        let suffix = Array("PRIVATE KEY".utf8)
        return label.suffix(suffix.count).elementsEqual(suffix) ? .privateKey : .other
    }

    private static func matches(_ text: Span<UInt8>, _ word: [UInt8], at index: Int) -> Bool {
        for offset in 0..<word.count where text[index + offset] != word[offset] { return false }
        return true
    }
}
