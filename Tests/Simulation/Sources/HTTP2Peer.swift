import CNghttp2
import CSimulation

/// One stream, as either end keeps it.
class HTTP2Stream {
    /// How the content of this side ends.
    enum Ending {
        case well
        case trailers([(String, String)])
        case reset(UInt32)
        /// Well, and no more is wanted of the other side's (RFC 9113 §8.1).
        case wellAndReset
        /// It never does.
        case never
    }

    var unsent: ArraySlice<UInt8>
    var ending = Ending.well
    /// The end comes by itself, after the content.
    var endsLate = false
    /// Content of this side is still to be sent, or its end.
    var isSending: Bool
    var sendWindow: Int
    var receiveWindow: Int
    /// What was read of its content, and not credited yet.
    var owed = 0
    var isOver = false

    init(_ unsent: [UInt8], sendWindow: Int, receiveWindow: Int) {
        self.unsent = unsent[...]
        isSending = !unsent.isEmpty
        (self.sendWindow, self.receiveWindow) = (sendWindow, receiveWindow)
    }
}

/// Somebody who speaks HTTP/2, at either end. Frames and windows are its own; of nghttp2 it has the decoder of HPACK alone.
class HTTP2Peer<Stream: HTTP2Stream>: Peer {
    var streams: [UInt32: Stream] = [:]
    var outbox: [UInt8] = []
    var sentCount = 0
    /// What the other side may be sent of all streams together, and what it may send.
    var sendWindow = 65_535
    var receiveWindow = 65_535
    var owed = 0
    /// The first windows of streams: for what is received and for what is sent.
    var windowOfStreams = 65_535
    var windowOfOthers = 65_535
    /// How many streams the other side takes at once.
    var mostStreams = 100
    /// The other side takes the extended CONNECT of RFC 8441.
    var takesTunnels = false
    /// It reads, and does nothing else any more.
    var isStalled = false
    private var inflater: OpaquePointer?

    deinit { if inflater != nil { nghttp2_hd_inflate_del(inflater) } }

    /// Forgets everything of the connection before.
    func begin() {
        (streams, outbox, sentCount, owed, isStalled) = ([:], [], 0, 0, false)
        (sendWindow, receiveWindow, windowOfOthers, mostStreams) = (65_535, 65_535, 65_535, 100)
        takesTunnels = false
        if inflater != nil { nghttp2_hd_inflate_del(inflater) }
        inflater = nil
        _ = nghttp2_hd_inflate_new(&inflater)
    }

    // MARK: What comes

    /// A frame of a stream: HEADERS, DATA or RST_STREAM.
    func take(_ kind: FrameKind, _ flags: UInt8, _ number: UInt32, _ payload: ArraySlice<UInt8>) {}
    func takeGoAway(last: UInt32, code: UInt32) {}
    func takeAcknowledgement(of kind: FrameKind) {}

    func takeFrames() {
        var place = 0
        while stream >= 0, place + 9 <= inbox.count {
            let count = Int(inbox[place]) << 16 | Int(inbox[place + 1]) << 8 | Int(inbox[place + 2])
            guard place + 9 + count <= inbox.count else { break }
            let number = Frame.number(inbox[(place + 5)..<(place + 9)])
            let (kind, flags) = (FrameKind(rawValue: inbox[place + 3]), inbox[place + 4])
            let payload = inbox[(place + 9)..<(place + 9 + count)]
            if let kind { takeFrame(kind, flags, number, payload) }
            place += 9 + count
        }
        if stream >= 0 { inbox.removeFirst(place) }
    }

    private func takeFrame(
        _ kind: FrameKind, _ flags: UInt8, _ number: UInt32, _ payload: ArraySlice<UInt8>
    ) {
        switch kind {
        case .settings where flags & 1 == 0: takeSettings(payload)
        case .ping where flags & 1 == 0: outbox += Frame.make(.ping, 1, 0, Array(payload))
        case .settings, .ping: takeAcknowledgement(of: kind)
        case .goAway:
            takeGoAway(
                last: Frame.number(payload), code: Frame.number(payload.dropFirst(4)))
        case .windowUpdate:
            let more = Int(Frame.number(payload))
            if number == 0 { sendWindow += more } else { streams[number]?.sendWindow += more }
        case .data, .headers, .reset: take(kind, flags, number, payload)
        case .continuation: world.ledger.violate("a field section of stream \(number) in pieces")
        }
    }

    private func takeSettings(_ payload: ArraySlice<UInt8>) {
        let bytes = Array(payload)
        for start in stride(from: 0, to: bytes.count - 5, by: 6) {
            let value = Int(Frame.number(bytes[(start + 2)..<(start + 6)]))
            switch bytes[start + 1] {
            case 3: mostStreams = value
            case 4:
                for each in streams.values { each.sendWindow += value - windowOfOthers }
                windowOfOthers = value
            case 8: takesTunnels = value == 1
            default: break
            }
        }
        outbox += Frame.make(.settings, 1, 0, [])
    }

