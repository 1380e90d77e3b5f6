import CNghttp2
import CSimulation

/// A client that speaks HTTP/2 with prior knowledge: a few connections, one after the other, each with a few requests, some of
/// them at once. Frames are read and made here; of nghttp2 it has the decoder of HPACK alone.
final class HTTP2Client: Peer {
    private final class Stream {
        let plan: Plan
        var answer = Answer()
        var unsent: ArraySlice<UInt8>
        var hasEnded: Bool
        var sendWindow: Int
        var receiveWindow: Int
        /// What was read of its content, and not credited yet.
        var owed = 0
        var isOver = false

        init(_ plan: Plan, sendWindow: Int, receiveWindow: Int) {
            self.plan = plan
            unsent = plan.body[...]
            hasEnded = plan.body.isEmpty
            (self.sendWindow, self.receiveWindow) = (sendWindow, receiveWindow)
        }
    }

    private enum Fault {
        case none, reset, finish, stall, resetStream, endlessHeaders
    }

    private enum Kind {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let reset: UInt8 = 3
        static let settings: UInt8 = 4
        static let ping: UInt8 = 6
        static let goAway: UInt8 = 7
        static let windowUpdate: UInt8 = 8
    }

    private var connections: [[Plan]]
    private var plans: [Plan] = []
    private var streams: [UInt32: Stream] = [:]
    private var begun = 0
    private var outbox: [UInt8] = []
    private var sentCount = 0
    private var inflater: OpaquePointer?
    private var sendWindow = 65_535
    private var receiveWindow = 65_535
    private var owed = 0
    private var windowOfStreams = 65_535
    private var windowOfOthers = 65_535
    private var mostStreams = 100
    private var atOnce = 1
    private var isSlow = false
    private var isGoingAway = false
    private var isStalled = false
    private var fault = Fault.none
    private var faultPlace = Int.max

    init(_ world: World, _ connections: [[Plan]]) {
        self.connections = connections
        super.init(world)
        next = Int64(sim_now()) + Int64(sim_below(5000))
    }

    deinit { forgetFields() }

