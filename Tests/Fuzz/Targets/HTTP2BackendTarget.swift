import Bytes
import HTTP
import HTTP1

@testable import HTTP2

/// F5: what a backend sends to an HTTP/2 session that has asked it four things, in the pieces that the first byte says.
/// Each request gets one head at most, content and trailers come behind it, and no field can break out of its line.
final class HTTP2BackendTarget: FuzzTarget {
    /// What a request has got so far.
    private struct Answer {
        var hasHead = false
        var hasEnded = false
        var isClosed = false
    }

    private static let requests: [(text: String, isWebSocket: Bool)] = [
        ("GET /a HTTP/1.1\r\nhost: a.test\r\n\r\n", false),
        ("HEAD /b HTTP/1.1\r\nhost: a.test\r\n\r\n", false),
        ("POST /c HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n\r\n", false),
        ("GET /d HTTP/1.1\r\nhost: a.test\r\nsec-websocket-version: 13\r\n\r\n", true),
    ]

    private var head = ResponseHead(fieldCapacity: 100)

    init() {}

    func run(_ input: [UInt8]) throws {
        guard let seed = input.first else { return }
        // Each block goes back to malloc, so that AddressSanitizer sees what is wrong with one.
        let memory = HTTP2Memory(kept: 0)
        let limits = HTTP2Limits(head: HeadLimits())
        guard var session = HTTP2Session(limits: limits, as: .client, memory: memory, now: 1_000_000) else {
            return
        }
        var scratch = HTTP2Scratch()
        var output = FrameSink()
        defer { output.close() }
        // SETTINGS_ENABLE_CONNECT_PROTOCOL, so that there is a tunnel, too.
        let greeting: [UInt8] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1]
        _ = session.receive(greeting.span, &scratch, now: 1_000_000)
        scratch.clear()
        var answers = try ask(&session, &scratch)
        try output.take(from: &session, &scratch, content: 5)
        let bytes = Array(input.dropFirst())
        var taken = 0
        for cut in Cuts(seed, count: bytes.count).places where cut > taken {
            let piece = Array(bytes[taken..<cut])
            taken = cut
            let goesOn = session.receive(piece.span, &scratch, now: 1_000_000 + Int64(taken))
            try take(&session, &scratch, piece, &answers)
            try output.take(from: &session, &scratch, content: 5)
            try take(&session, &scratch, [], &answers)
            if !goesOn { break }
        }
    }

    private func ask(
        _ session: inout HTTP2Session, _ scratch: inout HTTP2Scratch
    ) throws -> [Int32: Answer] {
        var answers: [Int32: Answer] = [:]
        for request in Self.requests {
            var form = HTTP2RequestForm(isSecure: false)
            form.isWebSocket = request.isWebSocket
            form.takesTrailers = true
            form.endsStream = !request.isWebSocket && !request.text.hasPrefix("POST")
            let text = Array(request.text.utf8)
            guard let slot = session.submitRequest(text.span, form, owner: .none, &scratch) else {
                throw Violation(description: "a request was not taken")
            }
            try demand(answers.updateValue(Answer(), forKey: slot) == nil, "slot \(slot) is given twice")
            if !form.endsStream { session.offer(slot, count: 5, isComplete: true) }
        }
        return answers
    }

    private func take(
        _ session: inout HTTP2Session, _ scratch: inout HTTP2Scratch, _ piece: [UInt8],
        _ answers: inout [Int32: Answer]
    ) throws {
        for index in 0..<scratch.events.count {
            let event = scratch.events[index]
            let slot = Self.slot(of: event)
            guard var answer = answers[slot], !answer.isClosed else {
                throw Violation(description: "\(event) of nobody")
            }
            try demand(!answer.hasEnded || Self.isEnd(event), "\(event) behind the end")
            switch event {
            case .request: throw Violation(description: "a backend asks")
            case .refused: break
            case .answer(_, let range):
                try demand(!answer.hasHead, "two answers to one request")
                let text = array(scratch.text.span(range))
                answer.hasHead = try !isInterim(text)
            case .data(_, let range):
                try demand(answer.hasHead, "content without a head")
                try demand(range.end <= piece.count && !range.isEmpty, "content that did not come")
                session.consume(slot, Int(range.count))
            case .trailers(_, let range):
                try demand(answer.hasHead, "trailers without a head")
                try HeadLines.check(array(scratch.text.span(range)))
            case .end: answer.hasEnded = true
            case .closed:
                answer.isClosed = true
                session.free(slot)
            }
            answers[slot] = answer
        }
        scratch.clear()
    }

    /// A head is a status line and whole lines, and nothing else. What the status may be, the parser of HTTP/1.1 says, which
    /// reads it next.
    private func isInterim(_ text: [UInt8]) throws -> Bool {
        try demand(text.starts(with: Array("HTTP/1.1 ".utf8)), "no status line")
        guard let end = text.firstIndex(of: 0x0D) else {
            throw Violation(description: "no end of the status line")
        }
        try demand(text[..<end].allSatisfy { $0 > 0x1F && $0 < 0x7F }, "more than ASCII in the status line")
        try demand(text.suffix(4).elementsEqual([0x0D, 0x0A, 0x0D, 0x0A]), "no empty line")
        try HeadLines.check(Array(text[(end + 2)...].dropLast(2)))
        var parser = ResponseHeadParser()
        switch parser.parse(text.span, into: &head, requestMethod: .get, limits: HeadLimits()) {
        case .complete:
            try demand(head.byteCount == text.count, "\(head.byteCount) of \(text.count) bytes were read")
        case .refused: break
        case .incomplete: throw Violation(description: "a head that is not whole")
        }
        return text[9] == UInt8(ascii: "1")
    }

    private static func slot(of event: HTTP2Event) -> Int32 {
        switch event {
        case .request(let slot, _, _), .refused(let slot, _, _), .answer(let slot, _), .data(let slot, _),
            .trailers(let slot, _), .end(let slot), .closed(let slot):
            slot
        }
    }

    private static func isEnd(_ event: HTTP2Event) -> Bool {
        if case .closed = event { true } else { false }
    }
}
