internal import Bytes
internal import HTTP

/// `name=value`, as cookies and queries have it.
enum Pair {
    /// Where the value stands, relative to the pair; nil where the name is another.
    static func value(of name: Span<UInt8>, in pair: Span<UInt8>) -> Range<Int>? {
        guard pair.count > name.count, pair[name.count] == UInt8(ascii: "="),
            ASCII.equals(pair.extracting(0..<name.count), name)
        else { return nil }
        return name.count + 1..<pair.count
    }

    /// True where the text begins with what some backend takes for that name, and then, behind what it trims, has a `=`.
    static func bears(_ name: Span<UInt8>, _ text: Span<UInt8>) -> Bool {
        guard var index = end(of: name, in: text) else { return false }
        while index < text.count, text[index] != UInt8(ascii: "=") {
            let octet = RoutedPath.octet(text, &index)
            // There a name ends for PHP.
            if octet == 0 { return true }
            guard isTrimmed(octet) else { return false }
        }
        return index < text.count
    }

    /// Where the text goes on behind what some backend takes for that name; nil where it begins otherwise. ASP.NET Core does
    /// not look at the case of names; Rack (CVE-2020-8184) and PHP (CVE-2020-7070) have undone percent-encoding in those of
    /// cookies, and all do in those of a query; PHP drops spaces in front, and takes other spaces, `.` and `[` for `_`.
    static func end(of name: Span<UInt8>, in text: Span<UInt8>) -> Int? {
        // A name may be one that looks encoded itself, and to those backends is another one.
        var (place, index) = (start(of: name), start(of: text))
        while place < name.count {
            guard index < text.count,
                folded(RoutedPath.octet(text, &index)) == folded(RoutedPath.octet(name, &place))
            else { return nil }
        }
        return index
    }

    /// Where a name begins behind what PHP drops. What is not encoded of that separates cookies, and was gone by: else each of
    /// many spaces would be looked at many times.
    private static func start(of text: Span<UInt8>) -> Int {
        var index = 0
        while index < text.count, text[index] == UInt8(ascii: "%") || text[index] == UInt8(ascii: "+") {
            var next = index
            let octet = RoutedPath.octet(text, &next)
            guard isTrimmed(octet) || octet == UInt8(ascii: "+") else { break }
            index = next
        }
        return index
    }

    /// A byte of a name as `end` compares it.
    static func folded(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "["), UInt8(ascii: "+"), UInt8(ascii: " "): UInt8(ascii: "_")
        default: ASCII.lowercased(byte)
        }
    }

    /// True where a backend may find a parameter of that name in what is one parameter here: by another spelling, or behind
    /// `;`, which ends one for Rack 2.
    static func hides(_ name: Span<UInt8>, in parameter: Span<UInt8>) -> Bool {
        var start = 0
        while start < parameter.count {
            if bears(name, parameter.extracting(droppingFirst: start)) { return true }
            start =
                ASCII.firstIndex(of: UInt8(ascii: ";"), in: parameter, from: start, to: parameter.count) + 1
        }
        return false
    }

    /// True where something stands before the `=` that backends trim: they see a name that nobody has looked at here.
    static func hasLooseName(_ pair: Span<UInt8>) -> Bool {
        let equals = ASCII.firstIndex(of: UInt8(ascii: "="), in: pair, from: 0, to: pair.count)
        return equals > 0 && equals < pair.count && isTrimmed(pair[equals - 1])
    }

    /// True for whitespace, and for what is beyond ASCII: Python and JavaScript trim U+0085, U+00A0 and U+FEFF too.
    static func isTrimmed(_ byte: UInt8) -> Bool { ASCII.isWhitespace(byte) || byte >= 0x80 }

    /// Where behind `start` another cookie begins for backends that end one not at `;` alone, but at whitespace (Python's
    /// http.cookies) or a comma (RFC 2109), or that trim what stands there; the count where none does.
    static func nextStart(_ pair: Span<UInt8>, behind start: Int) -> Int {
        func separates(_ byte: UInt8) -> Bool { isTrimmed(byte) || byte == UInt8(ascii: ",") }
        var index = start
        while index < pair.count, !separates(pair[index]) { index += 1 }
        while index < pair.count, separates(pair[index]) { index += 1 }
        return index
    }

    /// Without one pair of quotes around it (RFC 6265 §4.1.1).
    static func unquoted(_ range: ByteRange, _ bytes: Span<UInt8>) -> ByteRange {
        let quote = UInt8(ascii: "\"")
        guard range.count >= 2, bytes[Int(range.start)] == quote, bytes[range.end - 1] == quote else {
            return range
        }
        return ByteRange(from: Int(range.start) + 1, to: range.end - 1)
    }
}

/// The pairs of a Cookie field (RFC 6265 §4.2.1), without the whitespace around them.
struct CookiePairs {
    private var start: Int
    private let end: Int

    init(_ value: ByteRange) {
        start = Int(value.start)
        end = value.end
    }

    /// The next pair, never empty, or nil behind the last.
    mutating func next(_ bytes: Span<UInt8>) -> ByteRange? {
        while start < end {
            var first = start
            let semicolon = ASCII.firstIndex(of: UInt8(ascii: ";"), in: bytes, from: start, to: end)
            start = semicolon + 1
            var last = semicolon
            while first < last, ASCII.isWhitespace(bytes[first]) { first += 1 }
            while first < last, ASCII.isWhitespace(bytes[last - 1]) { last -= 1 }
            if first < last { return ByteRange(from: first, to: last) }
        }
        return nil
    }
}
