internal import Bytes
internal import Reactor
internal import TLS

/// A connection as a pair of byte streams: the socket, what was read and not yet used, what is to be written.
///
/// It remembers what the kernel last said about readiness, so that a system call is made only where it can succeed:
/// the poller reports changes, not states.
///
/// With TLS the two buffers hold plaintext, and OpenSSL reads and writes the socket. Whoever uses a transport sees no
/// difference, but that an end of the stream that the peer has not announced (close_notify) counts as broken: what came
/// before may have been cut.
struct Transport: ~Copyable {
    let socket: Socket
    private var tls: TLSConnection?
    /// TLS is on, or being agreed on.
    private(set) var isSecure = false
    /// TLS cannot go on reading before something is written.
    private var readsWhenWritable = false
    var input = Buffer()
    var output = Buffer()
    /// There may be something to read. Cleared by a short read: then the kernel's queue is empty, and the next byte
    /// raises an event of its own.
    var isReadable = false
    /// The last write went through whole.
    var isWritable = true
    /// What the kernel has taken so far; of a stream, what of its content was framed.
    var sentBytes: UInt64 = 0
    /// The peer's end of stream is announced: read until it shows, a short read proves nothing any more.
    var isEnding = false
    /// The end of the stream was read.
    var hasEnded = false
    /// The connection is broken in both directions.
    var isBroken = false
    /// The peer was told that no byte will follow.
    private var isShut = false
    /// It is a stream of an HTTP/2 connection: it has no socket, and its session fills the input and empties the
    /// output.
    let isStream: Bool
    /// Of a stream: the trailer lines behind the body, and an empty line.
    var trailing = Buffer()

    init(_ socket: consuming Socket) {
        self.socket = socket
        isStream = false
    }

    /// A stream.
    init() {
        socket = .none
        isStream = true
    }

    /// Takes in what the poller reports.
    @inline(__always)
    mutating func note(_ readiness: Readiness) {
        if !readiness.isDisjoint(with: [.readable, .peerClosed, .hangUp, .error]) {
            isReadable = true
            tls?.noteReadable()
        }
        if readiness.contains(.writable) {
            isWritable = true
            if readsWhenWritable { isReadable = true }
        }
        if !readiness.isDisjoint(with: [.peerClosed, .hangUp, .error]) { isEnding = true }
        if !readiness.isDisjoint(with: [.hangUp, .error]) { isBroken = true }
    }

    /// Reads once into the free room of the input, which gets a block where it has none.
    @inline(__always)
    mutating func fill(from pool: inout BlockPool, _ sizeClass: BlockPool.SizeClass = .small) -> IOResult {
        input.attach(from: &pool, sizeClass)
        if input.room == 0 { input.compact() }
        let room = input.room
        let result = isSecure ? decrypt() : socket.receive(into: &input)
        switch result {
        case .bytes(let count):
            let mayBeMore = isSecure ? hasMoreInside : count == room
            if !mayBeMore, !isEnding { isReadable = false }
        case .wouldBlock:
            isReadable = false
        case .endOfStream:
            isReadable = false
            hasEnded = true
        case .failed:
            isReadable = false
            isBroken = true
        }
        input.detachIfEmpty(to: &pool)
        return result
    }

    /// Makes room for more of a head: one that fills its block moves into a larger one. The parser refuses a head
    /// before it outgrows the largest.
    mutating func makeRoomForHead(in pool: inout BlockPool) {
        guard input.isAttached else { return }
        input.compact()
        guard input.room == 0, let larger = BlockPool.SizeClass.holding(input.count + 1) else { return }
        _ = input.grow(in: &pool, to: larger)
    }

    /// What came of writing.
    enum Flush {
        case done, blocked, failed
    }

    /// Writes the output, and gives its block back when all is gone.
    @inline(__always)
    mutating func flush(to pool: inout BlockPool) -> Flush {
        if isStream { return queue(to: &pool) }
        while !output.isEmpty {
            let count = output.count
            switch isSecure ? Self.encrypt(output, &tls) : socket.send(output.bytes) {
            case .bytes(let sent):
                output.consume(sent)
                sentBytes &+= UInt64(sent)
                if sent < count {
                    isWritable = false
                    return .blocked
                }
            case .wouldBlock:
                isWritable = false
                return .blocked
            case .failed, .endOfStream:
                isBroken = true
                return .failed
            }
        }
        output.detach(to: &pool)
        return .done
    }

    /// Leaves the output of a stream to its session, which writes for all streams at once, at the end of the turn.
    private mutating func queue(to pool: inout BlockPool) -> Flush {
        guard !output.isEmpty else {
            output.detach(to: &pool)
            return .done
        }
        if output.room < Self.queueRoomBytes { output.compact() }
        guard output.room < Self.queueRoomBytes else { return .done }
        isWritable = false
        return .blocked
    }

