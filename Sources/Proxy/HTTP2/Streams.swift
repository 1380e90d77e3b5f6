internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor

// The streams of HTTP/2 connections, as clients.

/// What a stream is besides a client.
struct StreamFacts {
    /// Its place in the session.
    var slot: Int32 = -1
    /// The size of the head's text at the front of its input, in bytes.
    var headBytes: Int32 = 0
    /// Content in its input, in bytes: so much of its window is taken.
    var heldBytes: Int32 = 0
    /// What the client has taken of a whole answer since its deadline was set, in bytes.
    var takenBytes: Int32 = 0
    /// The request is an extended CONNECT for WebSocket (RFC 8441).
    var isWebSocket = false
}

extension Downstream {
    /// How the body of a stream's request ends where no field says so: what is here is all, or the stream's end tells.
    private var silentFraming: BodyFraming {
        if stream.isWebSocket { return .none }
        guard transport.hasEnded, transport.trailing.isEmpty else { return .untilClose }
        return stream.heldBytes == 0 ? .none : .length(UInt64(stream.heldBytes))
    }

    /// Reads the head at the front of a stream's input; nil, or what is wrong.
    mutating func readSection(into head: inout RequestHead) -> MessageFault? {
        RequestSection.read(
            transport.input.bytes, into: &head, silent: silentFraming, isWebSocket: stream.isWebSocket)
    }
}

extension Worker {
    // MARK: What the session has received

    /// Takes in the events of a session; the streams that they are about go on later.
    mutating func takeEvents(_ multiplexer: UInt32) {
        var place = 0
        while place < multiplexScratch.events.count {
            take(multiplexScratch.events[place], multiplexer)
            place += 1
        }
        multiplexScratch.clear()
    }

    private mutating func take(_ event: HTTP2Event, _ multiplexer: UInt32) {
        switch event {
        case .request(let slot, let text, let isWebSocket):
            guard let stream = openStream(slot, multiplexer, textBytes: Int(text.count)) else { return }
            clients[stream.index].stream.isWebSocket = isWebSocket
            let fits = Self.append(text, of: &multiplexScratch, to: &clients[stream.index].transport.input)
            precondition(fits, "the block was chosen for it")
            touch(stream)
        case .refused(let slot, let fault, let isHead):
            guard let stream = openStream(slot, multiplexer, textBytes: 0) else { return }
            clients[stream.index].askedBy = isHead ? .head : nil
            refuse(stream.index, fault: fault)
        case .answer: preconditionFailure("the session is a server's")
        case .data(let slot, let range):
            takeData(slot, range, multiplexer)
        case .trailers(let slot, let text):
            takeTrailers(slot, text, multiplexer)
        case .end(let slot):
            let stream = multiplexers[multiplexer].session.owner(slot)
            guard clients.contains(stream) else { return }
            clients[stream.index].transport.hasEnded = true
            touch(stream)
        case .closed(let slot):
            // It may have been opened by an event just before this one.
            let stream = multiplexers[multiplexer].session.owner(slot)
            if clients.contains(stream) { loseStream(stream.index) }
            multiplexers[multiplexer].session.free(slot)
        }
    }

    private mutating func touch(_ stream: Handle) {
        if touched.last != stream { touched.append(stream) }
    }

    /// A new client for a stream; nil where there is no room, and the client may try again (RFC 9113 §8.7).
    private mutating func openStream(_ slot: Int32, _ multiplexer: UInt32, textBytes: Int) -> Handle? {
        guard !multiplexers[multiplexer].session.isBehindLast(slot) else { return nil }
        // Where the listener is gone, the connection takes nothing more on: the client may ask elsewhere.
        if streamCount >= streamLimit { dropUnread() }
        guard streamCount < streamLimit, !clients[multiplexers[multiplexer].client.index].isLast,
            let size = BlockPool.SizeClass.holding(textBytes + HTTP2Limits.streamWindowBytes)
        else {
            multiplexers[multiplexer].session.reset(slot, .refusedStream)
            return nil
        }
        let connection = multiplexers[multiplexer].client.index
        var facts = StreamFacts()
        facts.slot = slot
        facts.headBytes = Int32(textBytes)
        let stream = clients.insert(
            Downstream(
                stream: facts, of: clients[connection].multiplexer, peer: clients[connection].peer,
                listener: clients[connection].listener))
        streamCount += 1
        clients[stream.index].certificate = clients[connection].certificate.copy()
        clients[stream.index].certificateEnd = clients[connection].certificateEnd
        clients[stream.index].strictTransportSecurity = clients[connection].strictTransportSecurity
        multiplexers[multiplexer].session.setOwner(slot, stream)
        // Not idle, though it may be answered before anybody looks.
        multiplexers[multiplexer].idleDeadline = .never
        // Most requests have no body: the block grows with what comes, to that size at most.
        clients[stream.index].transport.input.attach(
            from: &pool, min(size, BlockPool.SizeClass.holding(textBytes) ?? size))
        return stream
    }

