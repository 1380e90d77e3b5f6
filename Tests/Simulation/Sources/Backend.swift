import CSimulation

/// A connection of the proxy to a server of its upstream.
final class BackendConnection: Peer {
    private enum Conduct: CaseIterable {
        case well, chunked, untilClose, closingAfter
        // Only where something may go wrong:
        case silentClose, reset, garbage, half, hang, early, extra, closeUnasked
    }

    private var outbox: [UInt8] = []
    private var sent = 0
    private var endsAfterwards = false
    private var resetsAfterwards = false
    /// It breaks off an answer that only its end ends: with TLS, without the word that says so.
    private var isCut = false
    private var isHanging = false
    /// Words behind an answer come with it: later they would be an answer to the next request, for all that anybody knows.
    private var isAtOnce = false
    /// The request that is being read.
    private var current: (id: String, user: String?, head: PlainHead, conduct: Conduct)?
    /// Whom it answers, or has answered last.
    private var answering: String?
    private var unaskedClose = false
    private var tunnel: Tunnel?
    /// Its Close frame has been said.
    private var hasSaidClose = false

    override func act(_ now: Int64) {
        guard stream >= 0 else { return }
        let isEnd = readSome()
        if isHanging {
            if isEnd { leave() }
            return
        }
        if let tunnel { return converse(tunnel, now, isEnd: isEnd) }
        if sent < outbox.count { return sendSome(now) }
        if isCut { sim_peer_mute(stream) }
        if resetsAfterwards || endsAfterwards { return leave(resetting: resetsAfterwards) }
        readRequest(now)
        if stream >= 0, isEnd, sent >= outbox.count { leave() }
        if stream >= 0, hasNews, next == never { next = pause(now) }
    }

    private func sendSome(_ now: Int64) {
        let rest = outbox.count - sent
        let count = sim_below(3) == 0 && !isAtOnce ? 1 + Int(sim_below(UInt32(rest))) : rest
        write(outbox[sent..<sent + count])
        sent += count
        // Of a tunnel's Close frame, or less, the beginning may have been said before.
        if count >= 4, let answering { world.ledger.noteLastWord(id: answering) }
        next = pause(now)
    }

    private func readRequest(_ now: Int64) {
        if current == nil {
            guard !inbox.isEmpty else {
                // A server may close a connection that nobody uses, at any time.
                if unaskedClose { leave() }
                return
            }
            guard let head = PlainHead(inbox, from: 0), head.start.count == 3 else { return }
            begin(head)
        }
        guard let request = current else { return }
        let (head, method) = (request.head, request.head.start[0])
        switch request.conduct {
        case .silentClose: return leave()
        case .reset: return leave(resetting: true)
        case .hang:
            isHanging = true
            return
        case .garbage:
            outbox = Array("HTTP/1.1 2xx\r\n\n\u{1}".utf8)
            (sent, resetsAfterwards) = (0, true)
            next = pause(now)
            return
        case .early:
            answer(request.id, request.user, method, .closingAfter)
            next = pause(now)
            return
        default: break
        }
        let body: PlainBody
        if let count = head.value("content-length").flatMap({ Int($0) }) {
            body = .counted(inbox, from: head.end, count: count)
        } else if head.value("transfer-encoding") == "chunked" {
            body = .chunked(inbox, from: head.end)
        } else {
            body = .complete([], end: head.end)
        }
        switch body {
        case .incomplete: return
        case .broken:
            world.ledger.violate("the body of \(request.id) is broken")
            leave()
        case .complete(let content, let end):
            if head.value("upgrade") != nil {
                inbox.removeFirst(end)
                meetHandshake(request.id, request.user, request.conduct)
                next = pause(now)
                return
            }
            world.ledger.noteBody(id: request.id, content)
            if head.value("transfer-encoding") != nil {
                world.ledger.noteTrailers(
                    id: request.id, String(decoding: inbox[..<end].suffix(100), as: UTF8.self))
            }
            inbox.removeFirst(end)
            if !inbox.isEmpty { world.ledger.violate("\(inbox.count) bytes behind \(request.id)") }
            answer(request.id, request.user, method, request.conduct)
            next = pause(now)
        }
    }

    // MARK: Tunnels

