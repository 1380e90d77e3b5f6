internal import Bytes
internal import HTTP
internal import HTTP2
internal import Reactor

// What is read from a connection to a server that speaks HTTP/2, and what is written to it: the same as for clients in
// Multiplexer.swift, with streams that are servers.

extension Worker {
    // MARK: Reading

    /// Takes in what has arrived on the connection.
    mutating func advanceCarrier(_ server: UInt32) {
        let carrier = servers[server].carrier
        sendLater(carrier: carrier)
        var reads = Self.readsPerTurn
        while servers[server].transport.isReadable {
            guard reads > 0 else {
                resumeNextTurn(carrier: carrier)
                return
            }
            reads -= 1
            switch servers[server].transport.fill(from: &pool, .medium) {
            case .bytes: break
            case .wouldBlock: continue
            case .endOfStream, .failed: return loseCarrier(carrier)
            }
            carriers[carrier.index].lastRead = now
            guard takeFrames(server, carrier) else { return }
        }
        if carriers[carrier.index].isCut { loseCarrier(carrier) }
    }

    /// The server takes nothing more. What it had sent before says what became of the requests: answers that are whole are
    /// passed on, and what its GOAWAY leaves out may be sent again (RFC 9113 §6.8). Nothing of it is still to come: the
    /// reset that a write has met was behind it.
    @inline(never)
    private mutating func readLastWords(_ carrier: Handle) {
        guard carriers[carrier.index].isReady else { return loseCarrier(carrier) }
        carriers[carrier.index].isCut = true
        carriers[carrier.index].isEnding = true
        let server = carriers[carrier.index].connection.index
        servers[server].transport.note(.readable)
        advanceCarrier(server)
    }

    /// Takes in the frames that were read; false where the connection is gone, or nothing more is read from it.
    private mutating func takeFrames(_ server: UInt32, _ carrier: Handle) -> Bool {
        swap(&servers[server].transport.input, &carriers[carrier.index].input)
        let goesOn = Self.receive(&carriers[carrier.index], &multiplexScratch, now: now.microseconds)
        takeAnswers(carrier.index)
        carriers[carrier.index].input.detach(to: &pool)
        if !carriers[carrier.index].isReady, carriers[carrier.index].session.hasSettings {
            carrierReady(carrier)
        }
        if !carriers[carrier.index].hasRefused, !carriers[carrier.index].session.takesRequests {
            carriers[carrier.index].hasRefused = true
            refuseUnsent(carrier, onlyMovable: false)
        }
        advanceAnswered()
        guard carriers.contains(carrier) else { return false }
        if !goesOn {
            sendCarrier(carrier)
            if carriers.contains(carrier) { loseCarrier(carrier) }
        }
        return goesOn
    }

    /// Has requests that wait for a stream on a connection of no use any more look for another one. Nothing of them was sent, and
    /// nghttp2 would say so only when a stream ends: later requests would be served before.
    ///
    /// - Parameter onlyMovable: those that may not be sent elsewhere wait on.
    mutating func refuseUnsent(_ carrier: Handle, onlyMovable: Bool) {
        for slot in 0..<carriers[carrier.index].session.slots
        where carriers[carrier.index].session.isUnsent(slot) {
            let stream = carriers[carrier.index].session.owner(slot)
            guard servers.contains(stream) else { continue }
            guard !onlyMovable || isMovable(stream.index) else { continue }
            carriers[carrier.index].session.setOwner(slot, .none)
            carriers[carrier.index].session.reset(slot, .cancel)
            noteLoss(stream, code: HTTP2ErrorCode.refusedStream.rawValue, isOfConnection: false)
        }
    }

    private func isMovable(_ server: UInt32) -> Bool {
        let exchange = servers[server].exchange
        return !exchange.isNone && exchanges[exchange.index].isReplayable
            && exchanges[exchange.index].retriesLeft > 0
    }

    private static func receive(
        _ carrier: inout Carrier, _ scratch: inout HTTP2Scratch, now: Int64
    ) -> Bool {
        receive(carrier.input, &carrier.session, &scratch, now)
    }

    private static func receive(
        _ input: borrowing Buffer, _ session: inout HTTP2Session, _ scratch: inout HTTP2Scratch, _ now: Int64
    ) -> Bool {
        session.receive(input.bytes, &scratch, now: now)
    }

