import Bytes
import CNghttp2
import HTTP

/// A stream as its session knows it.
struct StreamRecord: BitwiseCopyable {
    /// Its identifier; 0 where the slot is free.
    var identifier: Int32 = 0
    /// What the session's owner calls it.
    var owner = Handle.none
    /// Bytes of the answer that wait to be framed.
    var waitingBytes = 0
    /// Nothing follows those bytes but trailers.
    var isAnswerComplete = false
    /// Trailers end the stream.
    var hasTrailers = false
    /// The data source has nothing, and is to be woken.
    var isDeferred = false
    /// The session ended the stream by its owner's wish, or because the answer was through: no glitch.
    var isResetOnPurpose = false
    /// Of a request to a backend: the head of its answer is here, so that a further section holds trailers.
    var hasFinalHead = false
    /// Of such a request: it is HEAD, whose answer ends with its head.
    var isHead = false
    /// Content that was received and taken, in bytes, until its window is wide.
    var takenBytes = 0
    /// Its window is `HTTP2Limits.wideWindowBytes`.
    var isWide = false
    /// The error code that it was closed with.
    var closeCode: UInt32 = 0
    /// nghttp2 has forgotten the stream.
    var isClosed = false
}

/// What the callbacks of a session work on. It lives at one address for as long as its session does.
@safe struct SessionState: ~Copyable {
    let limits: HTTP2Limits
    /// Where nghttp2's side of the session lives.
    let memory: HTTP2Memory
    let role: HTTP2Role
    var streams = GrowingArray<StreamRecord>()
    private var freeSlots = GrowingArray<Int32>()
    private var budget: GlitchBudget
    private var walk = FrameWalk()
    /// The time of the call that is under way, in microseconds.
    var now: Int64
    /// The budget is spent.
    var isExhausted = false
    /// Nothing more is received.
    var isOver = false
    /// The last stream that a GOAWAY of ours names, once it is to be sent: what comes behind it is not looked at.
    var lastStream = Int32.max
    /// The other side's SETTINGS have come.
    var hasSettings = false
    /// A section that a read left unfinished.
    private var unfinished = FieldSection()
    private(set) var hasUnfinished = false
    /// The scratch of the call that is under way.
    private var scratch: UnsafeMutablePointer<HTTP2Scratch>?
    /// The first byte of what is being received.
    var input: UnsafePointer<UInt8>?
    /// Streams whose window is wide.
    var wideStreams = 0
    /// The bytes that may still be framed in the call that is under way.
    var room = 0
    /// The text of the interim heads that may not have been framed yet, in bytes.
    var interimBytes = 0
    /// The DATA frame that is being made is a crumb (`GlitchBudget.crumbBytes`).
    var isPiecemeal = false
    /// A DATA frame waits for more room.
    var isRoomShort = false
    /// A DATA frame was sent, and no PING has come since.
    private var mayMeasure = false
    /// Trailers of answers, until they are sent.
    var trailers: [Int32: [UInt8]] = [:]
    /// A frame of nghttp2's that is to be copied before the next call.
    // SAFETY: no bytes at first, and those that nghttp2 gave from then on.
    var frame = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    init(limits: HTTP2Limits, _ role: HTTP2Role = .server, _ memory: HTTP2Memory, now: Int64) {
        self.memory = memory
        self.role = role
        self.limits = limits
        self.now = now
        budget = GlitchBudget(now: now)
    }

    // MARK: Scratch

    /// Lends the scratch for one call.
    mutating func attach(_ scratch: UnsafeMutablePointer<HTTP2Scratch>) {
        unsafe self.scratch = scratch
        guard hasUnfinished else { return }
        // SAFETY: the caller owns the scratch exclusively for the length of the call.
        unsafe swap(&scratch.pointee.section, &unfinished)
        hasUnfinished = false
    }

    /// Gives the scratch back, and keeps what was not finished.
    mutating func detach() {
        guard let scratch = unsafe scratch else { return }
        // SAFETY: the caller still owns the scratch exclusively.
        if unsafe scratch.pointee.section.kind != .none {
            unsafe swap(&scratch.pointee.section, &unfinished)
            hasUnfinished = true
            unsafe scratch.pointee.section.end()
        }
        unsafe self.scratch = nil
    }

    /// Calls `body` with the scratch of the call that is under way.
    mutating func withScratch<R>(_ body: (inout HTTP2Scratch) -> R) -> R? {
        guard let scratch = unsafe scratch else { return nil }
        // SAFETY: lent exclusively to this session for the length of the call.
        return unsafe body(&scratch.pointee)
    }

