import Bytes
import Config
import Reactor
import TLS

/// One connection for one request after another: bytes of the socket become a response, through TLS where the URL says
/// so.
final class FetchConnection {
    private enum Phase { case connecting, handshaking, exchanging }

    /// Whom it talks to.
    let address: SocketAddress
    private let socket: Socket
    private var tls: TLSSession?
    private var phase = Phase.connecting
    /// It is not known yet whether anybody is there.
    var isConnecting: Bool { phase == .connecting }
    /// Whoever is there has not been asked yet: it may still be that it does not prove itself.
    var isBeforeRequest: Bool { phase != .exchanging }
    private var pool = BlockPool(keptBytes: 65_536)
    /// Bytes as they come from the socket.
    private var input = Buffer()
    /// Bytes as they go to the socket.
    private var output = Buffer()
    private var plaintext = Buffer()
    private var response = ResponseReader()
    private let request: [UInt8]
    /// What has come of the answer, in bytes of the socket.
    private var receivedBytes = 0
    /// The longest answer with all that is around it, in bytes: four times the largest document. A server that sends
    /// without end must not keep the control thread.
    private static let largestAnswerBytes = 4 * DocumentFetch.largestBodyBytes

    /// Starts to connect, to send `request` then. `context` says whom to trust, where the URL is secure.
    init(
        to address: SocketAddress, _ url: RemoteURL,
        trusting context: @autoclosure () throws(TLSError) -> TLSContext, sending request: [UInt8],
        _ poller: borrowing Poller, _ token: UInt64
    ) throws(FetchFailure) {
        self.address = address
        self.request = request
        if url.isSecure {
            do throws(TLSError) {
                tls = try TLSSession(client: context(), server: url.host, isAddress: url.hostIsAddress)
            } catch {
                throw FetchFailure("\(error)")
            }
        }
        do throws(Errno) {
            socket = try Socket.connecting(to: address)
            try poller.add(
                socket.descriptor, token: token, for: [.readable, .writable, .peerClosed, .edgeTriggered])
        } catch {
            throw FetchFailure("cannot connect to \(address): \(error)", mayHelpToTryAnother: true)
        }
    }

    deinit {
        input.detach(to: &pool)
        output.detach(to: &pool)
        plaintext.detach(to: &pool)
    }

    /// Sends a further request after a whole response, where that allows it; the answer comes by `advance`.
    func send(next request: [UInt8]) throws(FetchFailure) {
        response = ResponseReader()
        receivedBytes = 0
        try send(request)
    }

    /// True where the server has said nothing since its last answer: what it says unasked is no answer to what is asked
    /// next.
    var isQuiet: Bool { socket.isQuiet() }

    /// The request for a document, after which the connection ends.
    static func request(_ url: RemoteURL) -> [UInt8] {
        Array(
            ("GET \(url.target) HTTP/1.1\r\nHost: \(url.authority)\r\nUser-Agent: usher/\(Version.usher)\r\n"
                + "Accept: application/jwk-set+json, application/json\r\nAccept-Encoding: identity\r\n"
                + "Connection: close\r\n\r\n").utf8)
    }

    /// Does all that can be done now; the response when it is complete, nil while it is not.
    func advance() throws(FetchFailure) -> FetchAnswer? {
        if phase == .connecting { try finishConnecting() }
        try flush()
        while true {
            switch receive() {
            case .wouldBlock: return nil
            case .failed(let error): throw FetchFailure("the connection broke: \(error)")
            case .endOfStream: return try response.endOfInput(isAuthentic: tls == nil)
            case .bytes(let count):
                receivedBytes += count
                guard receivedBytes <= Self.largestAnswerBytes else {
                    throw FetchFailure("the answer has no end")
                }
                if let answer = try take() { return answer }
            }
        }
    }

    /// The first event of the socket tells how the connect went.
    private func finishConnecting() throws(FetchFailure) {
        if let error = socket.pendingError() {
            throw FetchFailure("cannot connect to \(address): \(error)", mayHelpToTryAnother: true)
        }
        if tls != nil {
            phase = .handshaking
            try shakeHands()
        } else {
            phase = .exchanging
            try send(request)
        }
    }

    private func shakeHands() throws(FetchFailure) {
        switch tls?.handshake() {
        case .needsInput: break
        case .failed(let error): throw FetchFailure("\(error)")
        case .ended, nil: throw FetchFailure("TLS failed: the server ended it")
        case .done:
            phase = .exchanging
            try send(request)
        }
    }

    private func send(_ bytes: [UInt8]) throws(FetchFailure) {
        if case .failed(let error) = tls?.write(bytes.span) { throw FetchFailure("\(error)") }
        guard tls == nil else { return }
        output.detachIfEmpty(to: &pool)
        output.attach(from: &pool, BlockPool.SizeClass.holding(bytes.count) ?? .large)
        guard output.append(bytes.span) else { throw FetchFailure("the request is too long") }
    }

    /// Sends what waits, as much as the socket takes; an event comes when it takes more.
    private func flush() throws(FetchFailure) {
        while true {
            output.attach(from: &pool)
            output.compact()
            if output.room > 0 { tls?.takeOutput(into: &output) }
            guard !output.isEmpty else { return }
            switch socket.send(output.bytes) {
            case .bytes(let count): output.consume(count)
            case .wouldBlock: return
            case .endOfStream: return
            // A refusal in the middle of a handshake is explained by an alert that is still to be read.
            case .failed: return output.consume(output.count)
            }
        }
    }

    private func receive() -> IOResult {
        input.attach(from: &pool)
        return socket.receive(into: &input)
    }

    /// Makes what is in the input part of the response.
    private func take() throws(FetchFailure) -> FetchAnswer? {
        guard tls != nil else {
            let answer = try Self.feed(&response, input)
            input.consume(input.count)
            return answer
        }
        guard tls?.receive(input.bytes) ?? false else { throw FetchFailure("out of memory") }
        input.consume(input.count)
        if phase == .handshaking { try shakeHands() }
        let answer = phase == .exchanging ? try decrypt() : nil
        try flush()
        return answer
    }

    private static func feed(
        _ response: inout ResponseReader, _ bytes: borrowing Buffer
    ) throws(FetchFailure) -> FetchAnswer? {
        try response.take(bytes.bytes)
    }

    private func decrypt() throws(FetchFailure) -> FetchAnswer? {
        while true {
            plaintext.attach(from: &pool)
            switch tls?.read(into: &plaintext) {
            case .done:
                let answer = try Self.feed(&response, plaintext)
                plaintext.consume(plaintext.count)
                if var answer {
                    if !hasReadAll() { answer.isPersistent = false }
                    return answer
                }
            case .needsInput, nil: return nil
            // The server vouches for the end; without that, a body without a length may have been cut (RFC 9112 §9.8).
            case .ended: return try response.endOfInput(isAuthentic: true)
            case .failed(let error): throw FetchFailure("\(error)")
            }
        }
    }

    /// True where nothing follows what was decrypted so far.
    private func hasReadAll() -> Bool {
        if case .needsInput = tls?.read(into: &plaintext) { return true }
        return false
    }
}

/// Why a fetch cannot go on.
struct FetchFailure: Error {
    let reason: String
    /// Another address of the same name may do better.
    var mayHelpToTryAnother = false

    init(_ reason: String, mayHelpToTryAnother: Bool = false) {
        self.reason = reason
        self.mayHelpToTryAnother = mayHelpToTryAnother
    }
}