    private func forgetFields() {
        if inflater != nil { nghttp2_hd_inflate_del(inflater) }
        inflater = nil
    }

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
        if !outbox.isEmpty || owed > 0 || begun < plans.count
            || streams.values.contains(where: { $0.owed > 0 })
            || hasNews
        {
            next = pause(now)
        }
    }

    private func connect(_ now: Int64) {
        guard !connections.isEmpty else {
            isDone = true
            return
        }
        plans = connections.removeFirst()
        stream = sim_connect(World.port)
        guard stream >= 0 else {
            (connections, isDone) = ([], true)
            return
        }
        (streams, begun, sentCount, owed, isGoingAway, isStalled) = ([:], 0, 0, 0, false, false)
        (sendWindow, windowOfOthers, mostStreams) = (65_535, 65_535, 100)
        forgetFields()
        _ = nghttp2_hd_inflate_new(&inflater)
        windowOfStreams = [65_535, 1 << 20, 1000][Int(sim_below(3))]
        outbox = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        outbox += Self.frame(Kind.settings, 0, 0, [0, 4] + Self.word(UInt32(windowOfStreams)))
        receiveWindow = 65_535
        if sim_below(2) == 0 {
            outbox += Self.frame(Kind.windowUpdate, 0, 0, Self.word(1 << 20))
            receiveWindow += 1 << 20
        }
        atOnce = 1 + Int(sim_below(5))
        isSlow = sim_below(8) == 0
        (fault, faultPlace) = (.none, .max)
        if !world.scenario.isClean, sim_below(4) == 0 {
            fault = [.reset, .finish, .stall, .resetStream, .endlessHeaders][Int(sim_below(5))]
            faultPlace = Int(sim_below(3000))
        }
        next = pause(now)
    }

    /// What a client may do that a good one does not; true where it does nothing else for now.
    private func doesWrong() -> Bool {
        guard sentCount >= faultPlace else { return false }
        world.isDisturbed = true
        faultPlace = .max
        switch fault {
        case .none: return false
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
            outbox += Self.frame(Kind.reset, 0, number, Self.word(8))
            (chosen.isOver, chosen.unsent) = (true, [])
            return false
        case .endlessHeaders:
            outbox += Self.frame(Kind.headers, 1, UInt32(2 * begun + 1), [0x82])
            flush()
            isStalled = true
            return true
        }
    }

    private func beginSome() {
        let open = streams.values.count { !$0.isOver }
        for _ in 0..<max(0, min(atOnce, mostStreams) - open) where begun < plans.count {
            let plan = plans[begun]
            let number = UInt32(2 * begun + 1)
            begun += 1
            world.ledger.expect(plan)
            streams[number] = Stream(plan, sendWindow: windowOfOthers, receiveWindow: windowOfStreams)
            outbox += Self.frame(
                Kind.headers, plan.body.isEmpty ? 5 : 4, number, Self.block(world.scenario.fields(of: plan)))
            if sim_below(3) == 0 { break }
        }
    }

    private func sendContent() {
        for (number, each) in streams.sorted(by: { $0.key < $1.key }) where !each.hasEnded && !each.isOver {
            let room = min(each.sendWindow, sendWindow, 16_384, each.unsent.count)
            guard room > 0 else { continue }
            let count = sim_below(3) == 0 ? 1 + Int(sim_below(UInt32(room))) : room
            let part = each.unsent.prefix(count)
            each.unsent = each.unsent.dropFirst(count)
            each.sendWindow -= count
            sendWindow -= count
            each.hasEnded = each.unsent.isEmpty
            outbox += Self.frame(Kind.data, each.hasEnded ? 1 : 0, number, Array(part))
        }
    }

    /// Gives the proxy leave to send more, sooner or later.
    private func credit() {
        if owed > 0, sim_below(3) > 0 {
            outbox += Self.frame(Kind.windowUpdate, 0, 0, Self.word(UInt32(owed)))
            (receiveWindow, owed) = (receiveWindow + owed, 0)
        }
        for (number, each) in streams.sorted(by: { $0.key < $1.key }) where each.owed > 0 {
            if each.isOver {
                each.owed = 0
            } else if sim_below(3) > 0 {
                outbox += Self.frame(Kind.windowUpdate, 0, number, Self.word(UInt32(each.owed)))
                (each.receiveWindow, each.owed) = (each.receiveWindow + each.owed, 0)
            }
        }
    }

    private func flush() {
        guard !outbox.isEmpty else { return }
        let count = sim_below(3) == 0 ? 1 + Int(sim_below(UInt32(outbox.count))) : outbox.count
        write(outbox[0..<count])
        outbox.removeFirst(count)
        sentCount += count
    }

    private func end(_ now: Int64) {
        if !world.isDisturbed, world.scenario.isClean, let cut = streams.values.first(where: { !$0.isOver }) {
            world.ledger.violate("the connection of HTTP/2 ended before the answer to \(cut.plan.id)")
        }
        leave()
        next = pause(now)
    }

    // MARK: What comes

    private func takeFrames() {
        var place = 0
        while place + 9 <= inbox.count {
            let count = Int(inbox[place]) << 16 | Int(inbox[place + 1]) << 8 | Int(inbox[place + 2])
            guard place + 9 + count <= inbox.count else { break }
            let number = Self.number(inbox[(place + 5)..<(place + 9)])
            take(inbox[place + 3], inbox[place + 4], number, inbox[(place + 9)..<(place + 9 + count)])
            place += 9 + count
        }
        inbox.removeFirst(place)
    }

    private func take(_ kind: UInt8, _ flags: UInt8, _ number: UInt32, _ payload: ArraySlice<UInt8>) {
        switch kind {
        case Kind.settings where flags & 1 == 0: takeSettings(Array(payload))
        case Kind.ping where flags & 1 == 0: outbox += Self.frame(Kind.ping, 1, 0, Array(payload))
        case Kind.goAway: takeGoAway(payload)
        case Kind.windowUpdate:
            let more = Int(Self.number(payload))
            if number == 0 { sendWindow += more } else { streams[number]?.sendWindow += more }
        case Kind.data, Kind.headers, Kind.reset:
            guard let each = streams[number] else {
                if fault == .endlessHeaders { return }
                return world.ledger.violate("a frame \(kind) of stream \(number), which is nobody's")
            }
            take(kind, flags, each, payload)
        default: break
        }
    }

    private func takeSettings(_ bytes: [UInt8]) {
        for start in stride(from: 0, to: bytes.count - 5, by: 6) {
            let value = Int(Self.number(bytes[(start + 2)..<(start + 6)]))
            switch bytes[start + 1] {
            case 3: mostStreams = value
            case 4:
                for each in streams.values { each.sendWindow += value - windowOfOthers }
                windowOfOthers = value
            default: break
            }
        }
        outbox += Self.frame(Kind.settings, 1, 0, [])
    }

    private func takeGoAway(_ payload: ArraySlice<UInt8>) {
        isGoingAway = true
        let last = Self.number(payload.prefix(4))
        let code = Self.number(payload.dropFirst(4).prefix(4))
        // Only who was slow or worse is told of an error.
        if code != 0, world.scenario.isClean, !world.isDisturbed {
            world.ledger.violate("GOAWAY with \(code)")
        }
        for (number, each) in streams where number > last { each.isOver = true }
    }

    private func take(_ kind: UInt8, _ flags: UInt8, _ each: Stream, _ payload: ArraySlice<UInt8>) {
        if kind == Kind.reset {
            if !each.isOver, world.scenario.isClean, !world.isDisturbed {
                world.ledger.violate("the stream of \(each.plan.id) was reset with \(Self.number(payload))")
            }
            (each.isOver, each.hasEnded) = (true, true)
            return
        }
        if kind == Kind.data {
            receiveWindow -= payload.count
            each.receiveWindow -= payload.count
            if receiveWindow < 0 || each.receiveWindow < 0 {
                world.ledger.violate("\(each.plan.id) got more than its window")
            }
            owed += payload.count
            each.owed += payload.count
            if each.answer.status == 0 { world.ledger.violate("\(each.plan.id) got content before its head") }
            each.answer.body += payload
        } else {
            takeFields(of: each, payload)
        }
        guard flags & 1 == 1, each.answer.status >= 200, !each.isOver else { return }
        each.isOver = true
        world.ledger.noteAnswered(each.plan, each.answer)
        if world.scenario.isClean, !world.isDisturbed, (each.answer.status == 401) == each.plan.isForwarded {
            world.ledger.violate("\(each.plan.id) got \(each.answer.status), and nobody did anything wrong")
        }
    }

    private func takeFields(of each: Stream, _ block: ArraySlice<UInt8>) {
        let isTrailers = each.answer.status >= 200
        for (name, value) in inflate(Array(block)) where !isTrailers {
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

    private func inflate(_ block: [UInt8]) -> [(String, String)] {
        var fields: [(String, String)] = []
        block.withUnsafeBufferPointer { bytes in
            var place = 0
            while true {
                var pair = nghttp2_nv()
                var flags: Int32 = 0
                let start = bytes.baseAddress.map { UnsafeMutablePointer(mutating: $0 + place) }
                let count = nghttp2_hd_inflate_hd2(inflater, &pair, &flags, start, bytes.count - place, 1)
                guard count >= 0 else {
                    return world.ledger.violate("a field section that is none: \(count)")
                }
                place += count
                if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                    fields.append(
                        (
                            String(
                                decoding: UnsafeBufferPointer(start: pair.name, count: pair.namelen),
                                as: UTF8.self),
                            String(
                                decoding: UnsafeBufferPointer(start: pair.value, count: pair.valuelen),
                                as: UTF8.self)
                        ))
                }
                if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 { break }
            }
            _ = nghttp2_hd_inflate_end_headers(inflater)
        }
        return fields
    }

    // MARK: What is sent

    private static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
    }

    private static func frame(_ kind: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8]
    {
        word(UInt32(payload.count)).dropFirst() + [kind, flags] + word(stream) + payload
    }

    /// Fields as literals that leave the table of HPACK as it is.
    private static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { [0] + text($0.0) + text($0.1) }
    }

    private static func text(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
        var length: [UInt8] = [127]
        var rest = bytes.count - 127
        while rest >= 128 {
            length.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return length + [UInt8(rest)] + bytes
    }
}
