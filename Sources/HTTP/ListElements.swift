public import Bytes

/// Walks the elements of a comma-separated list (RFC 9110 §5.6.1), without the whitespace around them. Elements may
/// be empty; quoted strings are not known, so it serves lists of tokens only.
public struct ListElements {
    private var offset: Int
    private let end: Int
    private var isDone = false

    /// The elements of the list in that range.
    public init(_ range: ByteRange) {
        offset = Int(range.start)
        end = range.end
    }

    /// The next element, or nil behind the last.
    public mutating func next(_ bytes: Span<UInt8>) -> ByteRange? {
        guard !isDone else { return nil }
        let comma = ASCII.firstIndex(of: 0x2C, in: bytes, from: offset, to: end)
        var first = offset
        var last = comma
        while first < last, ASCII.isWhitespace(bytes[first]) { first += 1 }
        while first < last, ASCII.isWhitespace(bytes[last - 1]) { last -= 1 }
        isDone = comma == end
        offset = comma + 1
        return ByteRange(from: first, to: last)
    }
}
