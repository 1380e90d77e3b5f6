import CNghttp2

/// What a connection may waste (rules F6, F7): each frame that costs the proxy work and does nothing for a request has
/// a price, and a connection that has spent its budget ends with ENHANCE_YOUR_CALM.
///
/// Every such frame has its honest uses, so none is an error by itself; it is the rate that tells. The budget fills up
/// again with time, and with the answers that the client takes, because taking them needs window updates.
struct GlitchBudget {
    /// What may be spent at once: 400 streams reset, 1000 pings.
    static let capacity = 10_000
    /// What comes back in a second: 40 resets, 100 pings.
    static let refillPerSecond: Int64 = 1_000

    /// A stream that is reset before its answer is through: by the client (rapid reset, CVE-2023-44487), or by the
    /// session for what the client did (MadeYouReset, CVE-2025-8671).
    static let reset = 25
    /// A SETTINGS frame: one a connection is usual.
    static let settings = 50
    /// A PING.
    static let ping = 10
    /// The first PING behind a DATA frame: grpc-go sends one behind each, as soon as the one before is answered, to measure
    /// the line. With the window update that comes along it is what the frame gives back.
    static let measuringPing = 2
    /// A DATA frame without content that does not end its stream: nothing at all.
    static let emptyData = 10
    /// A DATA frame of four bytes or less: no protocol that frames its messages sends them.
    static let tinyData = 2
    /// The largest such frame, in bytes.
    static let tinyDataBytes = 4
    /// A CONTINUATION frame: sections that need several are rare.
    static let continuation = 50
    /// PRIORITY, and frames of a type that nobody knows: both do nothing here.
    static let ignored = 5
    /// A window update by less than `smallIncrement`. What the client takes pays for it.
    static let smallWindowUpdate = 2
    /// In bytes.
    static let smallIncrement = 1024
    /// A field beyond the limit: it is decompressed and thrown away (the HPACK bomb).
    static let fieldBeyondLimit = 10
    /// A frame that is smaller than this, in bytes, because the client's window is, gives nothing back: with windows opened
    /// by the byte, a client would have every byte framed by itself (CVE-2019-9511).
    static let crumbBytes = 64
    /// What any other DATA frame that the client has taken gives back: the updates of two windows.
    static let frameTaken = 4

    /// What a frame costs that has just begun.
    static func price(_ frame: FrameWalk.Header) -> Int {
        switch UInt32(frame.type) {
        case NGHTTP2_DATA.rawValue:
            guard frame.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0 else { return 0 }
            return priceOfData(frame.length)
        case NGHTTP2_SETTINGS.rawValue:
            return frame.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 ? ping : settings
        case NGHTTP2_PING.rawValue: return ping
        case NGHTTP2_CONTINUATION.rawValue: return continuation
        case NGHTTP2_RST_STREAM.rawValue: return reset
        case NGHTTP2_HEADERS.rawValue, NGHTTP2_WINDOW_UPDATE.rawValue, NGHTTP2_GOAWAY.rawValue: return 0
        default: return ignored
        }
    }

    /// What a DATA frame costs for its padding, which `price` did not know of.
    static func price(ofPadded frame: nghttp2_frame_hd, _ padding: Int) -> Int {
        guard frame.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0 else { return 0 }
        return priceOfData(frame.length - padding)
    }

    private static func priceOfData(_ count: Int) -> Int {
        if count <= 0 { return emptyData }
        return count <= tinyDataBytes ? tinyData : 0
    }

    private var left = GlitchBudget.capacity
    private var refilledAt: Int64

    /// A full budget at that time, in microseconds of any steady clock.
    init(now: Int64) { refilledAt = now }

    /// Spends; false where nothing is left.
    mutating func spend(_ cost: Int, now: Int64) -> Bool {
        refill(now)
        left -= cost
        return left >= 0
    }

    /// Gives back.
    mutating func earn(_ amount: Int) { left = min(left + amount, Self.capacity) }

    private mutating func refill(_ now: Int64) {
        let earned = (now - refilledAt) * Self.refillPerSecond / 1_000_000
        guard earned > 0 else { return }
        refilledAt = now
        left = Int(min(Int64(left) + earned, Int64(Self.capacity)))
    }
}
