internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor
internal import Upstream

// Step 6: the answer goes back to the client, its body as it comes.

extension Worker {
    /// Relays what there is of the answer.
    mutating func relayResponse(_ exchange: UInt32) {
        let server = exchanges[exchange].server.index
        if !exchanges[exchange].hasResponseHead {
            // Nothing at hand and nothing to read: the usual case, right after the request was sent.
            if servers[server].transport.input.isEmpty, !servers[server].transport.isReadable {
                return flushInterim(exchange)
            }
            guard readResponseHead(exchange) else { return }
            // A stream may end with its connection before the turn does, and with it what is not written yet.
            if !servers[server].transport.isStream { return advanceLater(exchange) }
        }
        relayResponseBody(exchange)
    }

    /// Writes what a slow client has not taken yet of interim answers.
    private mutating func flushInterim(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        guard !clients[client].transport.output.isEmpty, clients[client].transport.isWritable else { return }
        if clients[client].transport.flush(to: &pool) == .failed { abandon(exchange, .clientClosed) }
    }

    /// Reads the head of the answer and writes the client's; false where it is not there yet, or never will be.
    private mutating func readResponseHead(_ exchange: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        var reads = Self.readsPerTurn
        while true {
            if !servers[server].transport.input.isEmpty {
                let result = servers[server].parseHead(
                    into: &responseHead, requestMethod: exchanges[exchange].method, limits: responseLimits)
                switch result {
                case .complete:
                    servers[server].parser = ResponseHeadParser()
                    if endsIdleConnection(exchange) {
                        servers[server].transport.input.detach(to: &pool)
                        let number = servers[server].server
                        dropServer(exchange)
                        retry(exchange, server: number)
                        return false
                    }
                    guard takeResponseHead(exchange) else { return false }
                    if exchanges[exchange].hasResponseHead { return true }
                    continue
                case .refused:
                    badResponse(exchange)
                    return false
                case .incomplete:
                    break
                }
            }
            guard reads > 0 else {
                resumeNextTurn(exchanges[exchange].client)
                return false
            }
            reads -= 1
            guard readMoreResponseHead(exchange) else { return false }
        }
    }

    /// A server that loses patience with an idle connection may say so before it closes: its 408 then crosses the next
    /// request, and is no answer to it (RFC 9110 §15.5.9 lets us repeat that). On a connection that is new, or where
    /// twice is not the same as once, it is taken at its word.
    ///
    /// So it is where the retry budget is spent: unlike a connection that closes without a word, which is 502, it says that
    /// the server has not taken the request, and the client may repeat it. True: the retry is paid for.
    private mutating func endsIdleConnection(_ exchange: UInt32) -> Bool {
        guard responseHead.status == 408, !responseHead.isPersistent else { return false }
        let server = exchanges[exchange].server.index
        return servers[server].requestsServed > 0 && !servers[server].transport.isStream
            && exchanges[exchange].interimAnswers == 0 && mayTryAgain(exchange)
            && pools[exchanges[exchange].pool.index].permitsRetry(at: now)
    }

    /// Reads more of the answer's head; false where nothing came.
    private mutating func readMoreResponseHead(_ exchange: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        guard servers[server].transport.isReadable else { return false }
        servers[server].transport.makeRoomForHead(in: &pool)
        switch servers[server].transport.fill(from: &pool) {
        case .bytes:
            return true
        case .wouldBlock:
            return false
        case .endOfStream, .failed:
            serverLeft(exchange)
            return false
        }
    }

    /// Limits of an answer's head: the client's, but more fields, and never less than the defaults.
    var responseLimits: HeadLimits {
        HeadLimits(
            headBytes: max(headLimits.headBytes, 65_536), fieldCount: responseHead.fields.capacity,
            targetBytes: headLimits.targetBytes)
    }

    /// Passes a head on; false where the exchange is over for it.
    private mutating func takeResponseHead(_ exchange: UInt32) -> Bool {
        // A 1xx is no answer: behind it the request may be sent once more, which takes a token that holds.
        if exchanges[exchange].outlivesToken, !responseHead.isInformational {
            exchanges[exchange].leaveToken()
        }
        if responseHead.isUpgrade || opensTunnel(exchange) {
            switchProtocols(exchange)
            return false
        }
        if responseHead.isInformational { return relayInformational(exchange) }
        guard !seemsTunnel(exchange) else {
            dropServer(exchange)
            exchanges[exchange].notes.note(refusal: "server_takes_no_websocket")
            reply(exchange, .notImplemented)
            return false
        }
        let server = exchanges[exchange].server.index
        let client = exchanges[exchange].client.index
        exchanges[exchange].hasResponseHead = true
        exchanges[exchange].answeredAt = now
        exchanges[exchange].tokenDeadline = max(
            exchanges[exchange].tokenDeadline, now.advanced(byMilliseconds: Self.shortAnswerMilliseconds))
        exchanges[exchange].status = responseHead.status
        exchanges[exchange].isServerReusable =
            responseHead.isPersistent && !exchanges[exchange].bindsServer || exchanges[exchange].usesHTTP2
        // An answer may come before all of the request is sent: the rest of it still has to be.
        if exchanges[exchange].sentAt != .never { exchanges[exchange].request.detach(to: &pool) }
        serverDeadlines.set(server, .never)
        chooseResponseCoding(exchange)
        guard makeRoomForResponseHead(exchange, client) else {
            badResponse(exchange)
            return false
        }
        guard appendResponseHead(exchange, client) else {
            abandon(exchange, .upstreamInvalidResponse)
            return false
        }
        if exchanges[exchange].isGRPC { noteAnswerOfCall(exchange) }
        servers[server].transport.input.consume(responseHead.byteCount)
        if clients[client].transport.isStream {
            submitHead(client, .final(endsStream: exchanges[exchange].responseBody.isComplete))
        }
        return true
    }

