import CSimulation

/// One end of a WebSocket, as plain as can be: what it says is messages in frames (RFC 6455 §5) and a Close frame behind them;
/// what it hears is put together again.
struct Tunnel {
    /// All that is said of contents, with pings in between, without the Close frame.
    let frames: [UInt8]
    let close: [UInt8]
    private(set) var heard: [UInt8] = []
    /// The status code of the Close frame that has come; 0 for one without.
    private(set) var code: Int?
    private(set) var isBroken = false
    private let isClient: Bool

    /// The client's end masks what it says, with a mask of zeros.
    init(saying content: [UInt8], isClient: Bool) {
        self.isClient = isClient
        var frames: [UInt8] = []
        var place = 0
        while place < content.count {
            let most = [10, 125, 126, 2000, 70_000][Int(sim_below(5))]
            let part = content[place..<min(content.count, place + most)]
            let isLast = part.endIndex == content.count
            frames += Self.frame((isLast ? 0x80 : 0) | (place == 0 ? 2 : 0), Array(part), isMasked: isClient)
            if !isLast, sim_below(4) == 0 { frames += Self.frame(0x89, [1, 2, 3], isMasked: isClient) }
            place = part.endIndex
        }
        self.frames = frames
        // 1000: all is said.
        close = Self.frame(0x88, [3, 232], isMasked: isClient)
    }

    /// A server's end that answers a request, and how much it says.
    static func answer(to id: String) -> (Tunnel, byteCount: Int) {
        let byteCount = sim_below(32) == 0 ? Int(sim_below(150_000)) : Int(sim_below(300))
        return (Tunnel(saying: Ledger.content(of: id, byteCount: byteCount), isClient: false), byteCount)
    }

    /// Takes the whole frames out of what has come.
    mutating func hear(_ bytes: inout [UInt8]) {
        var place = 0
        while code == nil, !isBroken, let (payload, kind) = Self.next(bytes, &place, isMasked: !isClient) {
            switch kind {
            case 0, 2: heard += payload
            case 8: code = payload.prefix(2).reduce(0) { $0 << 8 | Int($1) }
            case 9, 10: break
            default: isBroken = true
            }
        }
        // Nothing may follow a Close frame, and a bit is wrong in what a mask is missing of, or there for nothing.
        isBroken = isBroken || (code != nil && place < bytes.count)
        if place < bytes.count, bytes.count - place > 1, (bytes[place + 1] & 0x80 != 0) == isClient {
            isBroken = true
        }
        bytes.removeFirst(place)
    }

    /// The payload and the kind of the frame at `place`, which moves behind it; nil where it is not all there.
    private static func next(_ bytes: [UInt8], _ place: inout Int, isMasked: Bool) -> (
        ArraySlice<UInt8>, Int
    )? {
        guard bytes.count - place >= 2 else { return nil }
        let short = Int(bytes[place + 1] & 0x7f)
        let lengthBytes = short == 127 ? 8 : short == 126 ? 2 : 0
        let start = place + 2 + lengthBytes + (isMasked ? 4 : 0)
        guard bytes.count >= start else { return nil }
        let length =
            lengthBytes == 0
            ? short : bytes[(place + 2)..<(place + 2 + lengthBytes)].reduce(0) { $0 << 8 | Int($1) }
        guard bytes.count - start >= length else { return nil }
        let kind = Int(bytes[place] & 15)
        place = start + length
        return (bytes[start..<place], kind)
    }

    private static func frame(_ first: UInt8, _ payload: [UInt8], isMasked: Bool) -> [UInt8] {
        var head = [first]
        let mask: UInt8 = isMasked ? 0x80 : 0
        switch payload.count {
        case ..<126: head.append(mask | UInt8(payload.count))
        case ..<65_536: head += [mask | 126] + Frame.word(UInt32(payload.count)).suffix(2)
        default: head += [mask | 127, 0, 0, 0, 0] + Frame.word(UInt32(payload.count))
        }
        return head + (isMasked ? [0, 0, 0, 0] : []) + payload
    }
}
