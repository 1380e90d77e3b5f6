internal import Bytes
internal import HTTP
internal import HTTP2
internal import Policy
internal import Reactor

// A connection that speaks HTTP/2. It has an entry among the clients, like every connection, and each of its streams
// has one of its own: to the steps of a request a stream is a client whose bytes come from a session and not from a
// socket. So there is one place for every rule, whatever the version.
//
// Bytes are read and taken in as they come; what streams have to say is written once, at the end of the turn, for all
// of them together.

/// What a connection has besides its entry among the clients.
struct Multiplexer: ~Copyable {
    var session: HTTP2Session
    /// The connection's entry.
    let client: Handle
    /// The connection's own buffers, while the session works on them: streams are clients too, and two clients cannot
    /// be written to at once.
    var input = Buffer()
    var output = Buffer()
    /// It is among those that write at the end of the turn.
    var isUnsent = false
    /// The client takes nothing of what is to be written.
    var writePause = Pause()
    /// When a header section that has begun, or the client's preface, must have ended.
    var headDeadline = Instant.never
    /// Which section that is about; 0 is the preface.
    var owedSection: Int32 = 0
    /// What is still to come of the client's preface, in bytes.
    var prefaceBytes = ConnectionPreface.byteCount
    /// When a connection without streams has had its time.
    var idleDeadline = Instant.never
    /// When the last stream is named, after the end was announced.
    var farewell = Instant.never
    /// The end was announced.
    var isEnding = false

    init(_ session: consuming HTTP2Session, client: Handle) {
        self.session = session
        self.client = client
    }

    /// True where the client has begun a header section, or its preface, and owes the rest.
    var isOwedRest: Bool {
        session.isInsideHead || (prefaceBytes > 0 && prefaceBytes < ConnectionPreface.byteCount)
    }
}

extension Worker {
    /// Blocks of 64 KiB written to one in one go, before others have their turn.
    static var blocksPerTurn: Int { 4 }
    /// Between the announcement of the end and the last word about it, in milliseconds: what a client needs to learn
    /// of it, so that none of its requests is lost (RFC 9113 §6.8).
    private static var farewellMilliseconds: Int64 { 500 }

    // MARK: The beginning

    /// Tells HTTP/1 from HTTP/2 by the first bytes (RFC 9113 §3.4).
    mutating func chooseVersion(_ client: UInt32) {
        while true {
            let speaksHTTP1 = speaksHTTP1(client)
            switch ConnectionPreface.compare(clients[client].transport.input.bytes) {
            case .equal: return startMultiplexing(client)
            case .different where speaksHTTP1:
                clients[client].phase = .reading
                return readRequests(client)
            case .different: return startMultiplexing(client)
            case .tooShort: break
            }
            guard readMorePreface(client) else { return }
        }
    }

    func speaksHTTP1(_ client: UInt32) -> Bool {
        listenerSettings[clients[client].peer.listener].protocols.contains(.http1)
    }

    /// Reads more; false where nothing came, or the connection is gone.
    private mutating func readMorePreface(_ client: UInt32) -> Bool {
        if clients[client].transport.isReadable {
            switch clients[client].transport.fill(from: &pool) {
            case .bytes: return true
            case .wouldBlock: break
            case .endOfStream, .failed:
                closeClient(client)
                return false
            }
        }
        let isSilent = clients[client].transport.input.isEmpty
        guard !isSilent || !clients[client].isLast else {
            closeClient(client)
            return false
        }
        if !isSilent, clients[client].headStarted == .never {
            clients[client].headStarted = now
            clientDeadlines.set(client, now.advanced(byMilliseconds: limits.headerTimeoutMilliseconds))
        }
        hurryWhileDraining(client)
        return false
    }