    /// A server that speaks HTTP/2 agrees to WebSocket with 2xx (RFC 8441 §5).
    private func opensTunnel(_ exchange: UInt32) -> Bool {
        exchanges[exchange].wantsWebSocket && exchanges[exchange].usesHTTP2
            && (200..<300).contains(responseHead.status)
    }

    /// A server of HTTP/1.1 answers a handshake with 2xx, which agrees to nothing there (RFC 9110 §7.8); over HTTP/2 the client
    /// would take it for a tunnel, and the content for frames. The server has done nothing wrong: any client may send a
    /// handshake to any page.
    private func seemsTunnel(_ exchange: UInt32) -> Bool {
        exchanges[exchange].wantsWebSocket && (200..<300).contains(responseHead.status)
            && clients[exchanges[exchange].client.index].transport.isStream
    }

    /// What an answer has from its head to its end, in milliseconds, though its token expires meanwhile: short answers
    /// are not torn.
    private static var shortAnswerMilliseconds: Int64 { 1000 }

    /// Relays 1xx but 101 (RFC 9110 §15.2). HTTP/1.0 knows none.
    private mutating func relayInformational(_ exchange: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        let client = exchanges[exchange].client.index
        exchanges[exchange].interimAnswers += 1
        guard exchanges[exchange].interimAnswers <= Self.interimAnswerCount else {
            badResponse(exchange)
            return false
        }
        // 100 was sent already, where the client waited for it.
        if exchanges[exchange].version != .http10, responseHead.status != 100 {
            guard writeInterimHead(exchange, server, client) else { return false }
        }
        servers[server].transport.input.consume(responseHead.byteCount)
        return true
    }

    /// The most 1xx before an answer: backends send one or two, and one that never stops keeps everybody else waiting.
    private static var interimAnswerCount: Int { 64 }

    /// Writes a 1xx head for the client; false where the exchange is over. What a client leaves unread is bounded: a
    /// hint that finds no room comes too late anyway, and the answer itself must still fit.
    private mutating func writeInterimHead(_ exchange: UInt32, _ server: UInt32, _ client: UInt32) -> Bool {
        let byteCount = responseHead.byteCount + addedHeadBytes
        guard takesInterim(client), makeRoom(byteCount + Self.ownAnswerBytes, client) else { return true }
        guard
            exchanges[exchange].appendInterimHead(
                responseHead, in: &servers[server].transport.input, to: &clients[client].transport.output),
            submitIfStream(client, .interim),
            clients[client].transport.flush(to: &pool) != .failed
        else {
            abandon(exchange, .clientClosed)
            return false
        }
        return true
    }

    /// Decides how the body is framed for the client (RFC 9112 §6.3).
    private mutating func chooseResponseCoding(_ exchange: UInt32) {
        let isHTTP10 = exchanges[exchange].version == .http10
        let isHTTP2 = exchanges[exchange].version == .http2
        switch responseHead.framing {
        case .length where isHTTP2 && servers[exchanges[exchange].server.index].transport.mayOweTrailers:
            exchanges[exchange].responseBody = BodyRelay(.untilClose, as: .identity)
            exchanges[exchange].responseBody.passesTrailers = !responseHead.dropsTrailers
        case .none, .length:
            exchanges[exchange].responseBody = BodyRelay(responseHead.framing, as: .identity)
        case .chunked, .untilClose:
            exchanges[exchange].responseBody = BodyRelay(
                responseHead.framing, as: isHTTP10 || isHTTP2 ? .identity : .chunked)
            if isHTTP2 { exchanges[exchange].responseBody.passesTrailers = true }
            if responseHead.dropsTrailers { exchanges[exchange].responseBody.passesTrailers = false }
            if isHTTP10 { exchanges[exchange].keepsClient = false }
        }
        // A client that has not sent its whole body by now may have it thrown away, never taken for a request.
        if !exchanges[exchange].requestBody.isComplete || isDraining
            || clients[exchanges[exchange].client.index].isLast
        {
            exchanges[exchange].keepsClient = false
        }
    }

