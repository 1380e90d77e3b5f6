import Bytes
import Reactor

/// One request over HTTP/1.1, or HTTP/2 where the server speaks that, through TLS where that is wanted, and its whole
/// answer, for commands: it waits.
struct WaitingProbe {
    /// What came back.
    struct Answer: Equatable {
        var status: Int
        /// Field lines, names in lower case.
        var fields: [(name: String, value: String)]
        var body: [UInt8]

        static func == (left: Answer, right: Answer) -> Bool {
            left.status == right.status && left.body == right.body
        }

        func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }
    }

    /// Why there is no answer.
    enum Failure: Error, Equatable {
        /// No connection, for that reason.
        case unreachable(String)
        /// A connection, but nobody who proves to be the server, for that reason.
        case unproven(String)
        /// A connection, but no answer that could be read.
        case noAnswer(String)

        var reason: String {
            switch self {
            case .unreachable(let reason), .unproven(let reason), .noAnswer(let reason): reason
            }
        }
    }

    let address: SocketAddress
    let host: String
    var security: ServerSecurity?
    var speaksHTTP2 = false
    var timeoutMilliseconds: Int64 = 3000
    /// What is read of an answer; more does not matter for a comparison.
    private static let answerBytes = 65_536

    /// Sees whether the address takes connections.
    func connect() throws(Failure) {
        _ = try exchange(nil, "")
    }

    /// Asks for a target, which is sent as it stands.
    func get(_ target: String, _ fields: String = "") throws(Failure) -> Answer {
        try Self.parse(try exchange(target, "Accept: */*\r\n\(fields)"))
    }

    private func exchange(_ target: String?, _ fields: String) throws(Failure) -> [UInt8] {
        let deadline = Instant.now().advanced(byMilliseconds: timeoutMilliseconds)
        var poller = try Self.system { () throws(Errno) in try Poller() }
        var connection = try Self.system { () throws(Errno) in
            try ServerConnection(to: address, security)
        }
        try Self.system { () throws(Errno) in
            try poller.add(
                connection.descriptor, token: 0, for: [.readable, .writable, .peerClosed, .edgeTriggered])
        }
        try Self.establish(&connection, &poller, deadline)
        guard let target else { return [] }
        let answer =
            try speaksHTTP2
            ? exchangeFrames(target, fields, &connection, &poller, deadline)
            : exchangeText(target, fields, &connection, &poller, deadline)
        connection.sayGoodbye()
        return answer
    }

    private func exchangeText(
        _ target: String, _ fields: String, _ connection: inout ServerConnection, _ poller: inout Poller,
        _ deadline: Instant
    ) throws(Failure) -> [UInt8] {
        let text =
            "GET \(target) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: usher-doctor\r\n\(fields)Connection: close\r\n\r\n"
        let request = Array(text.utf8)
        // A request this short fits the socket's empty buffer whole.
        guard connection.send(request.span) == .bytes(request.count) else {
            throw .noAnswer("the request could not be sent")
        }
        return try Self.receive(&connection, &poller, deadline)
    }

    private static func establish(
        _ connection: inout ServerConnection, _ poller: inout Poller, _ deadline: Instant
    ) throws(Failure) {
        guard poller.waitForEvent(until: deadline) else { throw .unreachable("no connection in time") }
        while true {
            switch connection.establish() {
            case .ready: return
            case .unreachable(let reason): throw .unreachable(reason)
            case .unproven(let reason): throw .unproven(reason)
            case .pending:
                guard poller.waitForEvent(until: deadline) else { throw .unproven("TLS: no answer in time") }
            }
        }
    }

    private static func receive(
        _ connection: inout ServerConnection, _ poller: inout Poller, _ deadline: Instant
    ) throws(Failure) -> [UInt8] {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        defer { buffer.detach(to: &pool) }
        var bytes: [UInt8] = []
        while bytes.count < answerBytes {
            buffer.attach(from: &pool)
            switch connection.receive(into: &buffer) {
            case .bytes:
                for index in 0..<buffer.count { bytes.append(buffer.bytes[index]) }
                buffer.consume(buffer.count)
                buffer.detach(to: &pool)
                // Some servers keep the connection, whatever they are asked.
                if isWhole(bytes) { return bytes }
            case .wouldBlock:
                guard poller.waitForEvent(until: deadline) else { throw .noAnswer("no answer in time") }
            // Many servers end TLS without a word; what they said before is enough to judge them by.
            case .failed where !bytes.isEmpty: return bytes
            case .failed(let error): throw .noAnswer("\(error)")
            case .endOfStream: return bytes
            }
        }
        return bytes
    }

    /// True where the answer has as much of a body as it announces.
    static func isWhole(_ bytes: [UInt8]) -> Bool {
        guard let answer = try? parse(bytes) else { return false }
        guard let length = answer.field("content-length").flatMap({ Int($0) }) else { return false }
        return answer.body.count >= length
    }

    /// The parts of an answer; the framing of its body stays in it, which is alike for alike answers.
    static func parse(_ bytes: [UInt8]) throws(Failure) -> Answer {
        var end = 0
        while end + 3 < bytes.count, bytes[end..<end + 4] != [0x0d, 0x0a, 0x0d, 0x0a] { end += 1 }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        guard end + 3 < bytes.count, let words = lines.first?.split(separator: " "), words.count >= 2,
            words[0].hasPrefix("HTTP/1."), let status = Int(words[1])
        else { throw .noAnswer("the answer is not HTTP/1.1") }
        let fields = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            return (line[..<colon].lowercased(), String(value))
        }
        return Answer(status: status, fields: fields, body: Array(bytes[(end + 4)...]))
    }

    private static func system<Value: ~Copyable>(
        _ call: () throws(Errno) -> Value
    ) throws(Failure) -> Value {
        do throws(Errno) { return try call() } catch { throw .unreachable("\(error)") }
    }
}