    /// A section of that stream begins.
    mutating func begin(_ kind: FieldSection.Kind, _ slot: Int32) {
        let limits = limits
        _ = withScratch { $0.section.begin(kind, slot: slot, limits) }
    }

    mutating func note(_ event: HTTP2Event) {
        _ = withScratch { $0.events.append(event) }
    }

    /// The identifier of the stream whose first section a read left unfinished.
    var unfinishedRequest: Int32? {
        guard hasUnfinished, unfinished.kind == .request else { return nil }
        let identifier = streams[Int(unfinished.slot)].identifier
        return identifier > 0 ? identifier : nil
    }

    /// Which section a read left unfinished, as a number that no other on the connection has: the stream's, and below zero
    /// for trailers.
    var unfinishedSection: Int32? {
        guard hasUnfinished else { return nil }
        let identifier = streams[Int(unfinished.slot)].identifier
        return unfinished.kind == .trailers ? -identifier : identifier
    }

    // MARK: Budget

    /// Pays for a glitch; false where the connection has to end.
    ///
    /// A backend pays nothing: small frames are its business, and what it may hold here is bounded otherwise.
    mutating func pay(_ cost: Int) -> Bool {
        guard role == .server else { return true }
        if !budget.spend(cost, now: now) { isExhausted = true }
        return !isExhausted
    }

    /// Pays for the frames that begin in `bytes`; gives how many of the bytes come before the one that is too much.
    mutating func pay(for bytes: Span<UInt8>) -> Int {
        guard role == .server else { return bytes.count }
        var offset = 0
        while let frame = walk.next(bytes, &offset) {
            let cost = price(frame)
            if cost > 0, !pay(cost) { return max(0, offset - 9) }
        }
        return bytes.count
    }

    private mutating func price(_ frame: FrameWalk.Header) -> Int {
        let cost = GlitchBudget.price(frame)
        guard cost == GlitchBudget.ping, mayMeasure, frame.isPing else { return cost }
        mayMeasure = false
        return GlitchBudget.measuringPing
    }

    /// Ends a connection whose other side makes us queue frames that it does not read. nghttp2 refuses streams by itself:
    /// a client's, any number before our SETTINGS are acknowledged, which are paid for when their RST_STREAM is sent, and
    /// those that a backend promises, which nothing pays for.
    mutating func bound(queuedFrames: Int) {
        if queuedFrames > limits.queuedFrames { isExhausted = true }
    }

    /// The client has taken a DATA frame, or a head.
    mutating func earn(isContent: Bool) {
        budget.earn(GlitchBudget.frameTaken)
        if isContent { mayMeasure = true }
    }

    // MARK: Streams

    /// A slot for a new stream.
    mutating func open(_ identifier: Int32) -> Int32 {
        var record = StreamRecord()
        record.identifier = identifier
        if let slot = freeSlots.popLast() {
            streams[Int(slot)] = record
            return slot
        }
        streams.append(record)
        return Int32(streams.count - 1)
    }

    /// The stream is over: its slot is free when the event was taken in.
    mutating func close(_ slot: Int32) {
        streams[Int(slot)].isClosed = true
        if streams[Int(slot)].hasTrailers { trailers[slot] = nil }
        note(.closed(slot: slot))
    }

    /// Gives a closed stream's slot back.
    mutating func free(_ slot: Int32) {
        if streams[Int(slot)].isWide { wideStreams -= 1 }
        streams[Int(slot)] = StreamRecord()
        freeSlots.append(slot)
    }

    /// How many slots are taken.
    var openCount: Int { streams.count - freeSlots.count }
}

extension HTTP2ErrorCode {
    /// Why a connection ends of which nghttp2 takes no more.
    static func of(_ result: Int, isExhausted: Bool) -> HTTP2ErrorCode {
        if isExhausted { return .enhanceYourCalm }
        switch Int32(truncatingIfNeeded: result) {
        case Int32(NGHTTP2_ERR_FLOODED.rawValue), Int32(NGHTTP2_ERR_TOO_MANY_SETTINGS.rawValue),
            // Too many CONTINUATION frames: a number that older headers do not have.
            -905:
            return .enhanceYourCalm
        case Int32(NGHTTP2_ERR_NOMEM.rawValue), Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue):
            return .internalError
        default:
            return .protocolError
        }
    }
}
