import Bytes
import Reactor
import Redis
import TLS

/// Why there is no connection to the shared store; one line for a log.
struct StoreFailure: Error {
    let reason: String
}

/// One connection to the shared store: bytes of the socket become replies, through TLS where the address says so.
final class StoreLine {
    private enum Phase { case connecting, handshaking, open }

    /// What waits to be sent at most, in bytes: a server that takes no more is none.
    private static let largestBacklog = 8 << 20
    /// What the server sends at most without a reply in it, in bytes: more than its handshake takes, or a reply with TLS around it.
    /// Who sends without end must not keep the thread, which reads until there is nothing.
    private static let (largestHandshake, largestReply) = (1 << 18, 8 << 20)

    let address: SocketAddress
    let token: UInt64
    private let socket: Socket
    private var tls: TLSSession?
    private var phase = Phase.connecting
    private var session: RedisSession
    private var pool = BlockPool(keptBytes: 1 << 19)
    private var input = Buffer()
    private var output = Buffer()
    private var plaintext = Buffer()
    /// What is to be sent and not yet in `output` or TLS.
    private var backlog: [UInt8] = []
    /// What has come since the last reply, in bytes of the socket.
    private var unansweredBytes = 0

    /// Starts to connect.
    init(
        to address: SocketAddress, _ session: RedisSession, secured context: TLSContext?, host: String,
        isAddress: Bool, _ poller: borrowing Poller, _ token: UInt64
    ) throws(StoreFailure) {
        self.address = address
        self.token = token
        self.session = session
        do throws(TLSError) {
            tls = try context.map { (context) throws(TLSError) in
                try TLSSession(client: context, server: host, isAddress: isAddress)
            }
        } catch {
            throw StoreFailure(reason: "\(error)")
        }
        do throws(Errno) {
            socket = try Socket.connecting(to: address)
            try poller.add(
                socket.descriptor, token: token, for: [.readable, .writable, .peerClosed, .edgeTriggered])
        } catch {
            throw StoreFailure(reason: "cannot connect: \(error)")
        }
    }

    deinit {
        input.detach(to: &pool)
        output.detach(to: &pool)
        plaintext.detach(to: &pool)
    }

    /// True once calls can be made.
    var isReady: Bool { session.isReady }

    /// Calls a script; false where that cannot be now. `flush` sends it.
    func call(_ script: StoreScript, keys: [[UInt8]], arguments: [[UInt8]], tag: UInt64) -> Bool {
        session.call(script.rawValue, keys: keys, arguments: arguments, tag: tag)
    }

    /// Does all that can be done now; the replies that are whole.
    func advance() throws(StoreFailure) -> [(tag: UInt64, reply: RedisReply)] {
        if phase == .connecting { try finishConnecting() }
        try flush()
        var replies: [(tag: UInt64, reply: RedisReply)] = []
        while true {
            input.attach(from: &pool)
            switch socket.receive(into: &input) {
            case .wouldBlock:
                input.detachIfEmpty(to: &pool)
                // The login's next step, or a script that was forgotten.
                try flush()
                return replies
            case .failed(let error): throw StoreFailure(reason: "the connection broke: \(error)")
            case .endOfStream: throw StoreFailure(reason: "the server closed the connection")
            case .bytes(let count):
                let whole = try take()
                unansweredBytes = whole.isEmpty ? unansweredBytes + count : 0
                guard unansweredBytes <= (isReady ? Self.largestReply : Self.largestHandshake) else {
                    throw StoreFailure(reason: "the server sends without end")
                }
                replies += whole
            }
        }
    }

    /// Sends what is to be sent, as much as the socket takes; an event comes when it takes more.
    func flush() throws(StoreFailure) {
        guard phase != .connecting else { return }
        if phase == .open { backlog += session.takeOutput() }
        guard backlog.count <= Self.largestBacklog else {
            throw StoreFailure(reason: "the server does not read what it is sent")
        }
        while true {
            try fillOutput()
            guard !output.isEmpty else { return output.detachIfEmpty(to: &pool) }
            switch socket.send(output.bytes) {
            case .bytes(let count): output.consume(count)
            case .wouldBlock: return
            case .endOfStream, .failed: throw StoreFailure(reason: "the connection broke")
            }
        }
    }

    private func fillOutput() throws(StoreFailure) {
        output.attach(from: &pool)
        output.compact()
        if tls != nil {
            if phase == .open, !backlog.isEmpty {
                if case .failed(let error) = tls?.write(backlog.span) {
                    throw StoreFailure(reason: "\(error)")
                }
                backlog = []
            }
            if output.room > 0 { tls?.takeOutput(into: &output) }
            return
        }
        let count = min(output.room, backlog.count)
        guard count > 0, output.append(backlog.span.extracting(0..<count)) else { return }
        backlog.removeFirst(count)
    }

    /// The first event of the socket tells how the connect went.
    private func finishConnecting() throws(StoreFailure) {
        if let error = socket.pendingError() { throw StoreFailure(reason: "cannot connect: \(error)") }
        phase = tls == nil ? .open : .handshaking
        if phase == .handshaking { try shakeHands() }
    }

    private func shakeHands() throws(StoreFailure) {
        switch tls?.handshake() {
        case .needsInput: break
        case .failed(let error): throw StoreFailure(reason: "\(error)")
        case .ended, nil: throw StoreFailure(reason: "TLS failed: the server ended it")
        case .done: phase = .open
        }
    }

    private func take() throws(StoreFailure) -> [(tag: UInt64, reply: RedisReply)] {
        guard tls != nil else {
            defer { input.consume(input.count) }
            return try Self.feed(&session, input)
        }
        guard tls?.receive(input.bytes) ?? false else { throw StoreFailure(reason: "out of memory") }
        input.consume(input.count)
        if phase == .handshaking { try shakeHands() }
        var replies: [(tag: UInt64, reply: RedisReply)] = []
        while phase == .open {
            plaintext.attach(from: &pool)
            switch tls?.read(into: &plaintext) {
            case .done:
                replies += try Self.feed(&session, plaintext)
                plaintext.consume(plaintext.count)
                continue
            case .needsInput, nil: break
            case .ended: throw StoreFailure(reason: "the server closed the connection")
            case .failed(let error): throw StoreFailure(reason: "\(error)")
            }
            break
        }
        try flush()
        return replies
    }

    private static func feed(
        _ session: inout RedisSession, _ bytes: borrowing Buffer
    ) throws(StoreFailure) -> [(tag: UInt64, reply: RedisReply)] {
        do throws(RedisFault) {
            return try session.receive(bytes.bytes)
        } catch {
            throw StoreFailure(reason: "\(error)")
        }
    }
}
