internal import Bytes

/// The label of a PEM text (RFC 7468 §2): told before OpenSSL reads it, so that a mistake can be named.
public enum PEMLabel: Equatable, Sendable {
    /// `PUBLIC KEY`.
    case publicKey
    /// `PRIVATE KEY`, or one that ends so.
    case privateKey
    /// Any other, or none that can be read.
    case other

    /// The labels of all blocks of a file, in their order; empty where it is no PEM.
    ///
    /// A block begins with a line: elsewhere its words are explanatory text. A byte order mark in front is passed over, as
    /// OpenSSL does.
    public static func all(in text: Span<UInt8>) -> [PEMLabel] {
        let begin = Array("-----BEGIN ".utf8)
        var labels: [PEMLabel] = []
        var line = ByteOrderMark.byteCount(in: text)
        while line < text.count {
            if matches(text, begin, at: line) { labels.append(label(text, at: line + begin.count)) }
            line = ASCII.firstIndex(of: 0x0a, in: text, from: line, to: text.count) + 1
        }
        return labels
    }

    private static func label(_ text: Span<UInt8>, at start: Int) -> PEMLabel {
        var label: [UInt8] = []
        var end = start
        while end < text.count, text[end] != 0x2d, text[end] != 0x0a {
            label.append(text[end])
            end += 1
        }
        if label == Array("PUBLIC KEY".utf8) { return .publicKey }
        let suffix = Array("PRIVATE KEY".utf8)
        return label.suffix(suffix.count).elementsEqual(suffix) ? .privateKey : .other
    }

    private static func matches(_ text: Span<UInt8>, _ word: [UInt8], at index: Int) -> Bool {
        guard index + word.count <= text.count else { return false }
        for offset in 0..<word.count where text[index + offset] != word[offset] { return false }
        return true
    }
}
