import Bytes
import HTTP
import HTTP2

/// One GET where the server speaks HTTP/2: bytes in and out, and the answer at the end.
struct HTTP2Check: ~Copyable {
    private var session: HTTP2Session
    private var scratch = HTTP2Scratch()
    /// The answer's status, once it is there.
    private(set) var status: Int?
    /// The answer's head, as text of HTTP/1.1.
    private(set) var head: [UInt8] = []
    /// What has come of its content, which is no more than one window: none is given back.
    private(set) var body: [UInt8] = []
    /// The answer is there to its end.
    private(set) var isComplete = false
    /// The server gives no answer.
    private(set) var isOver = false

    /// Asks for that path; nil where memory is short.
    ///
    /// - Parameter fields: further field lines, each with CRLF.
    init?(path: String, authority: String, agent: String, fields: String = "", isSecure: Bool, now: Int64) {
        let limits = HTTP2Limits(head: HeadLimits())
        guard var session = HTTP2Session(limits: limits, as: .client, memory: HTTP2Memory(), now: now) else {
            return nil
        }
        let head = "GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: \(agent)\r\n\(fields)\r\n"
        var form = HTTP2RequestForm(isSecure: isSecure)
        form.endsStream = true
        let slot = session.submitRequest(Array(head.utf8).span, form, owner: .none, &scratch)
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
            note(scratch.events[place], bytes)
            place += 1
        }
        scratch.clear()
    }

    private mutating func note(_ event: HTTP2Event, _ bytes: Span<UInt8>) {
        switch event {
        case .answer(_, let text):
            let number = Self.status(of: scratch.text.span(text))
            guard number >= 200, status == nil else { return }
            status = number
            head = Self.copy(scratch.text.span(text))
        case .data(_, let range):
            for index in range.bounds { body.append(bytes[index]) }
        case .end: isComplete = true
        case .closed: isOver = true
        case .request, .refused, .trailers: break
        }
    }

    private static func copy(_ text: Span<UInt8>) -> [UInt8] { text.indices.map { text[$0] } }

    /// What stands behind `HTTP/1.1 `.
    private static func status(of line: Span<UInt8>) -> Int {
        var number = 0
        for place in 9..<12 { number = number * 10 + Int(line[place] - 0x30) }
        return number
    }
}