    // MARK: Writing

    /// Has the connection write at the end of the turn.
    mutating func sendLater(carrier: Handle) {
        guard carriers.contains(carrier), !carriers[carrier.index].isUnsent else { return }
        carriers[carrier.index].isUnsent = true
        unsentCarriers.append(carrier)
    }

    /// Writes for all connections that have something to say.
    mutating func sendCarriers() {
        guard !unsentCarriers.isEmpty else { return }
        var due = GrowingArray<Handle>()
        swap(&due, &unsentCarriers)
        var place = 0
        while place < due.count {
            if carriers.contains(due[place]) {
                carriers[due[place].index].isUnsent = false
                sendCarrier(due[place])
            }
            place += 1
        }
        due.removeAll()
        if unsentCarriers.isEmpty { swap(&due, &unsentCarriers) }
    }

    mutating func sendCarrier(_ carrier: Handle) {
        let server = carriers[carrier.index].connection.index
        guard servers[server].phase == .carrying, !carriers[carrier.index].isCut else { return }
        for _ in 0..<Self.blocksPerTurn {
            switch servers[server].transport.flush(to: &pool) {
            case .done: break
            case .blocked: return awaitReader(carrier)
            case .failed: return readLastWords(carrier)
            }
            if carriers[carrier.index].writeDeadline != .never {
                carriers[carrier.index].writeDeadline = .never
                serverDeadlines.set(server, .never)
            }
            guard makeFrames(server, carrier) else { return settleCarrier(carrier) }
        }
        resumeNextTurn(carrier: carrier)
    }

    /// The server does not read: it gets as long as for a body. Its streams have deadlines of their own, and the
    /// connection must have one too, or it would be here for ever when they are gone.
    private mutating func awaitReader(_ carrier: Handle) {
        guard carriers[carrier.index].isReady else { return }
        if carriers[carrier.index].writeDeadline == .never {
            carriers[carrier.index].writeDeadline = now.advanced(
                byMilliseconds: limits.bodyTimeoutMilliseconds)
        } else if carriers[carrier.index].streams > 0 {
            return
        }
        let deadline = carriers[carrier.index].writeDeadline
        let server = carriers[carrier.index].connection.index
        serverDeadlines.set(server, min(deadline, serverDeadlines.deadline(of: server)))
    }

    /// Fills one block with frames; false where there are none.
    private mutating func makeFrames(_ server: UInt32, _ carrier: Handle) -> Bool {
        carriers[carrier.index].output.attach(from: &pool, .medium)
        while carriers[carrier.index].output.room > HTTP2Session.frameBytes,
            Self.makeFrames(&carriers[carrier.index], &multiplexScratch)
        {
            copyRequestContent(carrier.index)
            Self.takeFrame(&carriers[carrier.index])
        }
        takeAnswers(carrier.index)
        let hasMade = !carriers[carrier.index].output.isEmpty
        if hasMade { swap(&servers[server].transport.output, &carriers[carrier.index].output) }
        carriers[carrier.index].output.detach(to: &pool)
        advanceAnswered()
        return hasMade && carriers.contains(carrier)
    }

    private static func makeFrames(_ carrier: inout Carrier, _ scratch: inout HTTP2Scratch) -> Bool {
        let room = carrier.output.room
        return carrier.session.makeFrames(&scratch, room: room)
    }

    private static func takeFrame(_ carrier: inout Carrier) {
        carrier.session.takeFrame(into: &carrier.output)
    }

    /// Copies the content of DATA frames out of the streams' outputs.
    private mutating func copyRequestContent(_ carrier: UInt32) {
        var place = 0
        while place < multiplexScratch.dataFrames.count {
            let frame = multiplexScratch.dataFrames[place]
            let stream = carriers[carrier].session.owner(frame.slot)
            place += 1
            precondition(servers.contains(stream), "a session frames nothing of a stream that was ended")
            servers[stream.index].transport.moveContent(of: frame, to: &carriers[carrier].output, &pool)
            if answered.last != stream { answered.append(stream) }
        }
        multiplexScratch.clearDataFrames()
    }
}
