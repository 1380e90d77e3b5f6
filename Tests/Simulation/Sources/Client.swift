import CSimulation

/// A client with a few connections, one after the other, each with a few requests.
final class Client: Peer {
    private enum Fault {
        case none, reset, finish, stall
    }

    private var connections: [[Plan]]
    private var plans: [Plan] = []
    /// Requests that were answered, and where in `outbox` each begins and ends.
    private var answeredCount = 0
    private var ends: [Int] = []
    /// Where the head of each ends.
    private var heads: [Int] = []
    /// Heads that are said.
    private var saidCount = 0
    private var outbox: [UInt8] = []
    private var sent = 0
    private var pipelines = false
    private var isSlow = false
    private var fault = Fault.none
    private var faultPlace = Int.max
    private var hasFinished = false

    init(_ world: World, _ connections: [[Plan]]) {
        self.connections = connections
        super.init(world)
        next = Int64(sim_now()) + Int64(sim_below(5000))
    }

    override func act(_ now: Int64) {
        guard stream >= 0 else { return connect(now) }
        let isEnd = readSome(atMost: isSlow ? 1 + Int(sim_below(2000)) : 1 << 20)
        while answeredCount < plans.count, takeAnswer(atEnd: isEnd) {}
        if stream < 0 { return }
        if isEnd, sim_peer_available(stream) == 0 { return end(now, isCut: answeredCount < plans.count) }
        if answeredCount == plans.count {
            // 408 in the middle of a head cannot know that it is one of HEAD, and has a body; the connection ends.
            if !inbox.isEmpty, lastStatus != 408 {
                world.ledger.violate(
                    "\(String(decoding: inbox, as: UTF8.self).debugDescription) behind the answer \(lastStatus) to \(plans[answeredCount - 1].method) \(plans[answeredCount - 1].id) \(plans[answeredCount - 1].credential)"
                )
            }
            // Some wait until the proxy has had enough.
            if sim_below(8) > 0 { end(now, isCut: false) }
            return
        }
        send(now)
        if hasNews { next = pause(now) }
    }

    private func connect(_ now: Int64) {
        guard let plans = open(nextOf: &connections) else { return }
        // Behind a handshake there is nothing but what is said in the tunnel.
        let last = plans.firstIndex { $0.isTunnel } ?? plans.count
        self.plans = Array(plans.prefix(last + 1))
        tunnel = nil
        (answeredCount, sent, hasFinished, outbox, ends, head) = (0, 0, false, [], [], nil)
        (heads, saidCount) = ([], 0)
        for plan in self.plans {
            world.ledger.expect(plan)
            if plan.isChunked, plan.hasTrailers { world.ledger.requestsWithTrailers.insert(plan.id) }
            let (head, body) = world.scenario.bytes(of: plan)
            heads.append(outbox.count + head.count)
            outbox += head + body
            ends.append(outbox.count)
        }
        pipelines = sim_below(4) == 0
        isSlow = sim_below(8) == 0
        (fault, faultPlace) = (.none, .max)
        if !world.scenario.isClean, sim_below(5) == 0 {
            fault = [.reset, .finish, .stall][Int(sim_below(3))]
            faultPlace = Int(sim_below(UInt32(outbox.count + 1)))
        }
        next = pause(now)
    }

    private func send(_ now: Int64) {
        let limit = pipelines ? outbox.count : ends[answeredCount]
        if sent >= faultPlace {
            switch fault {
            case .reset:
                world.isDisturbed = true
                leave(resetting: true)
                next = pause(now)
            case .finish where !hasFinished:
                world.isDisturbed = true
                sim_peer_finish(stream)
                hasFinished = true
            default: break
            }
            return
        }
        guard sent < limit else {
            // All is said: there may still be something to hear.
            if tunnel != nil, !hasFinished, sim_below(4) == 0 {
                sim_peer_finish(stream)
                hasFinished = true
            }
            return
        }
        let rest = min(limit, faultPlace) - sent
        let count = sim_below(3) == 0 ? 1 + Int(sim_below(UInt32(rest))) : rest
        write(outbox[sent..<sent + count])
        sent += count
        while saidCount < heads.count, heads[saidCount] <= sent {
            world.ledger.noteSaid(id: plans[saidCount].id)
            saidCount += 1
        }
        next = sent < limit || sent >= faultPlace ? pause(now) : next
    }

