import Bytes
import HTTP2
import Reactor

// The question of a command to a server that speaks HTTP/2.

extension WaitingProbe {
    /// Asks, and waits for the whole answer, as text of HTTP/1.1.
    func exchangeFrames(
        _ target: String, _ fields: String, _ connection: inout ServerConnection, _ poller: inout Poller,
        _ deadline: Instant
    ) throws(Failure) -> [UInt8] {
        guard connection.agreesOnHTTP2 else { throw .noAnswer("it does not agree on HTTP/2 (ALPN)") }
        let check = HTTP2Check(
            path: target, authority: host, agent: "usher-doctor", fields: fields, isSecure: security != nil,
            now: 0)
        guard var check else { throw .noAnswer("memory is short") }
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        defer { buffer.detach(to: &pool) }
        while true {
            buffer.attach(from: &pool, .medium)
            check.makeOutput(&buffer)
            try Self.send(&buffer, &connection, &poller, deadline)
            buffer.detach(to: &pool)
            buffer.attach(from: &pool)
            switch connection.receive(into: &buffer) {
            case .bytes: Self.receive(&check, buffer)
            case .wouldBlock:
                guard poller.waitForEvent(until: deadline) else { throw .noAnswer("no answer in time") }
            case .failed(let error): throw .noAnswer("\(error)")
            case .endOfStream: throw .noAnswer("the connection ended without an answer of HTTP/2")
            }
            buffer.detach(to: &pool)
            // No window is given back: what fills it is all that comes, and enough to judge by.
            let isEnough = check.isComplete || check.body.count >= HTTP2Limits.streamWindowBytes
            if isEnough, check.status != nil { return check.head + check.body }
            if check.isOver { throw .noAnswer("the answer is not HTTP/2") }
        }
    }

    private static func receive(_ check: inout HTTP2Check, _ input: borrowing Buffer) {
        check.receive(input.bytes, now: 0)
    }

    private static func send(
        _ output: inout Buffer, _ connection: inout ServerConnection, _ poller: inout Poller,
        _ deadline: Instant
    ) throws(Failure) {
        while !output.isEmpty {
            switch connection.send(output.bytes) {
            case .bytes(let count): output.consume(count)
            case .wouldBlock:
                guard poller.waitForEvent(until: deadline) else {
                    throw .noAnswer("the request could not be sent")
                }
            case .endOfStream, .failed: throw .noAnswer("the request could not be sent")
            }
        }
    }
}
