import Bytes
import Proxy
import Reactor
import TLS

/// How the control thread proves whom it talks to at a server of an upstream: as the workers do, by the same
/// authorities and the same name.
struct ServerSecurity {
    let context: TLSClientContext
    let name: ServerName

    /// The name that the upstream demands, else that by which the configuration names the server.
    init(_ context: TLSClientContext, authority: String) {
        self.context = context
        name = context.settings.serverName.map { ServerName(host: $0) } ?? ServerName(authority: authority)
    }
}

/// A connection of the control thread to a server of an upstream, through TLS where its upstream says so.
///
/// Nothing here blocks: whoever has it watches the descriptor for both directions, edge-triggered, and goes on until a
/// call says that it would block.
struct ServerConnection: ~Copyable {
    /// What came of getting ready for a request.
    enum Step: Equatable {
        /// Bytes can be sent.
        case ready
        /// An event of the descriptor is needed.
        case pending
        /// There is no connection: why, as words for the log.
        case unreachable(String)
        /// Somebody is there who has not proven to be the server.
        case unproven(String)
    }

    private enum Phase { case connecting, handshaking, open }

    private let socket: Socket
    private let security: ServerSecurity?
    private var tls: TLSConnection?
    private var phase = Phase.connecting

    /// Starts to connect; throws the kernel's reason.
    init(to address: SocketAddress, _ security: ServerSecurity?) throws(Errno) {
        self.security = security
        socket = try Socket.connecting(to: address)
    }

    /// What the poller is to watch.
    var descriptor: Int32 { socket.descriptor }

    /// Goes on with the connect and the handshake. Call it after the descriptor's first event.
    mutating func establish() -> Step {
        if phase == .connecting {
            if let error = socket.pendingError() { return .unreachable("\(error)") }
            guard beginHandshake() else { return .unproven("TLS cannot begin: the name or the memory") }
        }
        guard phase == .handshaking else { return .ready }
        switch tls?.shakeHands() {
        case .done:
            phase = .open
            return .ready
        case .needsInput, .needsRoom: return .pending
        case .failed(let error): return .unproven("TLS: \(error)")
        case nil: return .unproven("TLS: out of memory")
        }
    }

    /// True where HTTP/2 may be spoken: without TLS it is known, with TLS it was agreed on.
    var agreesOnHTTP2: Bool {
        switch tls {
        case .some(let session): session.isHTTP2
        case .none: true
        }
    }

    /// False where the connection cannot be secured as it should.
    private mutating func beginHandshake() -> Bool {
        guard let security else {
            phase = .open
            return true
        }
        phase = .handshaking
        // No session is taken up again: each check sees the server's certificate as it is now.
        tls = TLSConnection(
            client: security.context, descriptor: socket.descriptor, server: security.name.host,
            isAddress: security.name.isAddress, number: -1)
        return tls != nil
    }

    /// Sends bytes, at least one; fewer than all may go through, and the rest must be offered again.
    mutating func send(_ bytes: Span<UInt8>) -> IOResult {
        guard security != nil else { return socket.send(bytes) }
        return switch tls?.write(bytes) {
        case .bytes(let count): .bytes(count)
        case .needsRoom: .wouldBlock
        case .needsInput, .ended, .failed, nil: .failed(.connectionReset)
        }
    }

    /// Reads into the room of `buffer`, which has some.
    mutating func receive(into buffer: inout Buffer) -> IOResult {
        guard security != nil else { return socket.receive(into: &buffer) }
        return switch tls?.read(into: &buffer) {
        case .bytes(let count): .bytes(count)
        case .needsInput, .needsRoom: .wouldBlock
        case .ended: .endOfStream
        case .failed, nil: .failed(.connectionReset)
        }
    }

    /// Tells the server that nothing follows: one that hears no goodbye takes it for an attack, and logs it.
    mutating func sayGoodbye() { tls?.close() }
}