    /// Makes the connection one that speaks HTTP/2.
    mutating func startMultiplexing(_ client: UInt32) {
        guard !multiplexers.isFull,
            let session = HTTP2Session(
                limits: HTTP2Limits(head: headLimits), memory: sessionMemory, now: now.microseconds)
        else { return closeClient(client) }
        clients[client].phase = .multiplexing
        clients[client].speaksHTTP2 = true
        clients[client].multiplexer = multiplexers.insert(
            Multiplexer(session, client: clients.handle(at: client)))
        if isDraining || clients[client].isLast { announceEnd(client) }
        advanceMultiplexer(client)
    }

    // MARK: Reading

    /// Takes in what has arrived on the connection.
    mutating func advanceMultiplexer(_ client: UInt32) {
        let multiplexer = clients[client].multiplexer
        sendLater(multiplexer)
        var reads = Self.readsPerTurn
        while true {
            if !clients[client].transport.input.isEmpty {
                guard takeFrames(client, multiplexer.index) else { return }
            }
            guard clients[client].transport.isReadable else { return }
            guard reads > 0 else { return resumeNextTurn(clients.handle(at: client)) }
            reads -= 1
            switch clients[client].transport.fill(from: &pool) {
            case .bytes: continue
            case .wouldBlock: return
            case .endOfStream, .failed: return closeClient(client)
            }
        }
    }

    /// Takes in the frames that were read; false where the connection is over.
    private mutating func takeFrames(_ client: UInt32, _ multiplexer: UInt32) -> Bool {
        swap(&clients[client].transport.input, &multiplexers[multiplexer].input)
        if multiplexers[multiplexer].prefaceBytes > 0 {
            let count = multiplexers[multiplexer].input.count
            multiplexers[multiplexer].prefaceBytes -= min(multiplexers[multiplexer].prefaceBytes, count)
        }
        let goesOn = Self.receive(&multiplexers[multiplexer], &multiplexScratch, now: now.microseconds)
        takeEvents(multiplexer)
        multiplexers[multiplexer].input.detach(to: &pool)
        if multiplexers[multiplexer].isOwedRest {
            awaitRest(multiplexer)
        } else {
            multiplexers[multiplexer].headDeadline = .never
        }
        advanceTouched()
        return goesOn
    }

    /// The client has `header_timeout` for each section: the rest of one often comes with the beginning of the next.
    @inline(never)
    private mutating func awaitRest(_ multiplexer: UInt32) {
        let section = multiplexers[multiplexer].session.unfinishedSection ?? 0
        guard
            multiplexers[multiplexer].headDeadline == .never
                || multiplexers[multiplexer].owedSection != section
        else { return }
        multiplexers[multiplexer].owedSection = section
        multiplexers[multiplexer].headDeadline = now.advanced(
            byMilliseconds: limits.headerTimeoutMilliseconds)
    }

    private static func receive(
        _ multiplexer: inout Multiplexer, _ scratch: inout HTTP2Scratch, now: Int64
    ) -> Bool {
        receive(multiplexer.input, &multiplexer.session, &scratch, now)
    }

    private static func receive(
        _ input: borrowing Buffer, _ session: inout HTTP2Session, _ scratch: inout HTTP2Scratch,
        _ now: Int64
    ) -> Bool {
        session.receive(input.bytes, &scratch, now: now)
    }

    /// Goes on with every stream that something has happened to.
    mutating func advanceTouched() {
        var place = 0
        while place < touched.count {
            let handle = touched[place]
            if clients.contains(handle) { advanceClient(handle.index) }
            place += 1
        }
        touched.removeAll()
    }

    // MARK: Writing

    /// Has the connection write at the end of the turn.
    mutating func sendLater(_ multiplexer: Handle) {
        guard multiplexers.contains(multiplexer), !multiplexers[multiplexer.index].isUnsent else { return }
        multiplexers[multiplexer.index].isUnsent = true
        unsent.append(multiplexer)
    }

