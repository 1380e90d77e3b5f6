internal import Bytes
internal import HTTP
internal import HTTP1
internal import Reactor

/// How a body leaves the proxy.
enum BodyCoding {
    /// As it is: Content-Length was sent, or the connection's end is the body's.
    case identity
    /// In chunks.
    case chunked
}

/// One body on its way from one connection to the other: what of it was read, and how it is written.
///
/// The same code serves both directions. Nothing is kept but the bytes in the two connections' buffers: a sink that
/// does not take more stops the reading of the source.
struct BodyRelay {
    var decoder: BodyDecoder
    let coding: BodyCoding
    /// The largest body, in bytes.
    let limitBytes: UInt64
    /// The sink has a place for trailers.
    var passesTrailers: Bool
    /// Content at the front of the source's input that the decoder has found and nobody has written yet.
    var pending = 0
    /// The lines of a trailer section at the front of the source's input, once the last chunk was read.
    var trailers: ByteRange?
    /// All is in the sink's output, its end included.
    var isComplete = false
    /// Of a tunnel towards the client: where the frames that have passed end.
    var frames = WebSocketFrames()
    private let followsFrames: Bool
    /// Nothing passes behind the frame that is under way.
    var stopsAtFrameEnd = false

    init(_ framing: BodyFraming, as coding: BodyCoding, limitBytes: UInt64 = .max) {
        decoder = BodyDecoder(framing)
        self.coding = coding
        self.limitBytes = limitBytes
        passesTrailers = coding == .chunked
        isComplete = framing == .none || framing == .length(0)
        followsFrames = false
    }

    /// One direction of a tunnel: bytes until the source ends.
    init(tunnelFollowingFrames followsFrames: Bool) {
        decoder = BodyDecoder(.untilClose)
        coding = .identity
        limitBytes = .max
        passesTrailers = false
        self.followsFrames = followsFrames
    }

    /// True where it was to stop between two frames, and does.
    var isStopped: Bool { stopsAtFrameEnd && frames.isAtBoundary }

    /// Chunk header, at most 16 hexadecimal digits, and two line ends.
    private static let chunkOverheadBytes = 20
    /// Larger pieces are written from where they lie; smaller ones are copied behind what is to be written anyway.
    private static let directBytes = 4096
    /// Beyond this a body is long, and gets larger blocks: fewer system calls a byte.
    private static let longBodyBytes: UInt64 = 65_536
    /// What one body may move before others have their turn, in bytes: some 30 µs. More would be felt by those who wait,
    /// and the turn itself costs one epoll_wait.
    private static let turnBytes = 65_536
    /// What one read counts for at least. Who cuts a body into TLS records of one byte, with empty ones between, gives 30
    /// bytes with each: a turn that counted only these would take seconds.
    static let readBytes = 8192

    /// The block size that suits what is still to come.
    var blockSize: BlockPool.SizeClass {
        if case .length(let length) = decoder.framing {
            return length > Self.longBodyBytes ? .medium : .small
        }
        return decoder.received > Self.longBodyBytes ? .medium : .small
    }

    /// What came of moving bytes from one buffer to the other.
    enum Staged {
        /// The source has nothing more at hand.
        case needsInput
        /// The sink must be written before more fits.
        case sinkFull
        /// The body's content is through, and trailers wait at the front of the source's input.
        case atTrailers
        /// All is in the sink.
        case complete
        /// The body breaks a rule of its framing.
        case malformed
        /// The body is larger than allowed.
        case tooLarge
    }

    /// Moves content from the source's input to the sink's output, framed anew.
    mutating func stage(from source: inout Buffer, to sink: inout Buffer) -> Staged {
        while true {
            if decoder.received > limitBytes { return .tooLarge }
            if isComplete || isStopped { return .complete }
            if trailers != nil { return .atTrailers }
            if pending > 0 {
                if !copyPending(from: &source, to: &sink) { return .sinkFull }
                continue
            }
            if coding == .chunked, sink.room < Self.chunkOverheadBytes { return .sinkFull }
            if let stop = decode(&source, &sink) { return stop }
        }
    }

    /// Asks the decoder for what comes next; nil to go on.
    private mutating func decode(_ source: inout Buffer, _ sink: inout Buffer) -> Staged? {
        var offset = 0
        let event = decoder.next(source.bytes, &offset)
        switch event {
        case .data(let range):
            source.consume(Int(range.start))
            pending = Int(range.count)
            return nil
        case .needMore:
            source.consume(offset)
            return .needsInput
        case .end(let lines):
            if passesTrailers, !lines.isEmpty {
                trailers = lines
                return .atTrailers
            }
            source.consume(offset)
            finish(&sink)
            return .complete
        case .malformed:
            return .malformed
        }
    }

