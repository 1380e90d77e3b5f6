import CSimulation

/// A connection of the proxy to a server that speaks HTTP/2.
final class HTTP2Backend: HTTP2Peer<HTTP2Backend.Exchange> {
    final class Exchange: HTTP2Stream {
        let id: String
        let user: String?
        let method: String
        let conduct: Conduct
        var body: [UInt8] = []
        /// All of the request has come.
        var isComplete = false
        var hasTrailers = false
        var isAnswered = false
        /// A WebSocket, and the frames that have come in parts.
        let isTunnel: Bool
        var tunnel: Tunnel?
        var rest: [UInt8] = []

        init(
            id: String, user: String?, method: String, _ conduct: Conduct, isTunnel: Bool, windows: (Int, Int)
        ) {
            (self.id, self.user, self.method, self.conduct) = (id, user, method, conduct)
            self.isTunnel = isTunnel
            super.init([], sendWindow: windows.0, receiveWindow: windows.1)
        }
    }

    /// What becomes of one request.
    enum Conduct: CaseIterable {
        case well, withoutLength, trailers, emptyEnd, trailersOfLength, lateEnd
        // Only where something may go wrong:
        case refused, reset, half, hang, early, earlyReset, endless, malformed, wrongLength, extra
        static let goodCount: UInt32 = 6
    }

    /// What a connection does wrong, once.
    private enum Fault: CaseIterable {
        case reset, close, stall, deaf, noise, goAway, goAwayWithError
        case noStreams, noWindow, overflow, otherProtocol, silence
    }

    private var hasPreface = false
    private var highest: UInt32 = 0
    /// Streams above it are not looked at.
    private var last: UInt32 = .max
    private var hasAnnouncedEnd = false
    private var hasFinished = false
    /// It does not even read.
    private var isDeaf = false
    /// SETTINGS that are not acknowledged yet, in their order: streams, the window, the table.
    private var unacknowledged: [(streams: Int?, window: Int?, table: Int?)] = []
    private var streamLimit = Int.max
    private var fault: Fault?
    private var faultPlace = Int.max

    override init(_ world: World) {
        super.init(world)
        begin()
        if !world.scenario.isClean, sim_below(4) == 0 {
            fault = Fault.allCases[Int(sim_below(UInt32(Fault.allCases.count)))]
            faultPlace = fault == .otherProtocol || fault == .silence ? 0 : Int(sim_below(2000))
        }
        if faultPlace > 0 { changeSettings(isFirst: true) }
        if sim_below(2) == 0 {
            outbox += Frame.make(.windowUpdate, 0, 0, Frame.word(1 << 20))
            receiveWindow += 1 << 20
        }
        // Now and then it takes so long to begin that many wait for it, and that it has gone before it does.
        next = sim_below(8) == 0 ? sim_now() + Int64(sim_below(100_000)) : pause(sim_now())
    }

    override func act(_ now: Int64) {
        guard stream >= 0 else { return }
        if isDeaf {
            // Only a reset, or the end of all, gets it away.
            if sim_peer_sees_reset(stream) { leave() }
            return
        }
        let isEnd = readSome()
        if isStalled { return isEnd ? leave() : () }
        if !hasPreface {
            guard isEnd || inbox.count >= Frame.preface.count else { return }
            hasPreface = true
            if !isEnd, !inbox.starts(with: Frame.preface) { world.ledger.violate("no preface") }
            inbox.removeFirst(min(inbox.count, Frame.preface.count))
        }
        takeFrames()
        if isEnd { return leave() }
        if doesWrong() { return }
        if sim_below(64) == 0, !hasAnnouncedEnd { changeSettings(isFirst: false) }
        if sim_below(64) == 0, highest > 0, !hasAnnouncedEnd { announceEnd() }
        for (number, each) in streams.sorted(by: { $0.key < $1.key }) where sim_below(3) > 0 {
            answer(number, each)
        }
        // An end that comes late is nothing that a client of HTTP/1.1 waits for.
        for each in streams.values where !each.unsent.isEmpty && each.isSending && !each.isTunnel {
            world.ledger.noteLastWord(id: each.id)
        }
        sendContent()
        credit()
        flush()
        if last != .max, !hasFinished, outbox.isEmpty, streams.values.allSatisfy(isOver) {
            sim_peer_finish(stream)
            hasFinished = true
        }
        if hasMore || streams.values.contains(where: owesAnswer) { next = pause(now) }
    }

    private func owesAnswer(_ each: Exchange) -> Bool {
        (each.isComplete || (each.isTunnel && !each.isAnswered)) && !isOver(each) && each.conduct != .hang
    }

