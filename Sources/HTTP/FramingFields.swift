import Bytes

/// What Content-Length and Transfer-Encoding say, and whether both sides of the proxy would understand it alike
/// (RFC 9112 §6, rule F2). Whatever could be read in two ways is a fault: there is no repair.
struct FramingFields {
    private(set) var contentLength: UInt64?
    private var hasTransferEncoding = false
    private var isLastChunked = false
    private var chunkedCount = 0
    private var unknownCount = 0

    /// Takes a Content-Length: 1 to 18 digits. Signs, lists, whitespace inside and larger numbers are faults; so is a
    /// second line, though it say the same.
    mutating func addContentLength(_ bytes: Span<UInt8>, _ value: ByteRange) -> MessageFault? {
        guard contentLength == nil else { return .severalContentLengths }
        // 18 digits are 888 petabytes and cannot overflow.
        guard value.count >= 1, value.count <= 18 else { return .badContentLength }
        var length: UInt64 = 0
        for index in value.bounds {
            guard ASCII.isDigit(bytes[index]) else { return .badContentLength }
            length = length &* 10 &+ UInt64(bytes[index] &- 0x30)
        }
        contentLength = length
        return nil
    }

    /// Takes a Transfer-Encoding line; several lines are one list (RFC 9112 §6.1).
    mutating func addTransferEncoding(_ bytes: Span<UInt8>, _ value: ByteRange) -> MessageFault? {
        hasTransferEncoding = true
        var elements = ListElements(value)
        while let coding = elements.next(bytes) {
            guard !coding.isEmpty else { return .badTransferEncoding }
            isLastChunked = ASCII.equalsIgnoringCase(bytes.slice(coding), "chunked")
            if isLastChunked { chunkedCount += 1 } else { unknownCount += 1 }
        }
        return nil
    }

    /// The fault of both fields together, or nil.
    ///
    /// `chunked` must be the one coding. Where it is not last, or comes twice, the length is not known (§6.3): 400.
    /// Where other codings stand before it, it is known, but they are not implemented (§6.1): 501.
    func fault(_ version: HTTPVersion) -> MessageFault? {
        guard hasTransferEncoding else { return nil }
        if version == .http10 { return .transferEncodingInHTTP10 }
        if contentLength != nil { return .lengthAndTransferEncoding }
        if version == .http2 || !isLastChunked || chunkedCount > 1 { return .badTransferEncoding }
        return unknownCount > 0 ? .unknownTransferCoding : nil
    }

    /// The framing, where there is no fault; `silent` is that of a message without either field.
    func framing(silent: BodyFraming) -> BodyFraming {
        if hasTransferEncoding { return .chunked }
        if let contentLength { return .length(contentLength) }
        return silent
    }

    /// True where a Transfer-Encoding came.
    var isEncoded: Bool { hasTransferEncoding }
}
