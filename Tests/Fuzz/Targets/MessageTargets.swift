import Bytes
import HTTP

@testable import HTTP1

/// A message head read at once, and in pieces: the first byte says where the pieces end.
final class RequestHeadTarget: FuzzTarget {
    private var head = RequestHead(fieldCapacity: 100)
    private let limits = HeadLimits()

    init() {}

    func run(_ input: [UInt8]) throws {
        guard let seed = input.first else { return }
        let bytes = Array(input.dropFirst())
        let whole = try read(bytes, steps: [bytes.count])
        let split = try read(bytes, steps: Cuts(seed, count: bytes.count).places)
        // A fault in a head whose end has not come may be seen later.
        if case .refused = whole.result, split.result == .incomplete { return }
        try demand(whole == split, "\(whole) at once, \(split) in pieces")
    }

    private func read(_ bytes: [UInt8], steps: [Int]) throws -> SeenHead {
        var parser = RequestHeadParser()
        for step in steps {
            let result = parser.parse(bytes.span.extracting(0..<step), into: &head, limits: limits)
            if result == .incomplete { continue }
            guard result == .complete else { return SeenHead(result: result) }
            var seen = SeenHead(result: result, byteCount: head.byteCount, framing: head.framing)
            seen.lines = [head.methodRange, head.target, head.host].map { Array(bytes[$0.bounds]) }
            for index in 0..<head.fields.count { seen.lines += try lines(head.fields[index], bytes) }
            try seen.check(bytes)
            return seen
        }
        return SeenHead(result: .incomplete)
    }
}

final class ResponseHeadTarget: FuzzTarget {
    private var head = ResponseHead(fieldCapacity: 100)
    private let limits = HeadLimits()

    init() {}

    func run(_ input: [UInt8]) throws {
        guard let seed = input.first else { return }
        let bytes = Array(input.dropFirst())
        let method: HTTP.Method = seed & 0x80 == 0 ? .get : .head
        let whole = try read(bytes, method, steps: [bytes.count])
        let split = try read(bytes, method, steps: Cuts(seed, count: bytes.count).places)
        if case .refused = whole.result, split.result == .incomplete { return }
        try demand(whole == split, "\(whole) at once, \(split) in pieces")
    }

    private func read(_ bytes: [UInt8], _ method: HTTP.Method, steps: [Int]) throws -> SeenHead {
        var parser = ResponseHeadParser()
        for step in steps {
            let result = parser.parse(
                bytes.span.extracting(0..<step), into: &head, requestMethod: method, limits: limits)
            if result == .incomplete { continue }
            guard result == .complete else { return SeenHead(result: result) }
            var seen = SeenHead(result: result, byteCount: head.byteCount, framing: head.framing)
            seen.lines = [Array("\(head.status)".utf8), Array(bytes[head.reason.bounds])]
            for index in 0..<head.fields.count { seen.lines += try lines(head.fields[index], bytes) }
            try seen.check(bytes)
            let hasNoBody = method == .head || head.status < 200 || head.status == 204 || head.status == 304
            try demand(!hasNoBody || head.framing == .none, "a body where there can be none")
            return seen
        }
        return SeenHead(result: .incomplete)
    }
}

/// What a parser made of a head, to be compared.
private struct SeenHead: Equatable {
    var result: HeadParseResult
    var byteCount = 0
    var framing = BodyFraming.none
    var lines: [[UInt8]] = []

    /// A head that was taken ends with the first empty line, and has no line end or NUL inside of a line.
    func check(_ bytes: [UInt8]) throws {
        let head = bytes[..<byteCount]
        try demand(
            head.suffix(4).elementsEqual(Array("\r\n\r\n".utf8)), "the head does not end with an empty line")
        for (index, byte) in head.enumerated() where byte == 0x0A {
            try demand(index > 0 && head[index - 1] == 0x0D, "a bare line feed was taken")
        }
        for (index, byte) in head.enumerated() where byte == 0x0D {
            try demand(index + 1 < head.count && head[index + 1] == 0x0A, "a bare carriage return was taken")
        }
        try demand(!head.contains(0), "a NUL was taken")
    }
}

/// Name and value of a field line, which must lie within the line.
private func lines(_ field: FieldLine, _ bytes: [UInt8]) throws -> [[UInt8]] {
    let line = field.lineRange
    let isInside =
        line.start <= field.nameRange.start && field.nameRange.end < Int(field.valueRange.start)
        && field.valueRange.end <= line.end - 2 && line.end <= bytes.count
    try demand(isInside || field.valueRange.isEmpty, "a field's parts are not in its line")
    let name = bytes[field.nameRange.bounds]
    try demand(!name.isEmpty && name.allSatisfy { ASCII.isToken($0) }, "a field name is no token")
    try demand(bytes[field.valueRange.bounds].allSatisfy { ASCII.isFieldValue($0) }, "a field value is none")
    return [Array(name), Array(bytes[field.valueRange.bounds])]
}