    private func isOver(_ each: Exchange) -> Bool {
        each.isOver || (each.isComplete && each.isAnswered && !each.isSending)
    }

    // MARK: The connection

    private func changeSettings(isFirst: Bool) {
        var entries: [(UInt8, Int)] = []
        var change: (streams: Int?, window: Int?, table: Int?)
        if sim_below(2) == 0 {
            let count = 1 + Int(sim_below(isFirst ? 8 : 4))
            change.streams = count
            entries.append((3, count))
        }
        if sim_below(2) == 0 {
            let window = [65_535, 1 << 20, 1000][Int(sim_below(3))]
            change.window = window
            entries.append((4, window))
        }
        if sim_below(4) == 0 {
            let size = [0, 64, 4096][Int(sim_below(3))]
            change.table = size
            entries.append((1, size))
        }
        if isFirst, world.scenario.isClean || sim_below(8) > 0 { entries.append((8, 1)) }
        unacknowledged.append(change)
        outbox += Frame.settings(entries)
    }

    override func takeAcknowledgement(of kind: FrameKind) {
        guard kind == .settings else { return refuseLater() }
        guard !unacknowledged.isEmpty else { return world.ledger.violate("an acknowledgement of nothing") }
        let change = unacknowledged.removeFirst()
        if let count = change.streams { streamLimit = count }
        if let window = change.window {
            for each in streams.values { each.receiveWindow += window - windowOfStreams }
            windowOfStreams = window
        }
        if let size = change.table { changeTable(byteCount: size) }
    }

    /// The connection is to end: whoever has read this begins no further stream, and says so with the answer to PING.
    private func announceEnd() {
        hasAnnouncedEnd = true
        outbox += Frame.make(.goAway, 0, 0, Frame.word(0x7fff_ffff) + Frame.word(0))
        outbox += Frame.make(.ping, 0, 0, Array("goodbye!".utf8))
    }

    private func refuseLater() {
        guard hasAnnouncedEnd, last == .max else { return }
        last = highest
        outbox += Frame.make(.goAway, 0, 0, Frame.word(last) + Frame.word(0))
    }

    /// What a server may do that a good one does not; true where it does nothing else for now.
    private func doesWrong() -> Bool {
        guard sentCount >= faultPlace, let fault else { return false }
        faultPlace = .max
        switch fault {
        case .reset, .close: leave(resetting: fault == .reset)
        case .stall, .silence: isStalled = true
        case .deaf: isDeaf = true
        case .noise:
            outbox += (0..<64).map { _ in UInt8(sim_below(256)) }
            flush()
            isStalled = true
        case .otherProtocol:
            outbox = Array("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".utf8)
            flush()
            isStalled = true
        case .goAway, .goAwayWithError:
            goAwayAtOnce(code: fault == .goAway ? 0 : 1 + sim_below(13))
            return false
        case .noStreams:
            outbox += Frame.settings([(3, 0)])
            unacknowledged.append((0, nil, nil))
            return false
        case .noWindow:
            outbox += Frame.settings([(4, 0)])
            unacknowledged.append((nil, 0, nil))
            return false
        case .overflow:
            // What a window has room for of it would be relayed, were it a tunnel's.
            guard let (number, each) = streams.first(where: { $0.value.isSending && !$0.value.isTunnel })
            else { return false }
            for _ in 0..<9 { outbox += Frame.make(.data, 0, number, Array(repeating: 1, count: 16_384)) }
            sendWindow -= 9 * 16_384
            each.isOver = true
            return false
        }
        return true
    }

    /// Says that some of the streams were never looked at, which is true of those that have not been answered.
    private func goAwayAtOnce(code: UInt32) {
        guard last == .max else { return }
        hasAnnouncedEnd = true
        last = highest
        for (number, each) in streams.sorted(by: { $0.key > $1.key }) {
            guard !each.isAnswered, sim_below(2) == 0 else { break }
            if !each.isOver { world.ledger.noteRefused(id: each.id) }
            each.isOver = true
            last = number - 1
        }
        outbox += Frame.make(.goAway, 0, 0, Frame.word(last) + Frame.word(code))
    }

    // MARK: Requests

    override func takeGoAway(last: UInt32, code: UInt32) {
        if code != 0, world.isFaultless { world.ledger.violate("GOAWAY to a server with \(code)") }
    }