    private func meetHandshake(_ id: String, _ user: String?, _ conduct: Conduct) {
        let echo = "X-Echo: \(id)\r\n" + (user.map { "X-Echo-User: \($0)\r\n" } ?? "")
        if conduct == .closingAfter {
            current = nil
            world.ledger.noteAnswer(id: id, byteCount: 0)
            outbox = Array("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\(echo)\r\n".utf8)
            return sent = 0
        }
        let (tunnel, byteCount) = Tunnel.answer(to: id)
        world.ledger.noteAnswer(id: id, byteCount: byteCount)
        outbox = Array(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\(echo)Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                .utf8)
        outbox += tunnel.frames
        hasSaidClose = sim_below(2) == 0
        if hasSaidClose { outbox += tunnel.close }
        if conduct == .half {
            outbox.removeLast(Int(sim_below(UInt32(outbox.count))))
            (endsAfterwards, resetsAfterwards) = (true, sim_below(2) == 0)
        }
        (sent, self.tunnel) = (0, tunnel)
    }

    /// Says what there is to say; the Close frame first, or after the client's.
    private func converse(_ before: Tunnel, _ now: Int64, isEnd: Bool) {
        var tunnel = before
        tunnel.hear(&inbox)
        self.tunnel = tunnel
        guard let id = current?.id else { return }
        if tunnel.isBroken { world.ledger.violate("\(id) said what are no frames") }
        if before.code == nil, tunnel.code != nil {
            world.ledger.noteBody(id: id, tunnel.heard)
            if !hasSaidClose, !endsAfterwards {
                outbox += tunnel.close
                hasSaidClose = true
            }
        }
        if sent < outbox.count { return sendSome(now) }
        if isEnd || endsAfterwards || (hasSaidClose && tunnel.code != nil) {
            leave(resetting: resetsAfterwards)
        }
    }

    private func begin(_ head: PlainHead) {
        let id = String(head.start[1].split(separator: "/").last ?? "")
        if head.count("x-user-id") > 1 { world.ledger.violate("two identities of \(id)") }
        if head.count("host") != 1 { world.ledger.violate("\(head.count("host")) hosts of \(id)") }
        let user = head.value("x-user-id")
        let address = head.value("x-forwarded-for")
        world.ledger.noteForwarded(id: id, method: head.start[0], user: user, from: address, port)
        var conduct = Conduct.well
        if sim_below(4) == 0 {
            conduct =
                Conduct.allCases[Int(sim_below(world.scenario.isClean ? 4 : UInt32(Conduct.allCases.count)))]
        }
        if conduct == .untilClose, head.start[0] == "HEAD" { conduct = .well }
        // With TLS they may come later.
        if conduct == .extra, world.scenario.upstream.security != nil { conduct = .well }
        current = (id, user, head, conduct)
        answering = id
    }

    private func answer(_ id: String, _ user: String?, _ method: String, _ conduct: Conduct) {
        current = nil
        let byteCount = sim_below(32) == 0 ? Int(sim_below(150_000)) : Int(sim_below(300))
        let content = Ledger.content(of: id, byteCount: byteCount)
        world.ledger.noteAnswer(id: id, byteCount: byteCount)
        let status = conduct == .well && sim_below(16) == 0 ? 204 + 100 * Int(sim_below(2)) : 200
        var head =
            "HTTP/1.1 \(status) OK\r\nX-Echo: \(id)\r\n" + (user.map { "X-Echo-User: \($0)\r\n" } ?? "")
        switch conduct {
        case .chunked: head += "Transfer-Encoding: chunked\r\n\r\n"
        case .untilClose: head += "\r\n"
        case .half where world.scenario.upstream.security != nil && sim_below(2) == 0:
            head += "\r\n"
            isCut = true
        case .closingAfter: head += "Connection: close\r\nContent-Length: \(byteCount)\r\n\r\n"
        default: head += status == 204 ? "\r\n" : "Content-Length: \(byteCount)\r\n\r\n"
        }
        outbox = sim_below(16) == 0 ? Array("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".utf8) : []
        outbox += Array(head.utf8)
        if method != "HEAD", status == 200 {
            let trailers = sim_below(4) == 0 ? PlainBody.trailerLines : ""
            if conduct == .chunked, !trailers.isEmpty { world.ledger.answersWithTrailers.insert(id) }
            outbox +=
                conduct == .chunked
                ? chunks(content, size: 1 + Int(sim_below(5000)), trailers: trailers) : content
        }
        switch conduct {
        case .half: outbox.removeLast(Int(sim_below(UInt32(outbox.count))))
        case .extra: outbox += Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Echo: x\r\n\r\n".utf8)
        default: break
        }
        sent = 0
        endsAfterwards = [.untilClose, .closingAfter, .half].contains(conduct)
        isAtOnce = conduct == .extra
        unaskedClose = conduct == .closeUnasked
        resetsAfterwards = conduct == .half && !isCut && sim_below(2) == 0
    }
}
