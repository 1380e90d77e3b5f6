internal import Bytes
internal import Reactor

/// A connection as a pair of byte streams: the socket, what was read and not yet used, what is to be written.
///
/// It remembers what the kernel last said about readiness, so that a system call is made only where it can succeed:
/// the poller reports changes, not states.
struct Transport: ~Copyable {
    let socket: Socket
    var input = Buffer()
    var output = Buffer()
    /// There may be something to read. Cleared by a short read: then the kernel's queue is empty, and the next byte
    /// raises an event of its own.
    var isReadable = false
    /// The last write went through whole.
    var isWritable = true
    /// The peer's end of stream is announced: read until it shows, a short read proves nothing any more.
    var isEnding = false
    /// The end of the stream was read.
    var hasEnded = false
    /// The connection is broken in both directions.
    var isBroken = false
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
        if !readiness.isDisjoint(with: [.readable, .peerClosed, .hangUp, .error]) { isReadable = true }
        if readiness.contains(.writable) { isWritable = true }
        if !readiness.isDisjoint(with: [.peerClosed, .hangUp, .error]) { isEnding = true }
        if !readiness.isDisjoint(with: [.hangUp, .error]) { isBroken = true }
    }

    /// Reads once into the free room of the input, which gets a block where it has none.
    @inline(__always)
    mutating func fill(from pool: inout BlockPool, _ sizeClass: BlockPool.SizeClass = .small) -> IOResult {
        input.attach(from: &pool, sizeClass)
        if input.room == 0 { input.compact() }
        let room = input.room
        let result = socket.receive(into: &input)
        switch result {
        case .bytes(let count):
            if count < room, !isEnding { isReadable = false }
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
            switch socket.send(output.bytes) {
            case .bytes(let sent):
                output.consume(sent)
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

    /// Gives all memory back. What was read or to be written is lost.
    mutating func releaseBuffers(to pool: inout BlockPool) {
        input.detach(to: &pool)
        output.detach(to: &pool)
        trailing.detach(to: &pool)
    }
}