    /// A stream whose output has less room than this is full, in bytes: a last small thing, such as the Close frame of
    /// a WebSocket, always fits.
    private static let queueRoomBytes = 512
    /// TLS has encrypted bytes that did not go through whole, and takes nothing but these and what follows them.
    private(set) var owesRetry = false

    /// Writes bytes of somebody else's buffer; fewer than all may go through. Those that do not must be offered again, all
    /// of them in one piece: with fewer OpenSSL fails (bad length).
    @inline(__always)
    mutating func send(_ bytes: Span<UInt8>) -> IOResult {
        let result = isSecure ? Self.encrypt(bytes, &tls) : socket.send(bytes)
        var sent = 0
        if case .bytes(let count) = result { sent = count }
        sentBytes &+= UInt64(sent)
        if isSecure { owesRetry = sent < bytes.count }
        return result
    }

    /// True where the connection is open and the peer has sent nothing: fit to carry a request.
    func isQuiet() -> Bool { socket.isQuiet() && !(isSecure && hasMoreInside) }

    /// Tells the peer that no byte will follow; once, since OpenSSL would begin to wait for the peer's word the second time.
    mutating func shutDownWriting() {
        guard !isShut else { return }
        isShut = true
        tls?.close()
        socket.shutDownWriting()
    }

    /// The same without the word that TLS has for it: what was written is not all that there was.
    mutating func breakOff() {
        isShut = true
        socket.shutDownWriting()
    }

    /// Tells a peer that is owed nothing any more that the connection ends; without TLS, its end says so.
    mutating func sayGoodbye() { tls?.close() }

    /// Gives all memory back. What was read or to be written is lost.
    mutating func releaseBuffers(to pool: inout BlockPool) {
        input.detach(to: &pool)
        output.detach(to: &pool)
        trailing.detach(to: &pool)
    }
}

// MARK: - TLS

extension Transport {
    /// Begins TLS as the server; what was read already is the client's first flight. False where memory is short.
    mutating func secure(by context: TLSServerContext, _ pool: inout BlockPool) -> Bool {
        tls = Self.makeServer(context, socket.descriptor, input)
        input.detach(to: &pool)
        isSecure = true
        return tls != nil
    }

    /// Begins TLS as the client of a server with that name; false where the name cannot be one, or memory is short.
    mutating func secure(
        by context: TLSClientContext, server: String, isAddress: Bool, number: Int
    ) -> Bool {
        tls = TLSConnection(
            client: context, descriptor: socket.descriptor, server: server, isAddress: isAddress,
            number: number)
        isSecure = true
        return tls != nil
    }

    /// Goes on with the handshake.
    mutating func shakeHands() -> TLSHandshake {
        readsWhenWritable = false
        let step = tls?.shakeHands() ?? .failed(.outOfMemory)
        switch step {
        case .done: isReadable = isEnding || hasMoreInside
        case .needsInput: isReadable = false
        case .needsRoom:
            isReadable = false
            isWritable = false
            readsWhenWritable = true
        case .failed: break
        }
        return step
    }

    /// Gives TLS up: what is written from now on is readable for everybody.
    mutating func dropTLS() {
        tls = nil
        isSecure = false
        readsWhenWritable = false
    }

    /// True where HTTP/2 was agreed on.
    var isHTTP2: Bool {
        switch tls {
        case .some(let session): session.isHTTP2
        case .none: false
        }
    }

    /// True where an earlier session was taken up again.
    var isResumed: Bool {
        switch tls {
        case .some(let session): session.isResumed
        case .none: false
        }
    }

    /// The certificate that the peer has proven to have.
    func peerCertificate() -> PeerCertificate {
        switch tls {
        case .some(let session): session.peerCertificate()
        case .none: .none
        }
    }

    private var hasMoreInside: Bool {
        switch tls {
        case .some(let session): session.hasMore
        case .none: false
        }
    }

    private static func makeServer(
        _ context: TLSServerContext, _ descriptor: Int32, _ input: borrowing Buffer
    ) -> TLSConnection? {
        TLSConnection(server: context, descriptor: descriptor, early: input.bytes)
    }

    private mutating func decrypt() -> IOResult {
        switch tls?.read(into: &input) {
        case .bytes(let count): return .bytes(count)
        case .needsInput: return .wouldBlock
        case .needsRoom:
            readsWhenWritable = true
            return .wouldBlock
        case .ended: return .endOfStream
        case .failed, nil: return .failed(.connectionReset)
        }
    }

    private static func encrypt(_ output: borrowing Buffer, _ tls: inout TLSConnection?) -> IOResult {
        encrypt(output.bytes, &tls)
    }

    private static func encrypt(_ bytes: Span<UInt8>, _ tls: inout TLSConnection?) -> IOResult {
        guard bytes.count > 0 else { return .bytes(0) }
        return switch tls?.write(bytes) {
        case .bytes(let count): .bytes(count)
        case .needsRoom: .wouldBlock
        case .needsInput, .ended, .failed, nil: .failed(.connectionReset)
        }
    }
}