    /// Counts content that has come, of a stream that is known or not.
    func noteContent(_ each: Stream?, byteCount: Int) {
        receiveWindow -= byteCount
        owed += byteCount
        each?.receiveWindow -= byteCount
        each?.owed += byteCount
        if byteCount > 0, receiveWindow < 0 || each.map({ $0.receiveWindow < 0 }) ?? false {
            world.ledger.violate("\(byteCount) bytes came that are more than a window")
        }
    }

    /// The fields of a section; every one has to be decoded, whoever it is for.
    func inflate(_ block: ArraySlice<UInt8>) -> [(String, String)] {
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
                    fields.append((Self.text(pair.name, pair.namelen), Self.text(pair.value, pair.valuelen)))
                }
                if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 { break }
            }
            _ = nghttp2_hd_inflate_end_headers(inflater)
        }
        return fields
    }

    private static func text(_ start: UnsafePointer<UInt8>?, _ count: Int) -> String {
        String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    }

    /// The other side has acknowledged another size of the table of HPACK.
    func changeTable(byteCount: Int) { _ = nghttp2_hd_inflate_change_table_size(inflater, byteCount) }

    // MARK: What is sent

    /// Sends what the windows allow of all streams' content.
    func sendContent() {
        for (number, each) in streams.sorted(by: { $0.key < $1.key }) where each.isSending && !each.isOver {
            let room = max(0, min(each.sendWindow, sendWindow, 16_384, each.unsent.count))
            guard room > 0 || each.unsent.isEmpty else { continue }
            let count = room > 0 && sim_below(3) == 0 ? 1 + Int(sim_below(UInt32(room))) : room
            let part = each.unsent.prefix(count)
            each.unsent = each.unsent.dropFirst(count)
            each.sendWindow -= count
            sendWindow -= count
            each.isSending = !each.unsent.isEmpty || each.endsLate
            if each.unsent.isEmpty { each.endsLate = false }
            finish(number, each, with: Array(part))
        }
    }

    private func finish(_ number: UInt32, _ each: Stream, with part: [UInt8]) {
        guard !each.isSending else { return outbox += Frame.make(.data, 0, number, part) }
        let isLast =
            switch each.ending {
            case .well, .wellAndReset: true
            case .trailers, .reset, .never: false
            }
        outbox += Frame.make(.data, isLast ? 1 : 0, number, part)
        switch each.ending {
        case .trailers(let fields): outbox += Frame.make(.headers, 5, number, Frame.block(fields))
        case .reset(let code):
            outbox += Frame.make(.reset, 0, number, Frame.word(code))
            each.isOver = true
        case .wellAndReset:
            outbox += Frame.make(.reset, 0, number, Frame.word(0))
            each.isOver = true
        case .well, .never: break
        }
    }

    /// Gives the other side leave to send more, sooner or later.
    func credit() {
        if owed > 0, sim_below(3) > 0 {
            outbox += Frame.make(.windowUpdate, 0, 0, Frame.word(UInt32(owed)))
            (receiveWindow, owed) = (receiveWindow + owed, 0)
        }
        for (number, each) in streams.sorted(by: { $0.key < $1.key }) where each.owed > 0 {
            if each.isOver {
                each.owed = 0
            } else if sim_below(3) > 0 {
                outbox += Frame.make(.windowUpdate, 0, number, Frame.word(UInt32(each.owed)))
                (each.receiveWindow, each.owed) = (each.receiveWindow + each.owed, 0)
            }
        }
    }

    /// Writes what waits, or some of it.
    func flush() {
        guard !outbox.isEmpty else { return }
        let count = sim_below(3) == 0 ? 1 + Int(sim_below(UInt32(outbox.count))) : outbox.count
        write(outbox[0..<count])
        outbox.removeFirst(count)
        sentCount += count
    }

    /// Something waits that only another turn sends.
    var hasMore: Bool {
        !outbox.isEmpty || owed > 0 || hasNews
            || streams.values.contains { each in
                let room = min(each.sendWindow, sendWindow)
                return each.owed > 0 || (each.isSending && !each.isOver && (room > 0 || each.unsent.isEmpty))
            }
    }
}

/// The types of RFC 9113 §6 that the proxy may send.
enum FrameKind: UInt8 {
    case data = 0
    case headers = 1
    case reset = 3
    case settings = 4
    case ping = 6
    case goAway = 7
    case windowUpdate = 8
    case continuation = 9
}

enum Frame {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
    }

    static func make(_ kind: FrameKind, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        word(UInt32(payload.count)).dropFirst() + [kind.rawValue, flags] + word(stream) + payload
    }

    static func settings(_ entries: [(UInt8, Int)]) -> [UInt8] {
        make(.settings, 0, 0, entries.flatMap { [0, $0.0] + word(UInt32($0.1)) })
    }

    /// Fields as literals that leave the table of HPACK as it is.
    static func block(_ fields: [(String, String)]) -> [UInt8] {
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
