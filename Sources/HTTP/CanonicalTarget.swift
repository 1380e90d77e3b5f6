public import Bytes

/// What comes of applying the path rules.
public enum TargetResult: Sendable, BitwiseCopyable {
    /// The target is canonical.
    case canonical(CanonicalTarget)
    /// The target breaks a rule; the request is refused.
    case refused(MessageFault)
}

/// A request target that means one thing only: the bytes that routes match are the bytes that go upstream.
///
/// Only `parse` makes one, so whatever takes a `CanonicalTarget` knows that the path rules P1 to P5 hold. Nothing is
/// normalised: a path that a backend could read as another path is refused. Ranges are offsets in the bytes of the
/// request head.
public struct CanonicalTarget: Sendable, BitwiseCopyable {
    /// The form in which the target came. `asterisk` also for OPTIONS of an absolute target without a path.
    public let form: TargetForm
    /// The path, from its first `/`; empty for `*`, and where an absolute target has none, which means `/`.
    public let path: ByteRange
    /// The query without its `?`.
    public let query: ByteRange
    /// True where there is a `?`.
    public let hasQuery: Bool
    /// True where the path ends with `/` behind a segment: `/a/`, not `/`.
    public let hasTrailingSlash: Bool
    /// How many segments the path has; empty ones are refused, so `/a/` has one and `/` none.
    public let segmentCount: Int
    /// Where each segment ends, counted from the start of the path.
    private let segmentEnds: InlineArray<64, UInt16>

    private init(_ head: borrowing RequestHead, _ form: TargetForm, _ scan: PathScan) {
        self.form = form
        path = head.path
        query = head.query
        hasQuery = head.hasQuery
        hasTrailingSlash = scan.hasTrailingSlash
        segmentCount = scan.count
        segmentEnds = scan.ends
    }

    /// The range of a segment, without slashes; `index` must be below `segmentCount`.
    public func segment(_ index: Int) -> ByteRange {
        precondition(index >= 0 && index < segmentCount)
        let start = index == 0 ? 1 : Int(segmentEnds[index - 1]) + 1
        return ByteRange(from: Int(path.start) + start, to: Int(path.start) + Int(segmentEnds[index]))
    }

    /// Path, `?` and query as they came; without the `/` that an empty path stands for.
    public var pathAndQuery: ByteRange {
        guard hasQuery else { return path }
        return ByteRange(from: path.isEmpty ? Int(query.start) - 1 : Int(path.start), to: query.end)
    }

    /// Applies the path rules to the target of a request that was parsed out of `bytes`.
    ///
    /// Refused are: dot segments in any encoding, also before `;` (P1); encoded slash, backslash and control
    /// characters (P2); empty segments (P3); a raw `#` (P4); encoded letters, digits, `-`, `.`, `_` and `~`, which a
    /// backend would decode to another text than was matched; all of these, and `;`, encoded twice; bytes that RFC 3986
    /// allows in no path, but `[` and `]`.
    /// A query is passed on unread and may hold any visible ASCII but `#`.
    public static func parse(_ bytes: Span<UInt8>, _ head: borrowing RequestHead) -> TargetResult {
        var scan = PathScan()
        if let fault = scan.scan(bytes, head.path) { return .refused(fault) }
        let query = head.query
        if ASCII.firstIndex(of: 0x23, in: bytes, from: Int(query.start), to: query.end) < query.end {
            return .refused(.badTarget)
        }
        // RFC 9112 §3.2.4: OPTIONS of an absolute target with neither path nor query means `*`.
        let isServer = head.method == .options && head.path.isEmpty && !head.hasQuery
        return .canonical(CanonicalTarget(head, isServer ? .asterisk : head.targetForm, scan))
    }
}

/// The walk over a path that applies the rules and finds the segments.
struct PathScan {
    private(set) var ends = InlineArray<64, UInt16>(repeating: 0)
    private(set) var count = 0
    private(set) var hasTrailingSlash = false

    /// `pchar` of RFC 3986 §3.3 but for percent-encoding, and `[` and `]`, which browsers do not encode.
    private static var plain: ASCIISet { ASCIISet(low: 0x2FFF_7FD2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF) }

