internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor
internal import Upstream

// The streams of HTTP/2 connections to servers, as servers.

extension Worker {
    // MARK: What the session has received

    /// Takes in the events of a session; the streams that they are about go on later.
    mutating func takeAnswers(_ carrier: UInt32) {
        var place = 0
        while place < multiplexScratch.events.count {
            take(multiplexScratch.events[place], ofCarrier: carrier)
            place += 1
        }
        multiplexScratch.clear()
    }

    private mutating func take(_ event: HTTP2Event, ofCarrier carrier: UInt32) {
        switch event {
        case .request, .refused: preconditionFailure("the session is a client's")
        case .answer(let slot, let text): takeAnswer(slot, text, carrier)
        case .data(let slot, let range): takeContent(slot, range, carrier)
        case .trailers(let slot, let text): takeTrailers(slot, text, ofCarrier: carrier)
        case .end(let slot):
            let stream = carriers[carrier].session.owner(slot)
            guard servers.contains(stream) else { return }
            servers[stream.index].transport.hasEnded = true
            touch(server: stream)
        case .closed(let slot):
            let stream = carriers[carrier].session.owner(slot)
            if servers.contains(stream) {
                noteLoss(stream, code: carriers[carrier].session.closeCode(slot), isOfConnection: false)
            }
            carriers[carrier].session.free(slot)
        }
    }

    private mutating func touch(server: Handle) {
        if answered.last != server { answered.append(server) }
    }

    /// Goes on with every stream that something has happened to.
    mutating func advanceAnswered() {
        var place = 0
        while place < answered.count {
            let handle = answered[place]
            if servers.contains(handle) { advanceServer(handle.index) }
            place += 1
        }
        answered.removeAll()
    }

    private mutating func takeAnswer(_ slot: Int32, _ text: ByteRange, _ carrier: UInt32) {
        let stream = carriers[carrier].session.owner(slot)
        guard servers.contains(stream) else { return }
        guard servers[stream.index].transport.input.makeRoom(Int(text.count), in: &pool),
            Self.append(text, of: &multiplexScratch, to: &servers[stream.index].transport.input)
        else { return carriers[carrier].session.reset(slot, .internalError) }
        touch(server: stream)
    }

    private mutating func takeContent(_ slot: Int32, _ range: ByteRange, _ carrier: UInt32) {
        let stream = carriers[carrier].session.owner(slot)
        let count = Int(range.count)
        guard servers.contains(stream), servers[stream.index].phase != .ending else {
            return carriers[carrier].session.consume(slot, count)
        }
        guard servers[stream.index].transport.input.makeRoom(count, in: &pool),
            Self.append(range, of: &carriers[carrier].input, to: &servers[stream.index].transport.input)
        else {
            carriers[carrier].session.consume(slot, count)
            return carriers[carrier].session.reset(slot, .flowControlError)
        }
        servers[stream.index].stream.heldBytes += range.count
        touch(server: stream)
    }

    private mutating func takeTrailers(_ slot: Int32, _ text: ByteRange, ofCarrier carrier: UInt32) {
        let stream = carriers[carrier].session.owner(slot)
        guard servers.contains(stream) else { return }
        servers[stream.index].transport.keepTrailers(text, of: multiplexScratch, from: &pool)
    }

    // MARK: The steps of a request that are a stream's own

    /// Gives the head of a request, and what of its body lies behind it, to the session; false where it takes none.
    mutating func submitRequest(_ exchange: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        let carrier = servers[server].carrier
        guard exchanges[exchange].sentBytes == 0 else { return true }
        guard
            !exchanges[exchange].wantsWebSocket || !carriers.contains(carrier)
                || carriers[carrier.index].session.takesTunnels
        else {
            exchanges[exchange].notes.note(refusal: "server_takes_no_websocket")
            reply(exchange, .notImplemented)
            return false
        }
        let isSubmitted =
            carriers.contains(carrier) && carriers[carrier.index].session.takesRequests
            && exchanges[exchange].submit(
                on: &servers[server], exchanges[exchange].server, &carriers[carrier.index],
                isSecure: servers[carriers[carrier.index].connection.index].transport.isSecure,
                &multiplexScratch,
                &pool)
        guard isSubmitted else {
            // Nothing was sent: a connection that has ended between two turns.
            serverLeft(exchange, wasRefused: true)
            return false
        }
        offerRequest(server)
        return true
    }

