import Bytes
import HTTP
import HTTP2

/// The one request of a health check, where the server speaks HTTP/2: bytes in and out, and the status at the end.
struct HTTP2Check: ~Copyable {
    private var session: HTTP2Session
    private var scratch = HTTP2Scratch()
    /// The answer's status, once it is there.
    private(set) var status: Int?
    /// The server gives no answer.
    private(set) var isOver = false

    /// Asks for that path; nil where memory is short.
    init?(path: String, authority: String, agent: String, isSecure: Bool, now: Int64) {
        guard var session = HTTP2Session(limits: HTTP2Limits(head: HeadLimits()), as: .client, now: now)
        else {
            return nil
        }
        let head = Array("GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: \(agent)\r\n\r\n".utf8)
        let slot = session.submitRequest(
            head.span, isSecure: isSecure, takesTrailers: false, endsStream: true, owner: .none)
        guard slot != nil else { return nil }
        self.session = session
    }

    /// Adds what is to be sent to the output, which has 64 KiB of room.
    mutating func makeOutput(_ output: inout Buffer) {
        while output.room > HTTP2Session.frameBytes, session.makeFrames(&scratch, room: output.room) {
            session.takeFrame(into: &output)
        }
    }

    /// Takes in what was received.
    mutating func receive(_ bytes: Span<UInt8>, now: Int64) {
        if !session.receive(bytes, &scratch, now: now) { isOver = true }
        var place = 0
        while place < scratch.events.count {
            note(scratch.events[place])
            place += 1
        }
        scratch.clear()
    }

    private mutating func note(_ event: HTTP2Event) {
        switch event {
        case .answer(_, let text):
            let number = Self.status(of: scratch.text.span(text))
            if number >= 200, status == nil { status = number }
        case .closed: isOver = true
        case .request, .refused, .data, .trailers, .end: break
        }
    }

    /// What stands behind `HTTP/1.1 `.
    private static func status(of line: Span<UInt8>) -> Int {
        var number = 0
        for place in 9..<12 { number = number * 10 + Int(line[place] - 0x30) }
        return number
    }
}