    /// Walks over a path, which is empty or starts with `/`.
    mutating func scan(_ bytes: Span<UInt8>, _ path: ByteRange) -> MessageFault? {
        guard !path.isEmpty else { return nil }
        var index = Int(path.start) + 1
        var segment = index
        while true {
            index = ASCII.endOfLettersAndHyphens(bytes, from: index, to: path.end)
            guard index < path.end else { break }
            let byte = bytes[index]
            if Self.plain.contains(byte) {
                index &+= 1
            } else if byte == 0x2F {
                if segment == index { return .emptySegment }
                if let fault = close(bytes, path, segment, index) { return fault }
                index &+= 1
                segment = index
            } else if byte == 0x25 {
                if let fault = PercentEncoding.fault(bytes, index, path.end) { return fault }
                index &+= 3
            } else {
                return .badTarget
            }
        }
        if segment == index {
            hasTrailingSlash = count > 0
            return nil
        }
        return close(bytes, path, segment, index)
    }

    private mutating func close(
        _ bytes: Span<UInt8>, _ path: ByteRange, _ start: Int, _ end: Int
    ) -> MessageFault? {
        if bytes[start] == 0x2E, Self.isDotSegment(bytes, start, end) { return .dotSegment }
        guard count < HeadLimits.pathSegments else { return .tooManySegments }
        ends[count] = UInt16(end - Int(path.start))
        count += 1
        return nil
    }

    /// `.` or `..`, alone or before a parameter: `..;x=1` is `..` to backends that know parameters, and so is `..%3bx=1`.
    private static func isDotSegment(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        var index = start
        while index < end, bytes[index] == 0x2E { index += 1 }
        guard index - start <= 2 else { return false }
        if index == end || bytes[index] == 0x3B { return true }
        return end - index >= 3 && ASCII.equalsIgnoringCase(bytes.extracting(index..<index + 3), "%3b")
    }
}

/// Which percent-encoded octets a path may hold (RFC 3986 §2.1).
enum PercentEncoding {
    /// What is wrong with the encoding that starts at `index`, or nil.
    static func fault(_ bytes: Span<UInt8>, _ index: Int, _ end: Int) -> MessageFault? {
        guard let octet = octet(bytes, index, end) else { return .badPercentEncoding }
        if octet >= 0x80 { return isOverlong(bytes, octet, index + 3, end) ? .badPercentEncoding : nil }
        if octet == 0x2E { return .dotSegment }
        if isSeparator(octet) { return .encodedSeparator }
        if ASCIISet.unreserved.contains(octet) { return .encodedUnreserved }
        // A backend that decodes twice would see what the second decoding gives.
        guard octet == 0x25, let second = twice(bytes, index + 3, end) else { return nil }
        if isSeparator(second) || second == 0x2E || second == 0x25 || second == 0x3B {
            return .encodedSeparator
        }
        return ASCIISet.unreserved.contains(second) ? .encodedUnreserved : nil
    }

    private static func octet(_ bytes: Span<UInt8>, _ index: Int, _ end: Int) -> UInt8? {
        guard index + 2 < end, bytes[index] == 0x25 else { return nil }
        return pair(bytes, index + 1)
    }

    private static func twice(_ bytes: Span<UInt8>, _ index: Int, _ end: Int) -> UInt8? {
        index + 1 < end ? pair(bytes, index) : nil
    }

    private static func pair(_ bytes: Span<UInt8>, _ index: Int) -> UInt8? {
        guard let high = ASCII.hexadecimalValue(bytes[index]),
            let low = ASCII.hexadecimalValue(bytes[index + 1])
        else { return nil }
        return high << 4 | low
    }

    private static func isSeparator(_ octet: UInt8) -> Bool {
        octet == 0x2F || octet == 0x5C || octet < 0x20 || octet == 0x7F
    }

    /// The first octet of an overlong UTF-8 sequence, which a careless decoder turns into a slash or a dot.
    private static func isOverlong(_ bytes: Span<UInt8>, _ octet: UInt8, _ next: Int, _ end: Int) -> Bool {
        switch octet {
        case 0xC0, 0xC1: true
        case 0xE0: (Self.octet(bytes, next, end) ?? 0xFF) < 0xA0
        case 0xF0: (Self.octet(bytes, next, end) ?? 0xFF) < 0x90
        default: false
        }
    }
}
