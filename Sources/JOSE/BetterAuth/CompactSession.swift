internal import Bytes

/// Where the parts of a compact cache stand: exactly as Better Auth writes it, with nothing between.
struct CompactSession {
    private(set) var payload = 0..<0
    private(set) var expiry = 0..<0
    private(set) var signature = 0..<0

    private static var signatureCount: Int { 43 }

    /// Finds them from behind: the payload may hold texts that look like what follows it.
    init?(_ text: Span<UInt8>) {
        let opening: StaticString = "{\"session\":{"
        let start = opening.utf8CodeUnitCount - 1
        guard text.count > start + 64, ASCII.equals(text.extracting(0...start), opening),
            text[text.count - 1] == UInt8(ascii: "}"), text[text.count - 2] == UInt8(ascii: "\"")
        else { return nil }
        let signatureEnd = text.count - 2
        signature = signatureEnd - Self.signatureCount..<signatureEnd
        var end = signature.lowerBound
        guard Self.ends(text, at: &end, with: ",\"signature\":\"") else { return nil }
        var first = end
        while first > start, ASCII.isDigit(text[first - 1]) { first -= 1 }
        guard first < end, end - first <= 15 else { return nil }
        expiry = first..<end
        end = first
        guard Self.ends(text, at: &end, with: ",\"expiresAt\":"), end > start + 1,
            text[end - 1] == UInt8(ascii: "}")
        else { return nil }
        payload = start..<end
    }

    /// Moves `end` in front of `word`, where that stands there.
    private static func ends(_ text: Span<UInt8>, at end: inout Int, with word: StaticString) -> Bool {
        let start = end - word.utf8CodeUnitCount
        guard start >= 0, ASCII.equals(text.extracting(start..<end), word) else { return false }
        end = start
        return true
    }
}