    /// Keeps content for whoever takes it; the rest of a request that is answered is thrown away.
    private mutating func takeData(_ slot: Int32, _ range: ByteRange, _ multiplexer: UInt32) {
        let stream = multiplexers[multiplexer].session.owner(slot)
        let count = Int(range.count)
        guard clients.contains(stream), clients[stream.index].phase != .lingering else {
            return multiplexers[multiplexer].session.consume(slot, count)
        }
        guard clients[stream.index].transport.input.makeRoom(count, in: &pool),
            Self.append(
                range, of: &multiplexers[multiplexer].input, to: &clients[stream.index].transport.input)
        else {
            // The window and the limit of the head together always fit.
            multiplexers[multiplexer].session.consume(slot, count)
            return multiplexers[multiplexer].session.reset(slot, .flowControlError)
        }
        clients[stream.index].stream.heldBytes += range.count
        touch(stream)
    }

    static func append(
        _ range: ByteRange, of input: inout Buffer, to buffer: inout Buffer
    ) -> Bool {
        buffer.append(input.bytes.slice(range))
    }

    static func append(
        _ text: ByteRange, of scratch: inout HTTP2Scratch, to buffer: inout Buffer
    ) -> Bool {
        buffer.append(scratch.text.span(text))
    }

    private mutating func takeTrailers(_ slot: Int32, _ text: ByteRange, _ multiplexer: UInt32) {
        let stream = multiplexers[multiplexer].session.owner(slot)
        guard clients.contains(stream), clients[stream.index].phase != .lingering else { return }
        clients[stream.index].transport.keepTrailers(text, of: multiplexScratch, from: &pool)
    }

    // MARK: The steps of a request that are a stream's own

    /// Reads the head of a stream's request, and starts it. False: a stream has one request.
    mutating func readStreamRequest(_ client: UInt32) -> Bool {
        clientDeadlines.set(client, .never)
        if let fault = clients[client].readSection(into: &head) {
            clients[client].askedBy = head.method
            refuse(client, fault: fault)
        } else {
            takeRequest(client)
        }
        return false
    }

    /// Submits the head at the front of a stream's output.
    mutating func submitHead(_ client: UInt32, _ form: HTTP2HeadForm) {
        let multiplexer = clients[client].multiplexer
        guard multiplexers.contains(multiplexer) else { return }
        let slot = clients[client].stream.slot
        let isSubmitted = Self.submitHead(
            &clients[client].transport.output, slot, form, &multiplexers[multiplexer.index].session,
            &multiplexScratch)
        if !isSubmitted { multiplexers[multiplexer.index].session.reset(slot, .internalError) }
        sendLater(multiplexer)
    }

    /// False of a stream whose connection leaves too many interim heads unread for the one that was just read.
    mutating func takesInterim(_ client: UInt32) -> Bool {
        let multiplexer = clients[client].multiplexer
        return !multiplexers.contains(multiplexer)
            || multiplexers[multiplexer.index].session.takesInterim(responseHead.byteCount)
    }

    /// Submits a head, where the client is a stream. True, so that it can stand in a list of steps.
    mutating func submitIfStream(_ client: UInt32, _ form: HTTP2HeadForm) -> Bool {
        if clients[client].transport.isStream { submitHead(client, form) }
        return true
    }

    private static func submitHead(
        _ output: inout Buffer, _ slot: Int32, _ form: HTTP2HeadForm, _ session: inout HTTP2Session,
        _ scratch: inout HTTP2Scratch
    ) -> Bool {
        guard let byteCount = session.submitHead(slot, output.bytes, form, &scratch) else { return false }
        output.consume(byteCount)
        return true
    }

    /// Tells the session what waits in a stream's output.
    mutating func offerOutput(_ client: UInt32, isComplete: Bool = false) {
        let multiplexer = clients[client].multiplexer
        guard multiplexers.contains(multiplexer) else { return }
        let count = clients[client].transport.output.count
        multiplexers[multiplexer.index].session.offer(
            clients[client].stream.slot, count: count, isComplete: isComplete)
        sendLater(multiplexer)
    }

