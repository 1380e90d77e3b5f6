import CSimulation

/// A client that speaks HTTP/2 with prior knowledge: a few connections, one after the other, each with a few requests, some of
/// them at once.
final class HTTP2Client: HTTP2Peer<HTTP2Client.Request> {
    final class Request: HTTP2Stream {
        let plan: Plan
        var answer = Answer()
        /// A WebSocket, once it is open, and the frames that have come in parts.
        var tunnel: Tunnel?
        var rest: [UInt8] = []

        init(_ plan: Plan, sendWindow: Int, receiveWindow: Int) {
            self.plan = plan
            super.init(plan.isTunnel ? [] : plan.body, sendWindow: sendWindow, receiveWindow: receiveWindow)
            answer.hasTrailers = false
        }
    }

    private enum Fault: CaseIterable {
        case reset, finish, stall, resetStream, endlessHeaders
    }

    private var connections: [[Plan]]
    private var plans: [Plan] = []
    private var begun = 0
    private var atOnce = 1
    private var isSlow = false
    private var isGoingAway = false
    private var fault: Fault?
    private var faultPlace = Int.max

    init(_ world: World, _ connections: [[Plan]]) {
        self.connections = connections
        super.init(world)
        next = Int64(sim_now()) + Int64(sim_below(5000))
    }

    override var speaksHTTP2: Bool { true }

    override func act(_ now: Int64) {
        guard stream >= 0 else { return connect(now) }
        let isEnd = readSome(atMost: isSlow ? 1 + Int(sim_below(2000)) : 1 << 20)
        takeFrames()
        if isEnd, sim_peer_available(stream) == 0 { return end(now) }
        if isStalled { return }
        let isAllBegun = begun == plans.count || isGoingAway
        if isAllBegun, streams.values.allSatisfy(\.isOver) {
            // Some wait until the proxy has had enough.
            if sim_below(8) > 0 { end(now) } else { isStalled = true }
            return
        }
        if doesWrong() { return }
        if !isAllBegun { beginSome() }
        sendContent()
        credit()
        flush()
        if hasMore || begun < plans.count { next = pause(now) }
    }

    private func connect(_ now: Int64) {
        guard let plans = open(nextOf: &connections) else { return }
        self.plans = plans
        begin()
        (begun, isGoingAway) = (0, false)
        windowOfStreams = [65_535, 1 << 20, 1000][Int(sim_below(3))]
        outbox = Frame.preface + Frame.settings([(4, windowOfStreams)])
        if sim_below(2) == 0 {
            outbox += Frame.make(.windowUpdate, 0, 0, Frame.word(1 << 20))
            receiveWindow += 1 << 20
        }
        atOnce = 1 + Int(sim_below(5))
        isSlow = sim_below(8) == 0
        (fault, faultPlace) = (nil, .max)
        if !world.scenario.isClean, sim_below(4) == 0 {
            fault = Fault.allCases[Int(sim_below(UInt32(Fault.allCases.count)))]
            faultPlace = Int(sim_below(3000))
        }
        next = pause(now)
    }

    /// What a client may do that a good one does not; true where it does nothing else for now.
    private func doesWrong() -> Bool {
        guard sentCount >= faultPlace, let fault else { return false }
        world.isDisturbed = true
        faultPlace = .max
        switch fault {
        case .reset:
            leave(resetting: true)
            next = pause(Int64(sim_now()))
            return true
        case .finish:
            sim_peer_finish(stream)
            isStalled = true
            return true
        case .stall:
            isStalled = true
            return true
        case .resetStream:
            guard let (number, chosen) = streams.min(by: { $0.key < $1.key }), !chosen.isOver else {
                return false
            }
            outbox += Frame.make(.reset, 0, number, Frame.word(8))
            (chosen.isOver, chosen.unsent) = (true, [])
            return false
        case .endlessHeaders:
            outbox += Frame.make(.headers, 1, UInt32(2 * begun + 1), [0x82])
            flush()
            isStalled = true
            return true
        }
    }