    /// Ends the body in the sink, which has room for it.
    private mutating func finish(_ sink: inout Buffer) {
        if coding == .chunked {
            let fits = sink.appendLastChunk()
            precondition(fits, "room for the last chunk is kept")
        }
        isComplete = true
    }

    /// Notes that the caller has written the end of the body and taken the trailer lines out of the source's input.
    mutating func trailersWritten() {
        trailers = nil
        isComplete = true
    }

    /// Copies as much of the pending content as fits; false where nothing does.
    private mutating func copyPending(from source: inout Buffer, to sink: inout Buffer) -> Bool {
        let overhead = coding == .chunked ? Self.chunkOverheadBytes : 0
        var count = min(pending, sink.room - overhead)
        guard count > 0 else { return false }
        if followsFrames {
            count = frames.advance(over: source.bytes.extracting(first: count), stopping: stopsAtFrameEnd)
        }
        var fits = coding == .identity || sink.appendChunkHeader(count)
        fits = sink.append(source.bytes.extracting(first: count)) && fits
        if coding == .chunked { fits = sink.appendChunkEnd() && fits }
        precondition(fits, "the room was measured")
        source.consume(count)
        pending -= count
        return true
    }

    /// What came of relaying as far as both sides allow.
    enum Outcome {
        /// The source has nothing more for now; all that came is written.
        case sourceDrained
        /// The sink takes no more for now.
        case sinkBlocked
        /// Enough for one turn; both sides could go on.
        case turnSpent
        /// The whole body is written.
        case complete
        /// The content is through; the caller writes the trailers and calls again.
        case atTrailers
        /// The source ended before the body did.
        case truncated
        /// The body breaks a rule.
        case malformed
        /// The body is larger than allowed.
        case tooLarge
        /// The sink is broken.
        case sinkFailed
    }

    /// Reads from the source and writes to the sink until one of them stops.
    mutating func run(
        from source: inout Transport, to sink: inout Transport, _ pool: inout BlockPool
    ) -> Outcome {
        var bytesLeft = Self.turnBytes
        while true {
            if coding == .identity, sink.output.isEmpty, !sink.isStream,
                sink.owesRetry || (pending >= Self.directBytes && !stopsAtFrameEnd)
            {
                if let stop = writePending(from: &source, to: &sink) { return stop }
                continue
            }
            sink.output.attach(from: &pool)
            let staged = stage(from: &source.input, to: &sink.output)
            switch sink.flush(to: &pool) {
            case .done: break
            case .blocked: return .sinkBlocked
            case .failed: return .sinkFailed
            }
            switch staged {
            case .sinkFull: continue
            case .complete: return .complete
            case .atTrailers: return .atTrailers
            case .malformed: return .malformed
            case .tooLarge: return .tooLarge
            case .needsInput:
                if let stop = refill(&source, &sink, &pool, &bytesLeft) { return stop }
            }
        }
    }

    /// Writes pending content from where it lies; nil to go on.
    private mutating func writePending(
        from source: inout Transport, to sink: inout Transport
    ) -> Outcome? {
        let wanted = pending
        switch sink.send(source.input.bytes.extracting(first: wanted)) {
        case .bytes(let count):
            if followsFrames { _ = frames.advance(over: source.input.bytes.extracting(first: count)) }
            source.input.consume(count)
            pending -= count
            guard count < wanted else { return nil }
            sink.isWritable = false
            return .sinkBlocked
        case .wouldBlock:
            sink.isWritable = false
            return .sinkBlocked
        case .failed, .endOfStream:
            sink.isBroken = true
            return .sinkFailed
        }
    }

    /// The body of a stream is through: what followed it takes its place. False where nothing did.
    private mutating func takeTrailing(_ source: inout Transport) -> Bool {
        guard !source.trailing.isEmpty else { return false }
        swap(&source.input, &source.trailing)
        // Without the empty line behind them.
        trailers = ByteRange(start: 0, count: source.input.count - 2)
        return true
    }

    /// Reads more; nil to go on.
    private mutating func refill(
        _ source: inout Transport, _ sink: inout Transport, _ pool: inout BlockPool, _ bytesLeft: inout Int
    ) -> Outcome? {
        guard source.isReadable || source.hasEnded else {
            source.input.detachIfEmpty(to: &pool)
            return .sourceDrained
        }
        guard bytesLeft > 0 else { return .turnSpent }
        switch source.hasEnded ? .endOfStream : source.fill(from: &pool, pool.isSpent ? .small : blockSize) {
        case .bytes(let count):
            bytesLeft -= max(count, Self.readBytes)
            return nil
        case .wouldBlock: return .sourceDrained
        case .failed: return .truncated
        case .endOfStream:
            guard case .end = decoder.endOfInput() else { return .truncated }
            if passesTrailers, takeTrailing(&source) { return .atTrailers }
            sink.output.attach(from: &pool)
            finish(&sink.output)
            return nil
        }
    }
}