    /// Lets the client send as much content as has moved on.
    mutating func openWindow(_ client: UInt32) {
        guard clients[client].stream.heldBytes > 0 else { return }
        let left = min(clients[client].transport.input.count, Int(clients[client].stream.heldBytes))
        let moved = Int(clients[client].stream.heldBytes) - left
        let multiplexer = clients[client].multiplexer
        guard moved > 0, multiplexers.contains(multiplexer) else { return }
        clients[client].stream.heldBytes = Int32(left)
        multiplexers[multiplexer.index].session.consume(clients[client].stream.slot, moved)
        sendLater(multiplexer)
    }

    /// Keeps the trailers of an answer for the session.
    mutating func writeStreamTrailers(_ exchange: UInt32, _ lines: ByteRange) -> Bool {
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        let multiplexer = clients[client].multiplexer
        guard multiplexers.contains(multiplexer),
            let size = BlockPool.SizeClass.holding(2 * Int(lines.count) + 2)
        else { return false }
        var text = Buffer()
        text.attach(from: &pool, size)
        let fits = Trailers.appendLines(
            lines, of: &servers[server].transport.input, &trailerFields, to: &text)
        if fits {
            Self.setTrailers(text, clients[client].stream.slot, &multiplexers[multiplexer.index].session)
        }
        text.detach(to: &pool)
        servers[server].transport.input.consume(lines.end + 2)
        exchanges[exchange].responseBody.trailersWritten()
        return fits
    }

    static func setTrailers(
        _ text: borrowing Buffer, _ slot: Int32, _ session: inout HTTP2Session
    ) {
        session.setTrailers(slot, text.bytes)
    }

    // MARK: The end of a stream

    /// The answer is in the output whole: the stream is over when its session has sent it.
    mutating func finishStream(_ client: UInt32) {
        clients[client].phase = .lingering
        dropInput(client)
        clients[client].transport.output.detachIfEmpty(to: &pool)
        clientDeadlines.set(client, now.advanced(byMilliseconds: limits.bodyTimeoutMilliseconds))
        offerOutput(client, isComplete: true)
    }

    /// The client has taken so much of an answer that is whole. Nothing else ends the wait for it any more: with a byte each
    /// time, a client would have as many blocks as it likes for hours (CVE-2019-9511).
    mutating func noteTaken(_ client: UInt32, _ byteCount: Int32) {
        clients[client].stream.takenBytes += byteCount
        guard clients[client].stream.takenBytes >= Delivery.leastTakenBytes else { return }
        clients[client].stream.takenBytes = 0
        clientDeadlines.set(client, now.advanced(byMilliseconds: limits.bodyTimeoutMilliseconds))
    }

    /// Ends a stream whose client does not take its answer.
    mutating func closeUnread(_ client: UInt32) {
        let multiplexer = clients[client].multiplexer
        if multiplexers.contains(multiplexer) {
            multiplexers[multiplexer.index].session.payForReset(now: now.microseconds)
        }
        closeStream(client, .cancel)
    }

    /// Throws the input away, and opens the window that it took.
    private mutating func dropInput(_ client: UInt32) {
        clients[client].transport.input.detach(to: &pool)
        clients[client].transport.trailing.detach(to: &pool)
        openWindow(client)
    }

    /// The client has ended the stream, or is gone.
    mutating func loseStream(_ client: UInt32, _ code: ReasonCode = .clientClosed) {
        stopWaiting(client)
        guard !clients[client].exchange.isNone else { return closeStream(client, .cancel) }
        abandon(clients[client].exchange.index, code)
    }

    /// Ends a stream at once, whatever of its answer is not sent yet.
    mutating func closeStream(_ client: UInt32, _ code: HTTP2ErrorCode) {
        dropInput(client)
        var stream = clients.remove(clients.handle(at: client))
        streamCount -= 1
        stream.transport.releaseBuffers(to: &pool)
        clientDeadlines.set(client, .never)
        guard multiplexers.contains(stream.multiplexer) else { return }
        multiplexers[stream.multiplexer.index].session.setOwner(stream.stream.slot, .none)
        multiplexers[stream.multiplexer.index].session.reset(stream.stream.slot, code)
        sendLater(stream.multiplexer)
    }

    /// What the client is told of a stream that the backend has reset, which its own session understands.
    static func relayed(_ code: HTTP2ErrorCode) -> HTTP2ErrorCode {
        switch code {
        case .cancel, .enhanceYourCalm: code
        default: .internalError
        }
    }

    /// What the client is told of an exchange that was given up.
    static func resetCode(_ code: ReasonCode) -> HTTP2ErrorCode {
        switch code {
        case .badRequest, .tooLarge: .protocolError
        case .upstreamTruncated, .upstreamInvalidResponse, .internalError: .internalError
        default: .cancel
        }
    }
}