    /// Gives the client's output room for the head; false where no block is large enough.
    mutating func makeRoomForResponseHead(_ exchange: UInt32, _ client: UInt32) -> Bool {
        makeRoom(responseHead.byteCount + addedHeadBytes + addedByteCount(exchange), client)
    }

    /// What the proxy adds to an answer's head at most, in bytes: Via, X-Request-Id, Date, framing, connection, which
    /// are below 1.25 KiB, the lines for other origins, and a space behind each colon.
    private var addedHeadBytes: Int {
        1280 + CrossOriginSpec.maximumLineBytes + responseHead.fields.count
    }

    private mutating func appendResponseHead(_ exchange: UInt32, _ client: UInt32) -> Bool {
        let server = exchanges[exchange].server.index
        return exchanges[exchange].appendResponseHead(
            &responseHead, in: &servers[server].transport.input, date: &dateField,
            clients[client].strictTransportSecurity, isPersonal: getsAddedFields(exchange),
            to: &clients[client].transport.output)
            && appendAddedFields(exchange, client)
            && clients[client].transport.output.append("\r\n")
    }

    /// Relays what there is of the answer's body.
    private mutating func relayResponseBody(_ exchange: UInt32) {
        // What is revoked in this turn ends with it: an answer of which the rest is there is not torn.
        if exchanges[exchange].tokenDeadline < now, endsWithToken(exchange) { return }
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        let before = exchanges[exchange].responseBody.decoder.received
        while true {
            let outcome = exchanges[exchange].responseBody.run(
                from: &servers[server].transport, to: &clients[client].transport, &pool)
            if clients[client].transport.isStream { offerOutput(client) }
            if servers[server].transport.isStream { openServerWindow(server) }
            switch outcome {
            case .complete:
                finishExchange(exchange)
            case .atTrailers:
                guard writeResponseTrailers(exchange) else { return truncateResponse(exchange) }
                continue
            case .turnSpent:
                // Bytes flow: a pause begins anew with each turn.
                noteAnswerMoves(exchange)
                pauseResponse(exchange, .source(exchanges[exchange].responseBody.decoder.received))
                resumeNextTurn(exchanges[exchange].client)
            case .sourceDrained:
                let hasMoved = exchanges[exchange].responseBody.decoder.received > before
                if hasMoved || exchanges[exchange].awaitsReader { noteAnswerMoves(exchange) }
                awaitMore(exchange)
            case .sinkBlocked:
                let moved = Moved.sink(clients[client].transport.sentBytes)
                if exchanges[exchange].responsePause.moved != moved { noteAnswerMoves(exchange) }
                pauseResponse(exchange, moved)
            case .truncated, .malformed, .tooLarge:
                truncateResponse(exchange)
            case .sinkFailed:
                abandon(exchange, .clientClosed)
            }
            return
        }
    }

    /// The client takes what comes. One that has half-closed is there, and one that still owes its body may make a pause: in
    /// a call in both directions (gRPC) it may be the turn of the server alone.
    mutating func noteAnswerMoves(_ exchange: UInt32) {
        let client = exchanges[exchange].client.index
        if clients[client].halfClosedAt != .never { clients[client].halfClosedAt = now }
        let pause = exchanges[exchange].requestPause
        if pause.deadline != .never, case .source = pause.moved {
            exchanges[exchange].requestPause.deadline = pauseEnd
        }
    }

    /// A backend may pause as long as the route's timeout allows.
    private mutating func awaitMore(_ exchange: UInt32) {
        exchanges[exchange].responsePause = Pause()
        exchanges[exchange].settlePauses()
        setExchangeDeadline(exchange)
    }

    private mutating func writeResponseTrailers(_ exchange: UInt32) -> Bool {
        let client = exchanges[exchange].client.index
        let server = exchanges[exchange].server.index
        guard let lines = exchanges[exchange].responseBody.trailers else { return false }
        if clients[client].transport.isStream { return writeStreamTrailers(exchange, lines) }
        clients[client].transport.output.attach(from: &pool)
        let fits = Trailers.appendResponse(
            lines, of: &servers[server].transport.input, &trailerFields, to: &clients[client].transport.output
        )
        servers[server].transport.input.consume(lines.end + 2)
        exchanges[exchange].responseBody.trailersWritten()
        return fits
    }

    /// The backend's answer breaks the rules before anything of it was passed on.
    mutating func badResponse(_ exchange: UInt32) {
        dropServer(exchange)
        exchanges[exchange].notes.note(refusal: "answer_malformed")
        reply(exchange, .upstreamInvalidResponse)
    }

    /// The backend's answer broke off after its head was passed on: only a cut connection tells the client.
    private mutating func truncateResponse(_ exchange: UInt32) {
        abandon(exchange, .upstreamTruncated)
    }
}