    private func beginSome() {
        let open = streams.values.count { !$0.isOver }
        for _ in 0..<max(0, min(atOnce, mostStreams) - open) where begun < plans.count {
            let plan = plans[begun]
            // Whoever wants a tunnel waits for what the SETTINGS say.
            guard !plan.isTunnel || takesTunnels else { return }
            let number = UInt32(2 * begun + 1)
            begun += 1
            world.ledger.expect(plan)
            world.ledger.noteSaid(id: plan.id)
            let request = Request(plan, sendWindow: windowOfOthers, receiveWindow: windowOfStreams)
            if !plan.body.isEmpty, !plan.isTunnel {
                request.endsLate = sim_below(8) == 0
                if plan.hasTrailers || sim_below(8) == 0 {
                    request.ending = .trailers(PlainBody.trailers)
                    world.ledger.requestsWithTrailers.insert(plan.id)
                }
            }
            streams[number] = request
            outbox += Frame.make(
                .headers, plan.body.isEmpty && !plan.isTunnel ? 5 : 4, number,
                Frame.block(world.scenario.fields(of: plan)))
            if sim_below(3) == 0 { break }
        }
    }

    private func end(_ now: Int64) {
        if world.isFaultless, let cut = streams.values.first(where: { !$0.isOver }) {
            world.ledger.violate("the connection of HTTP/2 ended before the answer to \(cut.plan.id)")
        }
        leave()
        next = pause(now)
    }

    // MARK: What comes

    override func takeGoAway(last: UInt32, code: UInt32) {
        isGoingAway = true
        // Only who was slow or worse is told of an error.
        if code != 0, world.isFaultless { world.ledger.violate("GOAWAY with \(code)") }
        for (number, each) in streams where number > last { each.isOver = true }
    }

    override func take(_ kind: FrameKind, _ flags: UInt8, _ number: UInt32, _ payload: ArraySlice<UInt8>) {
        guard let each = streams[number] else {
            if fault == .endlessHeaders { return }
            return world.ledger.violate("a frame \(kind) of stream \(number), which is nobody's")
        }
        switch kind {
        case .reset:
            if !each.isOver, world.isFaultless {
                world.ledger.violate("the stream of \(each.plan.id) was reset with \(Frame.number(payload))")
            }
            (each.isOver, each.isSending) = (true, false)
            return
        case .data:
            noteContent(each, byteCount: payload.count)
            if each.answer.status == 0 { world.ledger.violate("\(each.plan.id) got content before its head") }
            if each.tunnel == nil { each.answer.body += payload } else { listen(number, each, payload) }
        default:
            takeFields(of: each, payload)
            if each.plan.isTunnel, each.answer.status == 200, each.tunnel == nil { open(each) }
        }
        if each.answer.status >= 200 { world.ledger.noteHeadSeen(id: each.plan.id) }
        guard flags & 1 == 1, each.answer.status >= 200, !each.isOver else { return }
        if each.tunnel != nil {
            if world.isFaultless { world.ledger.violate("the tunnel of \(each.plan.id) was cut") }
            return each.isOver = true
        }
        end(number, each)
    }

    private func end(_ number: UInt32, _ each: Request) {
        each.isOver = true
        // Of a tunnel that there is none of, or no more, nothing is left to be said.
        if each.plan.isTunnel, each.tunnel == nil || each.isSending {
            outbox += Frame.make(.reset, 0, number, Frame.word(8))
        }
        world.noteAnswered(each.plan, each.answer)
    }

    // MARK: Tunnels

    private func open(_ each: Request) {
        let tunnel = Tunnel(saying: each.plan.body, isClient: true)
        each.tunnel = tunnel
        each.unsent = (tunnel.frames + tunnel.close)[...]
        each.isSending = true
        if !world.scenario.isClean, sim_below(8) == 0 {
            each.unsent = each.unsent.prefix(Int(sim_below(UInt32(each.unsent.count))))
            each.ending = [.well, .never, .reset(8)][Int(sim_below(3))]
            world.isDisturbed = true
        }
    }

    private func listen(_ number: UInt32, _ each: Request, _ payload: ArraySlice<UInt8>) {
        guard !each.isOver else { return }
        each.rest += payload
        each.tunnel?.hear(&each.rest)
        guard let tunnel = each.tunnel else { return }
        if tunnel.isBroken { world.ledger.violate("\(each.plan.id) got what are no frames") }
        guard tunnel.code != nil else { return }
        each.answer.take(tunnel)
        end(number, each)
    }

    private func takeFields(of each: Request, _ block: ArraySlice<UInt8>) {
        let isTrailers = each.answer.status >= 200
        if isTrailers { each.answer.hasTrailers = true }
        for (name, value) in inflate(block) where !isTrailers {
            switch name {
            case ":status": each.answer.status = Int(value) ?? 0
            case "x-echo": each.answer.echo = value
            case "x-echo-user": each.answer.user = value
            case "connection", "transfer-encoding":
                world.ledger.violate("\(each.plan.id) got \(name) in HTTP/2")
            default: break
            }
        }
    }
}
