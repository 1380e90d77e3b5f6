internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor
internal import TLS
internal import Telemetry

// Step 1c: where the listener has certificates, a connection begins with a TLS handshake. What it settles, who the
// client is and which protocol is spoken, holds for every request on the connection.

extension Worker {
    /// Steps of handshakes in one turn, before others have their turn: a signature takes up to a millisecond (RSA),
    /// and whoever has a connection already must not wait for all who want one.
    private static var handshakeStepsPerTurn: Int { 8 }

    /// Makes TLS of each listener; one whose settings stay the same is kept.
    static func securityContexts(
        _ listeners: [ListenerSettings], keeping before: [TLSServerContext?], _ tickets: TicketKeys
    ) throws(CertificateFault) -> [TLSServerContext?] {
        var contexts: [TLSServerContext?] = []
        for listener in listeners {
            guard let settings = listener.security else {
                contexts.append(nil)
                continue
            }
            let known = before.first { $0?.settings == settings } ?? nil
            if let known {
                contexts.append(known)
            } else {
                let old = before.first { $0?.settings.name == settings.name } ?? nil
                contexts.append(try TLSServerContext(settings, tickets: tickets, renewing: old))
            }
        }
        return contexts
    }

    /// Certificates have changed: handshakes that begin from now on use the new ones. Connections go on, unless other
    /// authorities say now who may have them.
    mutating func renewCertificates(_ listeners: [ListenerSettings]) {
        // The control thread has made the same before it sent it: a failure here is a lack of memory.
        let all = listeners + listenerSettings.dropFirst(listeners.count)
        guard all.count == securities.count,
            let secured = try? Self.securityContexts(all, keeping: securities, ticketKeys)
        else {
            return
        }
        // Worked out once for each listener: the file of its authorities may be long.
        let endsClients = zip(all, listenerSettings).map { !$0.welcomes(asBefore: $1) }
        for slot in 0..<clients.slots where clients.isLive(slot) && endsClients[clients[slot].peer.listener] {
            clients[slot].isLast = true
        }
        securities = secured
        listenerSettings = all
        endLastClients()
    }

    /// Begins the handshake of a connection.
    mutating func beginHandshake(_ client: UInt32, _ context: TLSServerContext) {
        clients[client].phase = .handshaking
        let hadInput = !clients[client].transport.input.isEmpty
        guard clients[client].transport.secure(by: context, &pool) else { return closeClient(client) }
        clientDeadlines.set(client, now.advanced(byMilliseconds: limits.handshakeTimeoutMilliseconds))
        hurryWhileDraining(client)
        guard hadInput else { return }
        clients[client].transport.isReadable = true
        shakeHands(client)
    }

    /// Goes on with the handshake of a connection.
    mutating func shakeHands(_ client: UInt32) {
        guard clients[client].transport.isReadable || clients[client].transport.isBroken else { return }
        guard mayStepHandshake() else { return resumeNextTurn(clients.handle(at: client)) }
        writeBeforeStep()
        switch clients[client].transport.shakeHands() {
        case .needsInput, .needsRoom: break
        case .done: welcomeSecurely(client)
        case .failed(let error): handshakeFailed(client, error)
        }
    }

    private mutating func mayStepHandshake() -> Bool {
        handshakeSteps += 1
        return handshakeSteps <= Self.handshakeStepsPerTurn
    }

    /// Writes what the turn has made ready so far: whoever has an answer does not wait for the signatures of others. Only a
    /// turn's own steps call this, never what is called in the course of writing.
    mutating func writeBeforeStep() {
        writeExchanges()
        sendCarriers()
        sendStreams()
    }

    /// Both sides have agreed; the first request may be here already.
    private mutating func welcomeSecurely(_ client: UInt32) {
        counters.add(1, to: .tlsHandshakes)
        if clients[client].transport.isResumed { counters.add(1, to: .tlsResumptions) }
        let peer = clients[client].peer
        var fingerprint: InlineArray<32, UInt8>?
        switch clients[client].transport.peerCertificate() {
        case .none: break
        case .unfit: return closeClient(client)
        // At a forward-auth listener the certificate is that of the proxy in front, not of whom it asks about.
        case .proven(let identity) where listenerModes[peer.listener] == .forwardAuth:
            clients[client].certificateEnd = identity.expires
        case .proven(let identity):
            fingerprint = identity.sha256
            clients[client].certificate = ClientCertificate(
                subject: identity.subject, alternativeNames: identity.alternativeNames,
                sha256: identity.sha256)
            clients[client].certificateEnd = identity.expires
        }
        clients[client].peer = PeerFacts(
            address: peer.address, listener: peer.listener, isSecure: true,
            clientCertificateSHA256: fingerprint)
        clients[client].strictTransportSecurity = strictTransports[peer.listener]
        clientDeadlines.set(client, now.advanced(byMilliseconds: limits.idleTimeoutMilliseconds))
        // What ALPN has settled; a client that asks for nothing gets HTTP/1.1, where the listener speaks it.
        if clients[client].transport.isHTTP2 || !speaksHTTP1(client) { return startMultiplexing(client) }
        clients[client].phase = .reading
        readRequests(client)
    }

    /// A request came on a connection that has outlived its client's certificate: nothing is done about it, and the client
    /// may send it again on another (RFC 9110 §9.2.2, RFC 9113 §8.7), where it has to prove anew who it is.
    mutating func outliveCertificate(_ client: UInt32) {
        guard clients[client].transport.isStream else { return endAfterAnswer(client) }
        let multiplexer = clients[client].multiplexer
        closeStream(client, .refusedStream)
        guard multiplexers.contains(multiplexer) else { return }
        let connection = multiplexers[multiplexer.index].client.index
        clients[connection].isLast = true
        announceEnd(connection)
    }

    /// There will be no session. OpenSSL has sent an alert that says why, which the client must get to read.
    private mutating func handshakeFailed(_ client: UInt32, _ error: TLSError) {
        counters.add(1, to: .tlsHandshakeFailures)
        clients[client].transport.dropTLS()
        guard !clients[client].transport.isBroken else { return closeClient(client) }
        guard error == .plainHTTP else { return endAfterAnswer(client) }
        // Its request was read by OpenSSL, and nobody else sees it: it is answered, and never decided on.
        clients[client].phase = .reading
        refuse(client, fault: .plainHTTPOverTLS)
    }
}
