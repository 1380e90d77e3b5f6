import Bytes
public import HTTP

/// Reads response heads (RFC 9112 §2, §4, §5), strictly. One for each upstream connection, as `RequestHeadParser`.
public struct ResponseHeadParser: Sendable, BitwiseCopyable {
    private var search = HeadEndSearch()

    /// A parser at the start of a head.
    public init() {}

    /// How many bytes of an incomplete head were searched for its end; 0 at the start of a head.
    public var scanned: Int { search.scanned }

    /// Reads the head at the start of `bytes` into `head`; `requestMethod` decides on the body. `limits.targetBytes`
    /// does not apply.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout ResponseHead, requestMethod: Method, limits: HeadLimits
    ) -> HeadParseResult {
        var result = HeadParseResult.incomplete
        if search.isWorthReading(bytes) {
            var reader = ResponseHeadReader(limits: limits, requestMethod: requestMethod)
            result = reader.read(bytes, &head)
        }
        if result == .incomplete, bytes.count >= limits.headBytes { result = .refused(.headTooLarge) }
        search.setScanned(result == .incomplete ? bytes.count : 0)
        return result
    }
}

/// One pass over the bytes of a response head.
private struct ResponseHeadReader {
    let limits: HeadLimits
    let requestMethod: Method
    private var offset = 0

    init(limits: HeadLimits, requestMethod: Method) {
        self.limits = limits
        self.requestMethod = requestMethod
    }

    mutating func read(_ bytes: Span<UInt8>, _ head: inout ResponseHead) -> HeadParseResult {
        guard !bytes.isEmpty else { return .incomplete }
        let line = readStatusLine(bytes, &head)
        guard line == .complete else { return line }
        return readFields(bytes, &head)
    }

    /// `HTTP-version SP status-code SP [ reason-phrase ] CRLF` (RFC 9112 §4). The second space may be missing with the
    /// phrase, as many servers do; the line is written anew anyway.
    private mutating func readStatusLine(_ bytes: Span<UInt8>, _ head: inout ResponseHead) -> HeadParseResult
    {
        let version = HTTPVersionReader.read(bytes, at: 0, followedBy: 0x20)
        guard case .version(let version) = version else { return version.result }
        var status: UInt16 = 0
        for index in 9..<12 {
            guard index < bytes.count else { return .incomplete }
            guard ASCII.isDigit(bytes[index]) else { return .refused(Self.fault(bytes[index])) }
            status = status * 10 + UInt16(bytes[index] - 0x30)
        }
        guard 12 < bytes.count else { return .incomplete }
        guard bytes[12] == 0x20 || bytes[12] == 0x0D else { return .refused(Self.fault(bytes[12])) }
        let reason = bytes[12] == 0x20 ? 13 : 12
        let end = ASCII.endOfFieldValue(bytes, from: reason)
        guard end < bytes.count else { return .incomplete }
        guard bytes[end] == 0x0D else { return .refused(FieldLineReader.fault(at: bytes[end])) }
        guard end + 1 < bytes.count else { return .incomplete }
        guard bytes[end + 1] == 0x0A else { return .refused(.bareCarriageReturn) }
        offset = end + 2
        let fault = head.begin(status: status, reason: ByteRange(from: reason, to: end), version: version)
        return fault.map { .refused($0) } ?? .complete
    }

    private mutating func readFields(_ bytes: Span<UInt8>, _ head: inout ResponseHead) -> HeadParseResult {
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
                let fault = head.finish(bytes, requestMethod: requestMethod, byteCount: reader.offset)
                return fault.map { .refused($0) } ?? .complete
            case .incomplete: return .incomplete
            case .fault(let fault): return .refused(fault)
            }
        }
    }

    private static func fault(_ byte: UInt8) -> MessageFault {
        byte == 0x0A ? .bareLineFeed : .badStatusLine
    }
}
