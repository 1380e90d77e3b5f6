import Bytes
import CNghttp2
import HTTP

@testable import HTTP2

/// What a session said, with its text copied.
enum Seen: Equatable {
    case request(Int32, String, isWebSocket: Bool)
    case answer(Int32, String)
    case refused(Int32, MessageFault, isHead: Bool)
    case data(Int32, String)
    case trailers(Int32, String)
    case end(Int32)
    case closed(Int32)
}

/// A frame by hand.
func frame(_ type: UInt8, _ flags: UInt8 = 0, _ stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    let size = UInt32(payload.count)
    return [
        UInt8(truncatingIfNeeded: size >> 16), UInt8(truncatingIfNeeded: size >> 8),
        UInt8(truncatingIfNeeded: size),
    ]
        + [type, flags]
        + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> $0) } + payload
}

/// Fields as literals that leave the table of HPACK as it is.
func block(_ fields: [(String, String)]) -> [UInt8] {
    var bytes: [UInt8] = []
    for (name, value) in fields {
        bytes +=
            [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
    }
    return bytes
}

func get(_ path: String, _ more: [(String, String)] = []) -> [(String, String)] {
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", path)] + more
}

let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
let data: UInt8 = 0
let headers: UInt8 = 1
let reset: UInt8 = 3
let settings: UInt8 = 4
let ping: UInt8 = 6
let goAway: UInt8 = 7
let windowUpdate: UInt8 = 8
let endStream: UInt8 = 1
let endHeaders: UInt8 = 4

/// A session and what a test needs around it: the bytes of its streams' outputs, and the frames that it has sent.
struct Peer: ~Copyable {
    var session: HTTP2Session
    var scratch = HTTP2Scratch()
    var pool = BlockPool(keptBytes: 1 << 20)
    var output = Buffer()
    /// Of each slot.
    var answers: [Int32: [UInt8]] = [:]
    var now: Int64 = 1_000_000

    struct NoMemory: Error {}

    init(
        limits: HTTP2Limits = HTTP2Limits(head: HeadLimits()), as role: HTTP2Role = .server,
        greets: Bool = true
    ) throws {
        guard let session = HTTP2Session(limits: limits, as: role, memory: HTTP2Memory(), now: 1_000_000)
        else {
            throw NoMemory()
        }
        self.session = session
        output.attach(from: &pool, .medium)
        guard greets else { return }
        _ = receive((role == .server ? preface : []) + frame(settings) + frame(settings, 1))
    }

    /// Gives the memory back.
    mutating func close() { output.detach(to: &pool) }

    /// Takes bytes in; nil where the session is over.
    mutating func receive(_ bytes: [UInt8]) -> [Seen]? {
        let goesOn = session.receive(bytes.span, &scratch, now: now)
        let seen = events(of: bytes)
        return goesOn ? seen : nil
    }

    private mutating func events(of bytes: [UInt8]) -> [Seen] {
        var seen: [Seen] = []
        for index in 0..<scratch.events.count {
            switch scratch.events[index] {
            case .request(let slot, let range, let isWebSocket):
                seen.append(.request(slot, text(range), isWebSocket: isWebSocket))
            case .answer(let slot, let range): seen.append(.answer(slot, text(range)))
            case .refused(let slot, let fault, let isHead): seen.append(.refused(slot, fault, isHead: isHead))
            case .data(let slot, let range):
                seen.append(.data(slot, String(decoding: bytes[range.bounds], as: UTF8.self)))
            case .trailers(let slot, let range): seen.append(.trailers(slot, text(range)))
            case .end(let slot): seen.append(.end(slot))
            case .closed(let slot):
                seen.append(.closed(slot))
                session.free(slot)
            }
        }
        scratch.clear()
        return seen
    }

    private func text(_ range: ByteRange) -> String {
        let bytes = scratch.text.span(range)
        return String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    }

    /// All frames that are ready, as type, flags, stream and payload.
    mutating func sent() -> [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] {
        var bytes: [UInt8] = []
        while session.makeFrames(&scratch, room: output.room) {
            for index in 0..<scratch.dataFrames.count {
                let frame = scratch.dataFrames[index]
                _ = output.append(word: frame.header)
                _ = output.append(frame.lastHeaderByte)
                let content = answers[frame.slot, default: []].prefix(Int(frame.count))
                answers[frame.slot]?.removeFirst(content.count)
                _ = output.append(Array(content).span)
            }
            scratch.clearDataFrames()
            session.takeFrame(into: &output)
            bytes += Self.take(&output)
        }
        _ = events(of: [])
        return Self.frames(bytes)
    }

    private static func take(_ output: inout Buffer) -> [UInt8] {
        let bytes = copy(output)
        output.consume(bytes.count)
        return bytes
    }

    private static func copy(_ output: borrowing Buffer) -> [UInt8] {
        let made = output.bytes
        return made.indices.map { made[$0] }
    }

    static func frames(_ bytes: [UInt8]) -> [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] {
        var found: [(type: UInt8, flags: UInt8, stream: UInt32, payload: [UInt8])] = []
        // A client's session begins with the preface.
        var offset = bytes.starts(with: preface) ? preface.count : 0
        while offset + 9 <= bytes.count {
            let size = Int(bytes[offset]) << 16 | Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2])
            let stream = bytes[(offset + 5)..<(offset + 9)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            found.append(
                (
                    bytes[offset + 3], bytes[offset + 4], stream,
                    Array(bytes[(offset + 9)..<(offset + 9 + size)])
                ))
            offset += 9 + size
        }
        return found
    }

    /// The code of the GOAWAY that is ready, or nil.
    mutating func goAwayCode() -> UInt32? {
        for frame in sent() where frame.type == goAway {
            return frame.payload[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        return nil
    }

    /// Answers with that body.
    mutating func answer(_ slot: Int32, _ body: String, isComplete: Bool = true) -> Bool {
        let head = Array("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-Id: 1\r\n\r\n".utf8)
        guard session.submitHead(slot, head.span, .final(endsStream: false), &scratch) != nil else {
            return false
        }
        answers[slot] = Array(body.utf8)
        session.offer(slot, count: body.utf8.count, isComplete: isComplete)
        return true
    }
}
