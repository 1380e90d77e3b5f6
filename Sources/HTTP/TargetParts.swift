import Bytes

/// A request target cut into its parts (RFC 9112 §3.2), not yet judged by the path rules.
struct TargetParts {
    let form: TargetForm
    let authority: ByteRange
    let path: ByteRange
    let query: ByteRange
    let hasQuery: Bool

    /// Nil for what is neither `/…`, nor `*`, nor `http://…` or `https://…`, or longer than offsets reach.
    init?(_ bytes: Span<UInt8>, _ target: ByteRange) {
        guard !target.isEmpty, target.count <= 65_535 else { return nil }
        var authority = ByteRange.empty
        var pathStart = Int(target.start)
        switch bytes[pathStart] {
        case 0x2F:
            form = .origin
        case 0x2A where target.count == 1:
            form = .asterisk
            pathStart = target.end
        default:
            guard let start = Self.endOfScheme(bytes, target) else { return nil }
            form = .absolute
            pathStart = start
            while pathStart < target.end, bytes[pathStart] != 0x2F, bytes[pathStart] != 0x3F {
                pathStart += 1
            }
            authority = ByteRange(from: start, to: pathStart)
        }
        self.authority = authority
        let mark = ASCII.firstIndex(of: 0x3F, in: bytes, from: pathStart, to: target.end)
        hasQuery = mark < target.end
        path = mark == pathStart ? .empty : ByteRange(from: pathStart, to: mark)
        query = hasQuery ? ByteRange(from: mark + 1, to: target.end) : .empty
    }

    /// The offset behind `http://` or `https://`.
    private static func endOfScheme(_ bytes: Span<UInt8>, _ target: ByteRange) -> Int? {
        let text = bytes.slice(target)
        if text.count >= 7, ASCII.equalsIgnoringCase(text.extracting(0..<7), "http://") {
            return Int(target.start) + 7
        }
        if text.count >= 8, ASCII.equalsIgnoringCase(text.extracting(0..<8), "https://") {
            return Int(target.start) + 8
        }
        return nil
    }
}
