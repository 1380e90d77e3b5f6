internal import Bytes
internal import Policy
internal import Reactor
internal import Telemetry

// Step 1: a client connects.

extension Worker {
    /// Connections taken at once, before others have their turn.
    private static var acceptsPerTurn: Int { 64 }
    /// How long accepting rests when the system has no descriptor left: long enough not to spin.
    private static var exhaustionPauseMilliseconds: Int64 { 100 }

    /// Takes the connections that wait at a listener.
    mutating func acceptClients(_ listener: Handle) {
        for number in 0..<Self.acceptsPerTurn {
            guard hasSlot, !pool.isSpent || findsMemory(), ledger.all.take(below: clientLimit) else {
                // Somebody is there, or this would not have been called; behind the first one perhaps nobody.
                if number == 0 { counters.add(1, to: .connectionsRefused) }
                return pauseAccepting()
            }
            switch listeners[listener.index].listener.accept() {
            case .connection(let socket, let address):
                welcome(socket, from: address, at: listener)
            case .aborted:
                ledger.all.giveBack()
            case .none:
                return ledger.all.giveBack()
            case .exhausted:
                ledger.all.giveBack()
                counters.add(1, to: .connectionsRefused)
                return pauseAccepting()
            }
        }
    }

    /// Takes all connections that wait at a listener which is about to close: closing it would reset them.
    mutating func acceptBacklog(_ listener: Handle) {
        var before = -1
        while before != clients.count, hasSlot, ledger.all.hasRoom(below: clientLimit) {
            before = clients.count
            acceptClients(listener)
        }
    }

    private var hasSlot: Bool { clients.count - streamCount < Self.connectionCapacity }

    private mutating func welcome(
        _ socket: consuming Socket, from address: SocketAddress, at listener: Handle
    ) {
        counters.add(1, to: .connectionsAccepted)
        let peer = PeerFacts(
            address: IPAddress(address), listener: listeners[listener.index].index, isSecure: false)
        let isGreeted = listeners[listener.index].expectsProxyHeader
        guard !isGreeted || mayGreet(peer) else {
            // Dropping the socket closes it.
            ledger.all.giveBack()
            counters.add(1, to: .connectionsRefused)
            return counters.add(1, to: .connectionsClosed)
        }
        let descriptor = socket.descriptor
        let handle = clients.insert(Downstream(socket, peer: peer, listener: listener))
        guard isAdmitted(handle.index) else { return }
        clients[handle.index].phase = isGreeted ? .greeting : firstPhase(at: peer.listener)
        do {
            try poller.add(
                descriptor, token: EventToken(.client, handle).rawValue,
                for: [.readable, .writable, .peerClosed, .edgeTriggered])
        } catch {
            return closeClient(handle.index)
        }
        if !isGreeted, let security = securities[peer.listener] {
            return beginHandshake(handle.index, security)
        }
        let timeout = isGreeted ? limits.headerTimeoutMilliseconds : limits.idleTimeoutMilliseconds
        clientDeadlines.set(handle.index, now.advanced(byMilliseconds: timeout))
    }

    /// Counts a connection under its address; false where that has all that it may have, and the connection is closed. Trusted
    /// proxies come for many, and a Unix socket has no address.
    mutating func isAdmitted(_ client: UInt32) -> Bool {
        let peer = clients[client].peer
        guard let limit = limits.connectionsPerAddress, !peer.address.isNone, !policy.trusts(peer) else {
            return true
        }
        guard ledger.admit(peer.address, limit: limit) else {
            counters.add(1, to: .connectionsRefused)
            closeClient(client)
            return false
        }
        clients[client].countedAddress = peer.address
        return true
    }

    /// What a connection begins with: HTTP/1, unless the listener speaks HTTP/2 too.
    func firstPhase(at listener: Int) -> Downstream.Phase {
        listenerSettings[listener].protocols.contains(.http2) ? .choosing : .reading
    }

    /// Stops accepting for a while: what waits stays in the kernel's queue.
    private mutating func pauseAccepting() {
        acceptAgain = now.advanced(byMilliseconds: Self.exhaustionPauseMilliseconds)
        for slot in 0..<listeners.slots where listeners.isLive(slot) && listeners[slot].isAccepting {
            listeners[slot].isAccepting = false
            poller.remove(listeners[slot].listener.descriptor)
        }
    }

    /// Starts accepting at every listener that does not.
    mutating func resumeAccepting() {
        acceptAgain = .never
        for slot in 0..<listeners.slots where listeners.isLive(slot) && !listeners[slot].isAccepting {
            let token = EventToken(.listener, listeners.handle(at: slot)).rawValue
            do {
                try poller.add(listeners[slot].listener.descriptor, token: token, for: .readable)
                listeners[slot].isAccepting = true
            } catch {
                acceptAgain = now.advanced(byMilliseconds: Self.exhaustionPauseMilliseconds)
            }
        }
    }
}

extension IPAddress {
    /// The host part of a socket's address; none for a Unix socket.
    init(_ address: SocketAddress) {
        switch address {
        case .ipv4(let host, _): self.init(v4: host)
        case .ipv6(let high, let low, _): self.init(high: high, low: low)
        case .unix: self = .none
        }
    }
}

// MARK: - How many

extension Worker {
    /// Slots that a table of connections may have. Memory is taken as they are used; the system's limits come first.
    static var connectionCapacity: Int { 1 << 20 }

    /// Streams that this worker may have open, on all connections together.
    var streamLimit: Int {
        let share = WorkerPlace(index, of: count).share(of: clientLimit)
        return min(max(share, Self.fewestStreams), Self.connectionCapacity)
    }
    private static var fewestStreams: Int { 4096 }

    /// Client connections that all workers may have together.
    static func connectionLimit(_ limits: LimitSettings) -> Int {
        limits.connections ?? max(1, descriptorLimit() / 2)
    }
}
