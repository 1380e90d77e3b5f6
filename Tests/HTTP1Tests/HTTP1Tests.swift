import Bytes
import HTTP
import Testing

@testable import HTTP1

/// What a parser made of some bytes, as plain values that can be compared.
struct ParsedHead: Equatable {
    var result: HeadParseResult
    var byteCount = 0
    var framing = BodyFraming.none
    var fields: [String] = []
    var start: [String] = []
}

/// Feeds a request parser the first `steps[0]` bytes, then the first `steps[1]`, and so on, until it has a result.
func parseRequest(_ bytes: [UInt8], steps: [Int], limits: HeadLimits = HeadLimits()) -> ParsedHead {
    var parser = RequestHeadParser()
    var head = RequestHead(fieldCapacity: limits.fieldCount)
    for step in steps {
        let result = parser.parse(bytes.span.extracting(0..<step), into: &head, limits: limits)
        if result == .incomplete { continue }
        guard result == .complete else { return ParsedHead(result: result) }
        return ParsedHead(
            result: result, byteCount: head.byteCount, framing: head.framing,
            fields: (0..<head.fields.count).map { describe(head.fields[$0], bytes) },
            start: [text(bytes, head.methodRange), text(bytes, head.target), "\(head.version)"])
    }
    return ParsedHead(result: .incomplete)
}

/// As `parseRequest`, for a response to `method`.
func parseResponse(
    _ bytes: [UInt8], steps: [Int], method: HTTP.Method = .get, limits: HeadLimits = HeadLimits()
) -> ParsedHead {
    var parser = ResponseHeadParser()
    var head = ResponseHead(fieldCapacity: limits.fieldCount)
    for step in steps {
        let result = parser.parse(
            bytes.span.extracting(0..<step), into: &head, requestMethod: method, limits: limits)
        if result == .incomplete { continue }
        guard result == .complete else { return ParsedHead(result: result) }
        return ParsedHead(
            result: result, byteCount: head.byteCount, framing: head.framing,
            fields: (0..<head.fields.count).map { describe(head.fields[$0], bytes) },
            start: ["\(head.status)", text(bytes, head.reason), "\(head.version)"])
    }
    return ParsedHead(result: .incomplete)
}

func text(_ bytes: [UInt8], _ range: ByteRange) -> String {
    String(decoding: bytes[range.bounds], as: UTF8.self)
}

private func describe(_ line: FieldLine, _ bytes: [UInt8]) -> String {
    "\(text(bytes, line.nameRange))=\(text(bytes, line.valueRange))|\(line.isCanonical)|\(text(bytes, line.lineRange))"
}

/// A buffer's bytes as text, with the block given back.
func drain(_ buffer: inout Buffer, _ pool: inout BlockPool) -> String {
    let text = buffer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    buffer.detach(to: &pool)
    return text
}
