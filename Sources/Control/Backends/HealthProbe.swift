import Bytes
import HTTP
import HTTP1
import Reactor
import Upstream

/// One health check on the control loop: connects, by TLS where requests do, asks for the page, reads the head of the
/// answer.
///
/// Each has a connection of its own: that the server takes connections is half of the question.
final class HealthProbe {
    enum Outcome: Equatable {
        /// The status was 2xx.
        case passed
        /// Why not, as words for the log.
        case failed(String)
    }

    /// What the poller's events carry.
    let token: UInt64
    let deadline: Instant
    private var connection: ServerConnection
    private let request: [UInt8]
    private var sent = 0
    private var pool = BlockPool(keptBytes: 0)
    private var input = Buffer()
    /// What has come, in bytes of the socket.
    private var receivedBytes = 0
    /// The most of it that the control thread reads for a status, in bytes: heads, and over HTTP/2 a window of content.
    private static let largestAnswerBytes = 262_144
    private var parser = ResponseHeadParser()
    /// The request, where the server speaks HTTP/2.
    private var check: HTTP2Check?
    private let speaksHTTP2: Bool
    private var output = Buffer()
    private var head = ResponseHead(fieldCapacity: HealthProbe.limits.fieldCount)

    private static var limits: HeadLimits { HeadLimits() }

    /// Starts to connect; throws the kernel's reason. Without `security` the connection is plain.
    init(
        _ server: ServerSettings, _ settings: HealthSettings, _ security: ServerSecurity?, token: UInt64,
        _ poller: borrowing Poller, _ now: Instant
    ) throws(Errno) {
        self.token = token
        speaksHTTP2 = settings.speaksHTTP2
        if speaksHTTP2 {
            check = HTTP2Check(
                path: settings.path, authority: server.authority,
                agent: "usher/\(Version.usher) (health check)", isSecure: security != nil,
                now: now.microseconds)
        }
        deadline = now.advanced(byMilliseconds: settings.timeoutMilliseconds)
        request = Array(
            ("GET \(settings.path) HTTP/1.1\r\nHost: \(server.authority)\r\n"
                + "User-Agent: usher/\(Version.usher) (health check)\r\nConnection: close\r\n\r\n").utf8)
        connection = try ServerConnection(to: server.address, security)
        try poller.add(
            connection.descriptor, token: token, for: [.readable, .writable, .peerClosed, .edgeTriggered])
    }

    deinit {
        connection.sayGoodbye()
        input.detach(to: &pool)
        output.detach(to: &pool)
    }

    /// Goes on as far as the connection is ready; nil while it is under way.
    func advance() -> Outcome? {
        switch connection.establish() {
        case .ready: break
        case .pending: return nil
        case .unreachable(let reason), .unproven(let reason): return .failed(reason)
        }
        if speaksHTTP2 {
            return connection.agreesOnHTTP2 ? exchangeFrames() : .failed("no agreement on HTTP/2 (ALPN)")
        }
        let request = request
        while sent < request.count {
            switch connection.send(request.span.extracting(sent...)) {
            case .bytes(let count): sent += count
            case .wouldBlock: return nil
            case .endOfStream: return .failed("the connection ended")
            case .failed(let error): return .failed("\(error)")
            }
        }
        return receive()
    }

    private func receive() -> Outcome? {
        while true {
            input.attach(from: &pool)
            guard input.room > 0 else { return .failed("the answer's head is too large") }
            switch connection.receive(into: &input) {
            case .wouldBlock: return nil
            case .endOfStream: return .failed("the connection ended without an answer")
            case .failed(let error): return .failed("\(error)")
            case .bytes(let count):
                guard mayGoOn(behind: count) else { return .failed("the answer has no end") }
                if let outcome = readHead() { return outcome }
            }
        }
    }

    /// Counts what has come; false where it is too much.
    private func mayGoOn(behind count: Int) -> Bool {
        receivedBytes += count
        return receivedBytes <= Self.largestAnswerBytes
    }

    // MARK: HTTP/2

    private func exchangeFrames() -> Outcome? {
        while true {
            if let stop = sendFrames() { return stop }
            input.attach(from: &pool)
            switch connection.receive(into: &input) {
            case .wouldBlock: return nil
            case .endOfStream: return .failed("the connection ended without an answer")
            case .failed(let error): return .failed("\(error)")
            case .bytes(let count):
                guard mayGoOn(behind: count) else { return .failed("the answer has no end") }
                Self.receive(&check, input)
                input.detach(to: &pool)
                if let status = check?.status {
                    return status / 100 == 2 ? .passed : .failed("status \(status)")
                }
                if check?.isOver ?? true { return .failed("the answer is not HTTP/2") }
            }
        }
    }

    /// Sends what there is to be sent; nil to go on, also where the kernel takes no more for now.
    private func sendFrames() -> Outcome? {
        while true {
            if output.isEmpty {
                output.detach(to: &pool)
                output.attach(from: &pool, .medium)
                check?.makeOutput(&output)
            }
            guard !output.isEmpty else { return nil }
            switch connection.send(output.bytes) {
            case .bytes(let count): output.consume(count)
            case .wouldBlock: return nil
            case .endOfStream: return .failed("the connection ended")
            case .failed(let error): return .failed("\(error)")
            }
        }
    }

    private static func receive(_ check: inout HTTP2Check?, _ input: borrowing Buffer) {
        check?.receive(input.bytes, now: 0)
    }

    private func readHead() -> Outcome? {
        while true {
            switch Self.parse(&parser, input, into: &head) {
            case .incomplete: return nil
            case .refused(let fault): return .failed("the answer is not HTTP: \(fault)")
            case .complete: break
            }
            guard head.isInformational else { break }
            input.consume(head.byteCount)
            parser = ResponseHeadParser()
        }
        return head.status / 100 == 2 ? .passed : .failed("status \(head.status)")
    }

    private static func parse(
        _ parser: inout ResponseHeadParser, _ input: borrowing Buffer, into head: inout ResponseHead
    ) -> HeadParseResult {
        parser.parse(input.bytes, into: &head, requestMethod: .get, limits: limits)
    }
}