    /// Writes for all connections that have something to say.
    mutating func sendStreams() {
        guard !unsent.isEmpty else { return }
        // What comes up on others meanwhile waits for the next turn: a fast stream must not keep everybody else waiting.
        swap(&unsent, &sending)
        var place = 0
        while place < sending.count {
            let handle = sending[place]
            if multiplexers.contains(handle) {
                // What comes up on the connection while it writes goes out with the rest.
                send(handle.index)
                if multiplexers.contains(handle) { multiplexers[handle.index].isUnsent = false }
            }
            place += 1
        }
        sending.removeAll()
    }

    private mutating func send(_ multiplexer: UInt32) {
        let client = multiplexers[multiplexer].client.index
        for _ in 0..<Self.blocksPerTurn {
            switch clients[client].transport.flush(to: &pool) {
            case .done: break
            case .blocked: return awaitReader(client, multiplexer)
            case .failed: return closeClient(client)
            }
            multiplexers[multiplexer].writePause.deadline = .never
            guard multiplexers[multiplexer].session.hasFrames, makeFrames(client, multiplexer) else {
                return settle(client, multiplexer)
            }
        }
        // More waits: others have their turn first.
        resumeNextTurn(clients.handle(at: client))
    }

    /// Fills one block with frames; false where there are none, and nothing else has happened either.
    private mutating func makeFrames(_ client: UInt32, _ multiplexer: UInt32) -> Bool {
        multiplexers[multiplexer].output.attach(from: &pool, .medium)
        while multiplexers[multiplexer].output.room > HTTP2Session.frameBytes,
            Self.makeFrames(&multiplexers[multiplexer], &multiplexScratch)
        {
            if !multiplexScratch.dataFrames.isEmpty { copyDataFrames(multiplexer) }
            Self.takeFrame(&multiplexers[multiplexer])
        }
        let hasNews = !multiplexScratch.events.isEmpty
        takeEvents(multiplexer)
        let hasMade = !multiplexers[multiplexer].output.isEmpty
        if hasMade {
            swap(&clients[client].transport.output, &multiplexers[multiplexer].output)
        }
        multiplexers[multiplexer].output.detach(to: &pool)
        advanceTouched()
        return hasMade || hasNews
    }

    private static func makeFrames(_ multiplexer: inout Multiplexer, _ scratch: inout HTTP2Scratch) -> Bool {
        let room = multiplexer.output.room
        return multiplexer.session.makeFrames(&scratch, room: room)
    }

    private static func takeFrame(_ multiplexer: inout Multiplexer) {
        multiplexer.session.takeFrame(into: &multiplexer.output)
    }

    /// Copies the content of DATA frames out of the streams' outputs.
    private mutating func copyDataFrames(_ multiplexer: UInt32) {
        var place = 0
        while place < multiplexScratch.dataFrames.count {
            let frame = multiplexScratch.dataFrames[place]
            let stream = multiplexers[multiplexer].session.owner(frame.slot)
            place += 1
            precondition(clients.contains(stream), "a session frames nothing of a stream that was ended")
            clients[stream.index].transport.moveContent(
                of: frame, to: &multiplexers[multiplexer].output, &pool)
            if clients[stream.index].phase == .lingering {
                noteTaken(stream.index, frame.count)
            } else if touched.last != stream {
                touched.append(stream)
            }
        }
        multiplexScratch.clearDataFrames()
    }

    /// The client does not read: it gets as long as for a body.
    private mutating func awaitReader(_ client: UInt32, _ multiplexer: UInt32) {
        if multiplexers[multiplexer].writePause.deadline == .never {
            multiplexers[multiplexer].writePause = Pause(deadline: firstLook)
        }
        setMultiplexerDeadline(client, multiplexer)
    }

    /// All is written: the connection is over, or waits for what comes next.
    private mutating func settle(_ client: UInt32, _ multiplexer: UInt32) {
        if multiplexers[multiplexer].session.isFinished {
            closeMultiplexer(client)
            return endAfterAnswer(client)
        }
        if multiplexers[multiplexer].session.streamCount > 0 {
            multiplexers[multiplexer].idleDeadline = .never
        } else if multiplexers[multiplexer].idleDeadline == .never {
            clients[client].undelivered = 0
            multiplexers[multiplexer].idleDeadline = now.advanced(
                byMilliseconds: limits.idleTimeoutMilliseconds)
        }
        setMultiplexerDeadline(client, multiplexer)
    }