    override func take(_ kind: FrameKind, _ flags: UInt8, _ number: UInt32, _ payload: ArraySlice<UInt8>) {
        let each = streams[number]
        switch kind {
        case .headers:
            let fields = inflate(payload)
            if flags & 0x2c != 4 { world.ledger.violate("HEADERS with flags \(flags)") }
            if let each, !each.isComplete {
                if flags & 1 == 0 || fields.contains(where: { $0.0.hasPrefix(":") }) {
                    world.ledger.violate("\(each.id) has no trailers where they should be")
                }
                world.ledger.noteTrailers(id: each.id, fields.map(\.1).joined())
                each.hasTrailers = true
                break
            }
            // Trailers, behind a head that came too late for a GOAWAY and was never looked at.
            if number > last, number <= highest, flags & 1 == 1 { return }
            if number & 1 == 0 || number <= highest { return world.ledger.violate("stream \(number) again") }
            highest = number
            guard number <= last else { return }
            begin(number, fields)
        case .data:
            noteContent(each, byteCount: payload.count)
            if number > highest { world.ledger.violate("content of stream \(number), which has no head") }
            if each?.isComplete ?? false { world.ledger.violate("content behind the end of \(number)") }
            if let each, each.isTunnel { listen(to: each, payload) } else { each?.body += payload }
        default:
            if number > highest { world.ledger.violate("a reset of stream \(number), which has no head") }
            each?.isOver = true
        }
        guard kind != .reset, flags & 1 == 1, let each = streams[number] else { return }
        each.isComplete = true
        guard !each.isOver, !each.isTunnel else { return }
        world.ledger.noteBody(id: each.id, each.body)
        world.ledger.noteEnd(id: each.id, hasTrailers: each.hasTrailers)
    }

    private func begin(_ number: UInt32, _ fields: [(String, String)]) {
        func values(_ name: String) -> [String] { fields.filter { $0.0 == name }.map(\.1) }
        let id = String(values(":path").first?.split(separator: "/").last ?? "")
        for name in [":method", ":path", ":scheme", ":authority"] where values(name).count != 1 {
            world.ledger.violate("\(id) has \(values(name).count) of \(name)")
        }
        for name in [
            "connection", "host", "transfer-encoding", "keep-alive", "expect", "authorization", "upgrade",
        ]
        where !values(name).isEmpty {
            world.ledger.violate("\(id) came with \(name)")
        }
        let users = values("x-user-id")
        if users.count > 1 { world.ledger.violate("two identities of \(id)") }
        if streams.values.count(where: { !isOver($0) }) >= streamLimit {
            world.ledger.violate("\(id) is one stream too many, with \(streamLimit)")
        }
        let isTunnel = values(":protocol") == ["websocket"]
        let method = isTunnel ? "GET" : values(":method").first ?? ""
        let address = values("x-forwarded-for").joined(separator: " and ")
        world.ledger.noteForwarded(id: id, method: method, user: users.first, from: address, port)
        let count = world.scenario.isClean ? Conduct.goodCount : UInt32(Conduct.allCases.count)
        let conduct = sim_below(3) == 0 ? Conduct.allCases[Int(sim_below(count))] : .well
        streams[number] = Exchange(
            id: id, user: users.first, method: method, conduct, isTunnel: isTunnel,
            windows: (windowOfOthers, windowOfStreams))
    }

    // MARK: Answers

    private func answer(_ number: UInt32, _ each: Exchange) {
        guard !each.isOver, !each.isAnswered else { return }
        switch each.conduct {
        case .hang: return
        case .refused:
            world.ledger.noteRefused(id: each.id)
            return reset(number, each, code: 7)
        case .reset: return reset(number, each, code: sim_below(14) == 7 ? 2 : sim_below(6))
        case .malformed:
            each.isAnswered = true
            let fields = [
                [("x-echo", each.id)], [(":status", "200"), ("Upper", "x")], [(":status", "2xx")],
                [(":status", "200"), ("connection", "close")], [(":status", "200"), (":status", "404")],
                [(":status", "101")], [(":status", "200"), ("a", "b\r\nx-echo: other")],
            ][Int(sim_below(7))]
            outbox += Frame.make(.headers, 5, number, Frame.block(fields))
        default:
            if each.isTunnel {
                meetHandshake(number, each)
            } else if each.isComplete || each.conduct == .early || each.conduct == .earlyReset {
                submit(number, each)
            }
        }
    }

    private func reset(_ number: UInt32, _ each: Exchange, code: UInt32) {
        each.isOver = true
        outbox += Frame.make(.reset, 0, number, Frame.word(code))
    }