    private func end(_ now: Int64, isCut: Bool) {
        if isCut, world.isFaultless, !mayClose {
            world.ledger.violate("the connection ended before the answer to \(plans[answeredCount].id)")
        }
        leave()
        next = pause(now)
    }

    private var lastStatus = 0
    /// The proxy has said that it would close.
    private var mayClose = false

    /// Of the answer at the front of the inbox, once it is all there.
    private var head: PlainHead?

    /// A WebSocket, once it is open, and what the answer to its handshake has said.
    private var tunnel: Tunnel?
    private var welcome = Answer()

    private func open(_ plan: Plan, _ head: PlainHead) {
        world.ledger.noteHeadSeen(id: plan.id)
        welcome = Answer(
            status: 101, echo: head.value("x-echo"), user: head.value("x-echo-user"), closes: true)
        if head.count("sec-websocket-accept") != 1 || head.value("upgrade")?.lowercased() != "websocket" {
            world.ledger.violate("the tunnel of \(plan.id) has no handshake")
        }
        let tunnel = Tunnel(saying: plan.body, isClient: true)
        outbox += tunnel.frames + tunnel.close
        ends[answeredCount] = outbox.count
        if !world.scenario.isClean, fault == .none, sim_below(4) == 0 {
            fault = [.reset, .finish, .stall][Int(sim_below(3))]
            faultPlace = sent + Int(sim_below(UInt32(outbox.count - sent + 1)))
        }
        self.tunnel = tunnel
    }

    /// True where the other side has said all.
    private func listen(to plan: Plan) -> Bool {
        tunnel?.hear(&inbox)
        guard let tunnel else { return false }
        if tunnel.isBroken { world.ledger.violate("\(plan.id) got what are no frames") }
        guard tunnel.code != nil else { return false }
        welcome.take(tunnel)
        world.noteAnswered(plan, welcome)
        answeredCount += 1
        lastStatus = 101
        return true
    }

    /// Takes one answer out of the inbox; false where there is none, or not all of it.
    private func takeAnswer(atEnd: Bool) -> Bool {
        if tunnel != nil { return listen(to: plans[answeredCount]) }
        head = head ?? PlainHead(inbox, from: 0)
        guard let head else { return false }
        let plan = plans[answeredCount]
        var answer = Answer()
        answer.status = head.start.count > 1 ? Int(head.start[1]) ?? 0 : 0
        if (100..<200).contains(answer.status) {
            inbox.removeFirst(head.end)
            self.head = nil
            if answer.status == 101 { open(plan, head) }
            return true
        }
        world.ledger.noteHeadSeen(id: plan.id)
        answer.echo = head.value("x-echo")
        answer.user = head.value(plan.isQuestion ? "x-user-id" : "x-echo-user")
        answer.closes = head.value("connection")?.lowercased() == "close"
        var end = head.end
        if !plan.isHead, ![204, 304].contains(answer.status) {
            let body: PlainBody
            if let count = head.value("content-length").flatMap({ Int($0) }) {
                body = .counted(inbox, from: head.end, count: count)
            } else if head.value("transfer-encoding") == "chunked" {
                body = .chunked(inbox, from: head.end)
            } else {
                body = .broken
            }
            switch body {
            case .incomplete: return false
            case .broken:
                world.ledger.violate("the answer to \(plan.id) has no end")
                return false
            case .complete(let content, let place): (answer.body, end) = (content, place)
            }
        }
        inbox.removeFirst(end)
        self.head = nil
        world.noteAnswered(plan, answer)
        answeredCount += 1
        lastStatus = answer.status
        mayClose = answer.closes
        return true
    }
}