    /// Takes what there is of the body over `request`, as long as it has room, so that all of it can be sent again. False
    /// where others have their turn first. Behind the body nothing is read: it is the next request, or tells that the client
    /// has gone (`watchClient`).
    mutating func keepBody(_ exchange: UInt32, _ client: UInt32, _ server: UInt32) -> Bool {
        var reads = Self.readsPerTurn
        while !exchanges[exchange].requestBody.isComplete {
            if clients[client].transport.input.isEmpty {
                guard !clients[client].transport.isStream, clients[client].transport.isReadable else {
                    return true
                }
                guard reads > 0 else { return false }
                reads -= 1
                guard case .bytes = clients[client].transport.fill(from: &pool) else { return true }
            }
            let before = exchanges[exchange].request.count
            _ = exchanges[exchange].takeBody(from: &clients[client].transport.input)
            guard copyKept(exchange, from: before, server), clients[client].transport.input.isEmpty else {
                break
            }
        }
        // The rest passes through; or it is no body at all any more, or a bad one.
        if exchanges[exchange].requestBody.isComplete { return true }
        exchanges[exchange].keepsBody = false
        exchanges[exchange].isReplayable = false
        return true
    }

    /// Copies what `request` has gained into the stream's output; false where there is no room.
    private mutating func copyKept(_ exchange: UInt32, from start: Int, _ server: UInt32) -> Bool {
        let count = exchanges[exchange].request.count - start
        guard count > 0 else { return true }
        guard servers[server].transport.output.makeRoom(count, in: &pool) else { return false }
        exchanges[exchange].sentBytes = exchanges[exchange].request.count
        return exchanges[exchange].copyRequest(from: start, to: &servers[server].transport.output)
    }

    /// Tells the session what waits in a stream's output.
    mutating func offerRequest(_ server: UInt32, isComplete: Bool = false) {
        let carrier = servers[server].carrier
        guard servers[server].stream.slot >= 0, carriers.contains(carrier) else { return }
        let count = servers[server].transport.output.count
        carriers[carrier.index].session.offer(
            servers[server].stream.slot, count: count, isComplete: isComplete)
        sendLater(carrier: carrier)
    }

    /// Lets the server send as much content as has moved on.
    mutating func openServerWindow(_ server: UInt32) {
        let left = min(servers[server].transport.input.count, Int(servers[server].stream.heldBytes))
        let moved = Int(servers[server].stream.heldBytes) - left
        let carrier = servers[server].carrier
        guard moved > 0, carriers.contains(carrier) else { return }
        servers[server].stream.heldBytes = Int32(left)
        if servers[server].stream.slot >= 0 {
            carriers[carrier.index].session.consume(servers[server].stream.slot, moved)
        } else {
            carriers[carrier.index].session.consumeConnection(moved)
        }
        sendLater(carrier: carrier)
    }

    /// Keeps the trailers of a request for the session; false where they break a rule.
    mutating func writeServerTrailers(_ exchange: UInt32, _ lines: ByteRange) -> Bool {
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        let carrier = servers[server].carrier
        guard carriers.contains(carrier), servers[server].stream.slot >= 0,
            let size = BlockPool.SizeClass.holding(2 * Int(lines.count) + 2)
        else { return false }
        var text = Buffer()
        text.attach(from: &pool, size)
        let fits = Trailers.appendRequestLines(
            lines, of: &clients[client].transport.input, &trailerFields, policy, to: &text)
        if fits {
            Self.setTrailers(text, servers[server].stream.slot, &carriers[carrier.index].session)
        }
        text.detach(to: &pool)
        clients[client].transport.input.consume(lines.end + 2)
        // They are not kept: sent again, the request would lack them.
        exchanges[exchange].isReplayable = false
        exchanges[exchange].requestBody.trailersWritten()
        return fits
    }

    /// True for a request that waits for others to end, of which its server takes so many: nothing of it was sent. A server that
    /// takes none at all is at fault itself.
    func waitsForStream(_ server: UInt32) -> Bool {
        let carrier = servers[server].carrier
        guard servers[server].transport.isStream, servers[server].stream.slot >= 0, carriers.contains(carrier)
        else { return false }
        return carriers[carrier.index].session.remoteStreamLimit > 0
            && carriers[carrier.index].session.isUnsent(servers[server].stream.slot)
    }

    // MARK: The end of a stream

    /// The stream is over. An answer that is complete is still relayed; one that is not makes its exchange end.
    mutating func noteLoss(_ stream: Handle, code: UInt32, isOfConnection: Bool) {
        let server = stream.index
        servers[server].stream.slot = -1
        servers[server].lossCode = code
        servers[server].isLost = !servers[server].transport.hasEnded
        servers[server].isCutOff = isOfConnection
        if !servers[server].exchange.isNone, servers[server].phase == .busy {
            // The server wants no more of the request.
            endRequest(servers[server].exchange.index)
        }
        touch(server: stream)
    }