    // MARK: The end

    private mutating func setMultiplexerDeadline(_ client: UInt32, _ multiplexer: UInt32) {
        let deadline = min(
            multiplexers[multiplexer].writePause.deadline, multiplexers[multiplexer].headDeadline,
            multiplexers[multiplexer].idleDeadline, multiplexers[multiplexer].farewell)
        clientDeadlines.set(client, deadline)
    }

    /// One of the connection's deadlines has passed.
    mutating func multiplexerTooSlow(_ client: UInt32) {
        let handle = clients[client].multiplexer
        let multiplexer = handle.index
        guard multiplexers[multiplexer].writePause.deadline > now || isStillTaken(client, multiplexer)
        else { return closeUnreading(client) }
        if multiplexers[multiplexer].farewell <= now {
            multiplexers[multiplexer].farewell = .never
            multiplexers[multiplexer].session.refuseNewStreams()
        } else if multiplexers[multiplexer].headDeadline <= now {
            // The client is slow, or its network, and may ask again: it has done nothing that it should stop doing.
            multiplexers[multiplexer].headDeadline = .never
            multiplexers[multiplexer].session.end(.noError)
        } else if multiplexers[multiplexer].idleDeadline <= now, isStillTaking(client) {
            // What was framed is with the kernel, and not yet with the client, which reads it: it is not idle.
            multiplexers[multiplexer].idleDeadline = now.advanced(
                byMilliseconds: min(limits.idleTimeoutMilliseconds, limits.bodyTimeoutMilliseconds))
        } else if multiplexers[multiplexer].idleDeadline <= now {
            // Once: a client that does not read would have the worker come back to it at once, over and over.
            multiplexers[multiplexer].idleDeadline = .never
            multiplexers[multiplexer].session.end(.noError)
        }
        sendLater(handle)
    }

    /// Says that no further requests are taken soon (RFC 9113 §6.8). Those under way go on.
    mutating func announceEnd(_ client: UInt32) {
        let handle = clients[client].multiplexer
        guard !multiplexers[handle.index].isEnding else { return }
        multiplexers[handle.index].isEnding = true
        multiplexers[handle.index].session.announceEnd()
        multiplexers[handle.index].farewell = now.advanced(
            byMilliseconds: min(Self.farewellMilliseconds, limits.drainTimeoutMilliseconds / 4))
        sendLater(handle)
    }

    /// The worker accepts nothing more: every connection is told.
    mutating func drainMultiplexers() {
        for slot in 0..<clients.slots where clients.isLive(slot) {
            if clients[slot].phase == .multiplexing {
                announceEnd(slot)
            } else if clients[slot].phase == .choosing, !awaitsLastRequests {
                clients[slot].transport.isReadable = true
                chooseVersion(slot)
            }
        }
    }

    /// The worker ends: a last GOAWAY for every connection.
    mutating func endMultiplexers() {
        for slot in 0..<clients.slots where clients.isLive(slot) && clients[slot].phase == .multiplexing {
            multiplexers[clients[slot].multiplexer.index].session.end(.noError)
            sendLater(clients[slot].multiplexer)
        }
        sendStreams()
    }

    /// Takes the session from a connection, and ends its streams.
    mutating func closeMultiplexer(_ client: UInt32, _ code: ReasonCode = .clientClosed) {
        let handle = clients[client].multiplexer
        clients[client].multiplexer = .none
        var multiplexer = multiplexers.remove(handle)
        for slot in 0..<multiplexer.session.slots {
            let stream = multiplexer.session.owner(slot)
            if clients.contains(stream) { loseStream(stream.index, code) }
        }
        multiplexer.input.detach(to: &pool)
        multiplexer.output.detach(to: &pool)
    }
}
