import Bytes
import HTTP

@testable import HTTP2

/// F5, F6: what a client sends to an HTTP/2 session, in the pieces that the first byte says; each request is answered at
/// once. Whatever becomes of it, no field can break out of its line, and every slot and frame is accounted for.
final class HTTP2Target: FuzzTarget {
    private var head = RequestHead(fieldCapacity: 100)

    init() {}

    func run(_ input: [UInt8]) throws {
        guard let seed = input.first else { return }
        // Each block goes back to malloc, so that AddressSanitizer sees what is wrong with one.
        let memory = HTTP2Memory(kept: 0)
        let limits = HTTP2Limits(head: HeadLimits())
        guard var session = HTTP2Session(limits: limits, memory: memory, now: 1_000_000) else { return }
        var scratch = HTTP2Scratch()
        var output = FrameSink()
        defer { output.close() }
        let greeting = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
        var open: Set<Int32> = []
        var taken = 0
        let bytes = greeting + input.dropFirst()
        for cut in Cuts(seed, count: bytes.count).places where cut > taken {
            let piece = Array(bytes[taken..<cut])
            taken = cut
            let goesOn = session.receive(piece.span, &scratch, now: 1_000_000 + Int64(taken))
            try take(&session, &scratch, piece, &open)
            try output.take(from: &session, &scratch, content: 5)
            try take(&session, &scratch, [], &open)
            if !goesOn { break }
        }
        try demand(session.streamCount >= 0 && session.streamCount <= 4096, "\(session.streamCount) streams")
    }

    private func take(
        _ session: inout HTTP2Session, _ scratch: inout HTTP2Scratch, _ piece: [UInt8],
        _ open: inout Set<Int32>
    ) throws {
        let answer = Array("HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n".utf8)
        for index in 0..<scratch.events.count {
            switch scratch.events[index] {
            case .request(let slot, let range, let isWebSocket):
                try demand(open.insert(slot).inserted, "slot \(slot) is given twice")
                try check(array(scratch.text.span(range)), isWebSocket)
                _ = session.submitHead(slot, answer.span, .final(endsStream: false), &scratch)
                session.offer(slot, count: 5, isComplete: true)
            case .refused(let slot, _, _):
                try demand(open.insert(slot).inserted, "slot \(slot) is given twice")
                session.reset(slot, .refusedStream)
            case .answer(let slot, _): try demand(false, "a client answers on \(slot)")
            case .data(let slot, let range):
                try demand(open.contains(slot), "content of nobody")
                try demand(range.end <= piece.count && !range.isEmpty, "content that did not come")
                session.consume(slot, Int(range.count))
            case .trailers(let slot, let range):
                try demand(open.contains(slot), "trailers of nobody")
                try HeadLines.check(array(scratch.text.span(range)))
            case .end(let slot): try demand(open.contains(slot), "the end of nobody")
            case .closed(let slot):
                // One that broke a rule in its header section was nobody's yet.
                open.remove(slot)
                session.free(slot)
            }
        }
        scratch.clear()
    }

    /// The section of a request is a request line and whole lines, and nothing else.
    private func check(_ text: [UInt8], _ isWebSocket: Bool) throws {
        guard let end = text.firstIndex(of: 0x0D) else { throw Violation(description: "no request line") }
        let line = text[..<end]
        try demand(line.count { $0 == 0x20 } == 1, "spaces in \(String(decoding: line, as: UTF8.self))")
        try demand(line.allSatisfy { $0 > 0x1F && $0 < 0x7F }, "more than visible ASCII in the request line")
        try demand(text.suffix(2).elementsEqual([0x0D, 0x0A]), "no empty line")
        try HeadLines.check(Array(text[(end + 2)...].dropLast(2)))
        let bytes = text
        guard
            RequestSection.read(bytes.span, into: &head, silent: .untilClose, isWebSocket: isWebSocket) == nil
        else {
            return
        }
        try demand(head.byteCount == text.count, "\(head.byteCount) of \(text.count) bytes were read")
    }
}

/// Where the frames of a session go: each DATA frame is as long as the content that was offered, at most.
struct FrameSink: ~Copyable {
    private var pool = BlockPool(keptBytes: 0)
    private var output = Buffer()

    init() { output.attach(from: &pool, .medium) }

    mutating func close() { output.detach(to: &pool) }

    mutating func take(
        from session: inout HTTP2Session, _ scratch: inout HTTP2Scratch, content byteCount: Int
    ) throws {
        let content = [UInt8](repeating: UInt8(ascii: "c"), count: byteCount)
        var rounds = 0
        while session.makeFrames(&scratch, room: output.room) {
            for index in 0..<scratch.dataFrames.count {
                let frame = scratch.dataFrames[index]
                try demand((0...byteCount).contains(Int(frame.count)), "\(frame.count) bytes of \(byteCount)")
                _ = output.append(word: frame.header)
                _ = output.append(frame.lastHeaderByte)
                _ = output.append(content.span.extracting(first: Int(frame.count)))
            }
            scratch.clearDataFrames()
            session.takeFrame(into: &output)
            output.consume(output.count)
            rounds += 1
            try demand(rounds < 100_000, "frames without end")
        }
    }
}

/// Lines of a head that came over HTTP/2: each has a name that is a token, a value that stays in its line, and an end.
enum HeadLines {
    static func check(_ text: [UInt8]) throws {
        var start = 0
        while start < text.count {
            guard let end = text[start...].firstIndex(of: 0x0D), end + 1 < text.count, text[end + 1] == 0x0A
            else {
                throw Violation(description: "a line without an end")
            }
            let line = text[start..<end]
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
                throw Violation(description: "a line without a name")
            }
            try demand(line[..<colon].allSatisfy { ASCII.isToken($0) }, "a name that is none")
            try demand(
                line[colon...].allSatisfy { ASCII.isFieldValue($0) }, "a value that breaks out of its line")
            start = end + 2
        }
    }
}