    /// The server has ended a stream before its answer was complete.
    mutating func streamLost(_ server: UInt32) {
        let exchange = servers[server].exchange.index
        let code = HTTP2ErrorCode(rawValue: servers[server].lossCode)
        guard exchanges[exchange].hasResponseHead else {
            return serverLeft(exchange, wasRefused: code == .refusedStream)
        }
        // A connection that broke off is no word of the server's about this stream.
        if !servers[server].isCutOff { exchanges[exchange].serverReset = code }
        abandon(exchange, .upstreamTruncated)
    }

    /// A request was sent and its answer passed on, of which the server has not said that it is over: the length did, or the head.
    /// It may be at work yet, and would take a reset for a client that has left; one reset after the other may end the connection
    /// for all. It has as long as it may be silent in the middle of a body.
    mutating func awaitStreamEnd(_ server: UInt32) {
        let exchange = servers[server].exchange.index
        // A handshake that was refused is not over from this side.
        guard servers[server].stream.slot >= 0, !exchanges[exchange].wantsWebSocket else {
            return closeServerStream(server)
        }
        servers[server].phase = .ending
        servers[server].exchange = .none
        servers[server].transport.releaseBuffers(to: &pool)
        serverDeadlines.set(server, now.advanced(byMilliseconds: limits.bodyTimeoutMilliseconds))
    }

    /// Takes streams that only wait for their end off the books.
    mutating func closeEndingStreams() {
        for slot in 0..<servers.slots where servers.isLive(slot) && servers[slot].phase == .ending {
            closeServerStream(slot)
        }
    }

    /// Ends a stream, whatever is not sent or received yet.
    mutating func closeServerStream(_ server: UInt32) {
        var stream = servers.remove(servers.handle(at: server))
        stream.transport.releaseBuffers(to: &pool)
        serverDeadlines.set(server, .never)
        if carriers.contains(stream.carrier) { leaveCarrier(stream.carrier, stream.stream) }
        guard pools.contains(stream.pool) else { return }
        pools[stream.pool.index].closedInUse(server: stream.server)
        noteRoom(stream.pool)
    }

    private mutating func leaveCarrier(_ carrier: Handle, _ stream: StreamFacts) {
        carriers[carrier.index].streams -= 1
        let held = Int(stream.heldBytes)
        if stream.slot >= 0 {
            if held > 0 { carriers[carrier.index].session.consume(stream.slot, held) }
            carriers[carrier.index].session.setOwner(stream.slot, .none)
            // CANCEL also where the answer came whole before the request's end, though the server has not asked for no more
            // of it (RFC 9113 §8.1): over HTTP/1.1 the connection ends then, and nobody waits for a client that
            // was answered to send the rest. NO_ERROR is the server's word.
            carriers[carrier.index].session.reset(stream.slot, .cancel)
        } else if held > 0 {
            carriers[carrier.index].session.consumeConnection(held)
        }
        sendLater(carrier: carrier)
    }
}

extension Exchange {
    /// Makes a HEADERS frame of the head and puts what lies behind it into the stream's output; false where the session
    /// takes no request.
    mutating func submit(
        on stream: inout UpstreamConnection, _ owner: Handle, _ carrier: inout Carrier, isSecure: Bool,
        _ scratch: inout HTTP2Scratch, _ pool: inout BlockPool
    ) -> Bool {
        let headBytes = HTTP2Session.headBytes(request.bytes)
        let rest = request.count - headBytes
        if rest > 0 {
            guard let size = BlockPool.SizeClass.holding(rest) else { return false }
            stream.transport.output.attach(from: &pool, size)
            guard Self.append(request, from: headBytes, to: &stream.transport.output) else { return false }
        }
        var form = HTTP2RequestForm(isSecure: isSecure)
        form.takesTrailers = isGRPC
        form.isWebSocket = wantsWebSocket
        form.endsStream = requestBody.isComplete && rest == 0 && !wantsWebSocket
        let slot = Self.submit(request, headBytes, form, owner, &carrier.session, &scratch)
        guard let slot else { return false }
        stream.stream.slot = slot
        sentBytes = request.count
        return true
    }

    /// Copies the request from there on.
    mutating func copyRequest(from start: Int, to output: inout Buffer) -> Bool {
        Self.append(request, from: start, to: &output)
    }

    private static func append(
        _ request: borrowing Buffer, from start: Int, to output: inout Buffer
    ) -> Bool {
        output.append(request.bytes.extracting(droppingFirst: start))
    }

    private static func submit(
        _ request: borrowing Buffer, _ headBytes: Int, _ form: HTTP2RequestForm, _ owner: Handle,
        _ session: inout HTTP2Session, _ scratch: inout HTTP2Scratch
    ) -> Int32? {
        session.submitRequest(request.bytes.extracting(first: headBytes), form, owner: owner, &scratch)
    }
}