    private func submit(_ number: UInt32, _ each: Exchange) {
        each.isAnswered = true
        let byteCount = sim_below(32) == 0 ? Int(sim_below(150_000)) : Int(sim_below(300))
        let isWrong = each.conduct == .wrongLength
        world.ledger.noteAnswer(id: each.id, byteCount: byteCount)
        let status = each.conduct == .well && sim_below(16) == 0 ? 204 + 100 * Int(sim_below(2)) : 200
        var fields = [(":status", String(status)), ("x-echo", each.id)]
        if let user = each.user { fields.append(("x-echo-user", user)) }
        let isWithoutLength = [.withoutLength, .trailers, .endless].contains(each.conduct)
        if !isWithoutLength, status != 204 { fields.append(("content-length", String(byteCount))) }
        if sim_below(16) == 0 {
            outbox += Frame.make(.headers, 4, number, Frame.block([(":status", "103"), ("link", "</a>")]))
        }
        let isEmpty = each.method == "HEAD" || status != 200 || (byteCount == 0 && each.conduct == .well)
        submitHead(number, fields, endsStream: isEmpty)
        guard !isEmpty else { return }
        each.isSending = true
        each.unsent = Ledger.content(of: each.id, byteCount: byteCount)[...]
        switch each.conduct {
        case .half:
            each.unsent = each.unsent.prefix(Int(sim_below(UInt32(byteCount + 1))))
            each.ending = .reset(sim_below(3))
        case .trailers, .trailersOfLength:
            each.ending = .trailers([("x-check", "sum")])
            world.ledger.answersWithTrailers.insert(each.id)
            each.endsLate = sim_below(2) == 0
        case .lateEnd: each.endsLate = true
        case .endless: each.ending = .never
        case .earlyReset where !each.isComplete: each.ending = .wellAndReset
        case .extra: outbox += Frame.make(.data, 0, number, [])
        default: break
        }
        // Both ways: the answer is longer than it says, or shorter.
        if isWrong { each.unsent = sim_below(2) == 0 ? each.unsent + [1] : each.unsent.dropLast() }
    }

    // MARK: Tunnels

    private func meetHandshake(_ number: UInt32, _ each: Exchange) {
        each.isAnswered = true
        let user = each.user.map { [("x-echo-user", $0)] } ?? []
        if each.conduct == .trailers {
            world.ledger.noteAnswer(id: each.id, byteCount: 0)
            return submitHead(number, [(":status", "403"), ("x-echo", each.id)] + user, endsStream: true)
        }
        let (tunnel, byteCount) = Tunnel.answer(to: each.id)
        world.ledger.noteAnswer(id: each.id, byteCount: byteCount)
        submitHead(number, [(":status", "200"), ("x-echo", each.id)] + user, endsStream: false)
        (each.tunnel, each.isSending) = (tunnel, true)
        let closesFirst = sim_below(2) == 0
        each.unsent = (tunnel.frames + (closesFirst ? tunnel.close : []))[...]
        if !closesFirst || each.conduct == .endless { each.ending = .never }
        if each.conduct == .half {
            each.unsent = each.unsent.prefix(Int(sim_below(UInt32(each.unsent.count + 1))))
            each.ending = .reset(sim_below(3))
        }
        listen(to: each, [])
    }

    /// Hears what the client says, and answers its Close frame.
    private func listen(to each: Exchange, _ payload: ArraySlice<UInt8>) {
        each.rest += payload
        guard !each.isOver, let before = each.tunnel else { return }
        each.tunnel?.hear(&each.rest)
        guard let tunnel = each.tunnel else { return }
        if tunnel.isBroken { world.ledger.violate("\(each.id) said what are no frames") }
        guard before.code == nil, tunnel.code != nil else { return }
        world.ledger.noteBody(id: each.id, tunnel.heard)
        guard case .never = each.ending, each.conduct != .endless else { return }
        each.unsent += tunnel.close
        (each.isSending, each.ending) = (true, .well)
    }

    /// A head in one frame, or in several, or with padding.
    private func submitHead(_ number: UInt32, _ fields: [(String, String)], endsStream: Bool) {
        let end: UInt8 = endsStream ? 1 : 0
        let block = Frame.block(fields)
        switch sim_below(8) {
        case 0:
            let cut = Int(sim_below(UInt32(block.count)))
            outbox += Frame.make(.headers, end, number, Array(block[..<cut]))
            outbox += Frame.make(.continuation, 4, number, Array(block[cut...]))
        case 1:
            outbox += Frame.make(.headers, end | 12, number, [5] + block + [0, 0, 0, 0, 0])
        default: outbox += Frame.make(.headers, end | 4, number, block)
        }
    }
}