/// A body, decoded at once and in pieces: the first byte says where these end, the second how it is framed.
final class BodyTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        guard input.count >= 2 else { return }
        let bytes = Array(input.dropFirst(2))
        let framing: BodyFraming =
            switch input[1] & 7 {
            case 0: .none
            case 1: .length(UInt64(input[1] >> 3))
            case 2: .untilClose
            default: .chunked
            }
        let whole = try decode(framing, bytes, steps: [])
        let split = try decode(framing, bytes, steps: Cuts(input[0], count: bytes.count).places)
        try demand(whole == split, "\(whole) at once, \(split) in pieces")
    }

    private struct Decoded: Equatable {
        var content: [UInt8] = []
        var trailers: [UInt8]?
        var fault: MessageFault?
        var rest: [UInt8] = []
    }

    private func decode(_ framing: BodyFraming, _ input: [UInt8], steps: [Int]) throws -> Decoded {
        var decoder = BodyDecoder(framing)
        var decoded = Decoded()
        var buffer: [UInt8] = []
        var taken = 0
        for step in steps + [input.count] {
            buffer += input[taken..<step]
            taken = step
            var offset = 0
            events: while decoded.fault == nil, decoded.trailers == nil {
                switch decoder.next(buffer.span, &offset) {
                case .data(let range):
                    try demand(!range.isEmpty && range.end <= offset, "content that is none")
                    decoded.content += buffer[range.bounds]
                case .needMore: break events
                case .end(let trailers):
                    decoded.trailers = Array(buffer[trailers.bounds])
                    try readTrailers(buffer, trailers)
                case .malformed(let fault): decoded.fault = fault
                }
            }
            try demand(offset <= buffer.count, "more was used up than there is")
            if decoded.fault == nil { buffer.removeFirst(offset) }
        }
        try demand(decoder.received == UInt64(decoded.content.count), "the count of content is wrong")
        try demand(buffer.count <= input.count, "more is left than came")
        if decoded.fault == nil { decoded.rest = buffer }
        return decoded
    }

    private func readTrailers(_ bytes: [UInt8], _ range: ByteRange) throws {
        var fields = FieldTable(capacity: HeadLimits.trailerCount)
        let fault = TrailerSection.parse(bytes.span, range, into: &fields)
        try demand(
            fault == nil, "a trailer section was checked, and does not parse: \(String(describing: fault))")
    }
}

/// A request target: what the path rules let through means one thing only.
final class PathTarget: FuzzTarget {
    private var head = RequestHead(fieldCapacity: 4)

    init() {}

    func run(_ input: [UInt8]) throws {
        // What ends a target makes another message of it, and that is for `request-head`.
        guard !input.contains(where: { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D }) else { return }
        let bytes = Array("GET ".utf8) + input + Array(" HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
        var parser = RequestHeadParser()
        guard parser.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete else { return }
        guard head.target.bounds == 4..<4 + input.count else {
            throw Violation(description: "another target")
        }
        guard case .canonical(let target) = CanonicalTarget.parse(bytes.span, head) else { return }
        let path = Array(bytes[target.path.bounds])
        try checkPath(path)
        var joined: [UInt8] = []
        for index in 0..<target.segmentCount { joined += [0x2F] + bytes[target.segment(index).bounds] }
        if target.hasTrailingSlash || path == [0x2F] { joined.append(0x2F) }
        try demand(joined == path, "the segments are not the path")
        let sent = Array(bytes[target.pathAndQuery.bounds])
        let query = target.hasQuery ? [0x3F] + bytes[target.query.bounds] : []
        try demand(sent == path + query, "what goes upstream is not what was matched")
        try demand(
            input.suffix(sent.count).elementsEqual(sent), "what goes upstream is not the end of the target")
    }

    /// However often a backend decodes the path, it finds the same segments and no dot segment among them.
    private func checkPath(_ path: [UInt8]) throws {
        try demand(path.isEmpty || path[0] == 0x2F, "a path without a slash in front")
        let plain = path.split(separator: 0x2F, omittingEmptySubsequences: false).count
        var decoded = path
        for _ in 0..<3 {
            let text = String(decoding: decoded, as: UTF8.self)
            let segments = decoded.split(separator: 0x2F, omittingEmptySubsequences: false)
            try demand(segments.count == plain, "another number of segments in \(text)")
            for segment in segments {
                let name = segment.prefix { $0 != UInt8(ascii: ";") }
                let isDots = name.elementsEqual([0x2E]) || name.elementsEqual([0x2E, 0x2E])
                try demand(!isDots, "a dot segment in \(text)")
            }
            try demand(
                !decoded.contains { $0 < 0x20 || $0 == 0x7F || $0 == 0x5C }, "control or backslash in \(text)"
            )
            try demand(!text.contains("//"), "an empty segment in \(text)")
            decoded = Self.percentDecoded(decoded)
        }
    }

    private static func percentDecoded(_ bytes: [UInt8]) -> [UInt8] {
        var decoded: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == 0x25, index + 2 < bytes.count,
                let high = ASCII.hexadecimalValue(bytes[index + 1]),
                let low = ASCII.hexadecimalValue(bytes[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(bytes[index])
                index += 1
            }
        }
        return decoded
    }
}

/// Frames of a WebSocket: the boundaries are the same, however the stream is cut.
final class WebSocketTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        guard let seed = input.first else { return }
        let bytes = Array(input.dropFirst())
        var whole = WebSocketFrames()
        try demand(whole.advance(over: bytes.span) == bytes.count, "not all was followed")
        var split = WebSocketFrames()
        var taken = 0
        for cut in Cuts(seed, count: bytes.count).places {
            while taken < cut {
                let step = split.advance(over: bytes.span.extracting(taken..<cut), stopping: true)
                try demand(step > 0, "no progress")
                taken += step
            }
        }
        try demand(whole.isAtBoundary == split.isAtBoundary, "boundaries depend on the cuts")
        try demand(whole.hasClosed == split.hasClosed, "the end depends on the cuts")
    }
}
