import Bytes
public import HTTP

/// Reads request heads (RFC 9112 §2, §3, §5), strictly. One for each connection: it remembers how far the bytes of an
/// incomplete head were searched, so that bytes that trickle in are not searched again.
public struct RequestHeadParser: Sendable, BitwiseCopyable {
    private var search = HeadEndSearch()

    /// A parser at the start of a head.
    public init() {}

    /// How many bytes of an incomplete head were searched for its end; 0 at the start of a head.
    public var scanned: Int { search.scanned }

    /// Reads the head at the start of `bytes` into `head`, whose former content is forgotten.
    ///
    /// After `complete` and `refused` the parser is at the start of a head again. `head` may be shared between
    /// connections: nothing in it is kept from an incomplete parse to the next.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: HeadLimits
    ) -> HeadParseResult {
        var result = HeadParseResult.incomplete
        if search.isWorthReading(bytes) {
            var reader = RequestHeadReader(limits: limits)
            result = reader.read(bytes, &head)
        }
        if result == .incomplete, bytes.count >= limits.headBytes { result = .refused(.headTooLarge) }
        search.setScanned(result == .incomplete ? bytes.count : 0)
        return result
    }
}

/// One pass over the bytes of a request head.
private struct RequestHeadReader {
    let limits: HeadLimits
    private var offset = 0

    init(limits: HeadLimits) { self.limits = limits }

    /// Reads empty lines, request line and field lines.
    mutating func read(_ bytes: Span<UInt8>, _ head: inout RequestHead) -> HeadParseResult {
        let skipped = skipEmptyLines(bytes)
        guard skipped == .complete else { return skipped }
        let line = readRequestLine(bytes, &head)
        guard line == .complete else { return line }
        return readFields(bytes, &head)
    }

    /// RFC 9112 §2.2: a server ignores an empty line before the request line.
    private mutating func skipEmptyLines(_ bytes: Span<UInt8>) -> HeadParseResult {
        for _ in 0..<HeadLimits.leadingEmptyLines {
            guard offset < bytes.count else { return .incomplete }
            guard bytes[offset] == 0x0D else { break }
            guard offset + 1 < bytes.count else { return .incomplete }
            guard bytes[offset + 1] == 0x0A else { return .refused(.bareCarriageReturn) }
            offset += 2
        }
        return offset < bytes.count ? .complete : .incomplete
    }

    /// `method SP request-target SP HTTP-version CRLF` (RFC 9112 §3), each space exactly one.
    private mutating func readRequestLine(_ bytes: Span<UInt8>, _ head: inout RequestHead) -> HeadParseResult
    {
        let methodEnd = ASCII.endOfToken(bytes, from: offset)
        guard methodEnd - offset <= HeadLimits.methodBytes else { return .refused(.methodTooLong) }
        guard methodEnd < bytes.count else { return .incomplete }
        guard methodEnd > offset, bytes[methodEnd] == 0x20 else {
            return .refused(Self.fault(bytes[methodEnd], else: .badMethod))
        }
        let target = methodEnd + 1
        let targetEnd = ASCII.endOfVisible(bytes, from: target)
        guard targetEnd - target <= limits.targetBytes else { return .refused(.targetTooLong) }
        guard targetEnd < bytes.count else { return .incomplete }
        guard targetEnd > target, bytes[targetEnd] == 0x20 else {
            return .refused(Self.fault(bytes[targetEnd], else: .badTarget))
        }
        let version = HTTPVersionReader.read(bytes, at: targetEnd + 1, followedBy: 0x0D)
        guard case .version(let version) = version else { return version.result }
        let end = targetEnd + 9
        guard end + 1 < bytes.count else { return .incomplete }
        guard bytes[end + 1] == 0x0A else { return .refused(.bareCarriageReturn) }
        let fault = head.begin(
            bytes, method: ByteRange(from: offset, to: methodEnd),
            target: ByteRange(from: target, to: targetEnd),
            version: version)
        offset = end + 2
        return fault.map { .refused($0) } ?? .complete
    }

    private mutating func readFields(_ bytes: Span<UInt8>, _ head: inout RequestHead) -> HeadParseResult {
        var reader = FieldLineReader(at: offset)
        var field = FieldLine.none
        while true {
            switch reader.next(bytes, &field) {
            case .line:
                guard reader.offset <= limits.headBytes else { return .refused(.headTooLarge) }
                guard head.fields.count < limits.fieldCount else { return .refused(.tooManyFields) }
                if let fault = head.add(bytes, field) {
                    return .refused(fault)
                }
            case .end:
                guard reader.offset <= limits.headBytes else { return .refused(.headTooLarge) }
                return head.finish(bytes, byteCount: reader.offset).map { .refused($0) } ?? .complete
            case .incomplete: return .incomplete
            case .fault(let fault): return .refused(fault)
            }
        }
    }

    /// The fault of a byte that stands where a space should.
    private static func fault(_ byte: UInt8, else fault: MessageFault) -> MessageFault {
        switch byte {
        case 0x0A: .bareLineFeed
        case 0x0D, 0x20, 0x09: .badRequestLine
        default: fault
        }
    }
}
