internal import Bytes
internal import Policy
internal import Reactor
internal import Telemetry

// Step 1b: where the listener says so, a connection begins with a PROXY header, and is its source's from then on.

extension Worker {
    /// True for those who may say whose connection it is: trusted proxies, and whoever may open the Unix socket, which
    /// its file's permissions decide.
    func mayGreet(_ peer: PeerFacts) -> Bool { peer.address.isNone || policy.trusts(peer) }

    /// Reads the header; what is none, or comes too slowly, ends the connection without a word.
    mutating func readProxyHeader(_ client: UInt32) {
        while true {
            switch clients[client].readProxyHeader() {
            case .header(let byteCount, let source):
                clients[client].transport.input.consume(byteCount)
                return welcome(client, from: source)
            case .malformed:
                return closeClient(client)
            case .incomplete:
                guard readMoreProxyHeader(client) else { return }
            }
        }
    }

    /// Reads more; false where nothing came, or the connection is gone.
    private mutating func readMoreProxyHeader(_ client: UInt32) -> Bool {
        guard clients[client].transport.isReadable else { return false }
        clients[client].transport.input.compact()
        switch clients[client].transport.fill(from: &pool) {
        case .bytes:
            return true
        case .wouldBlock:
            return false
        case .endOfStream, .failed:
            closeClient(client)
            return false
        }
    }

    /// The connection is the source's, and one of those that it may have; its first request may be here already.
    private mutating func welcome(_ client: UInt32, from source: IPAddress?) {
        if let source {
            clients[client].peer = PeerFacts(
                address: source, listener: clients[client].peer.listener,
                isSecure: clients[client].peer.isSecure)
            guard isAdmitted(client) else { return }
        }
        if let security = securities[clients[client].peer.listener] {
            return beginHandshake(client, security)
        }
        clients[client].phase = firstPhase(at: clients[client].peer.listener)
        // From here on it is as if it had just been accepted: the header's own time is over.
        clientDeadlines.set(client, now.advanced(byMilliseconds: limits.idleTimeoutMilliseconds))
        clients[client].transport.input.detachIfEmpty(to: &pool)
        advanceClient(client)
    }
}
