import Bytes
import HTTP
import HTTP1
import Reactor

/// The admin listener: a small HTTP/1.1 server on the control thread's loop, one request a connection. A service manager may
/// have opened it at several addresses.
struct AdminServer: ~Copyable {
    /// Scrapers and probes need a handful; one more takes the place of the one that has been there longest, or whoever opens
    /// them and says nothing would keep the probes out.
    private static var connectionLimit: Int { 32 }
    /// So many make way at once: whoever comes in a crowd is read from before it is its turn to go.
    private static var departuresAtOnce: Int { 8 }
    /// From accept to the last byte sent: a probe that takes longer has given up.
    private static var connectionMilliseconds: Int64 { 5000 }
    /// The admin pages need none of the public limits; one small block holds any sane request.
    private static var headLimits: HeadLimits { HeadLimits() }

    /// How soon to try again where there was no descriptor for a connection.
    private static var retryMilliseconds: Int64 { 100 }

    private let sockets: [AdminSocket]
    /// Which of the sockets is the first to be looked at.
    private var turn = 0
    private var mayBeWaiting = false
    /// More wait, for whom others have to go first.
    private var isCrowded = false
    /// How many connections there have been.
    private var accepted: UInt64 = 0
    private var pool = BlockPool(keptBytes: 65_536)
    private var connections = Slab<AdminConnection>(capacity: AdminServer.connectionLimit)
    private var head = RequestHead(fieldCapacity: AdminServer.headLimits.fieldCount)

    /// Listens on the address; throws the kernel's reason.
    init(at address: SocketAddress) throws(Errno) {
        try Listener.expectFree(address)
        sockets = [AdminSocket(try Listener(at: address))]
    }

    /// Takes over sockets that listen already, one at least; throws where there is none.
    init(inherited: [InheritedSocket]) throws(Errno) {
        let taken = inherited.flatMap { socket in
            socket.descriptors.map { AdminSocket(Listener(owning: $0, at: socket.real)) }
        }
        guard !taken.isEmpty else { throw Errno.protocolError }
        sockets = taken
    }

    deinit {
        // The process is about to end, or the connections are empty: `close` gives the blocks back.
        precondition(connections.count == 0, "closeAll comes first")
    }

    /// Where it listens, with the real ports.
    var addresses: [SocketAddress] { sockets.map(\.address) }
    /// What the poller watches for new connections, and for those of the same address: in the order of the addresses.
    var descriptors: [Int32] { sockets.map(\.descriptor) }

    /// At which of its addresses somebody has connected; nil where the connection is over.
    func address(of handle: Handle) -> SocketAddress? {
        guard connections.contains(handle) else { return nil }
        return sockets[connections[handle.index].entrance].address
    }

    /// Takes the connections that wait. What is left is for `expire`.
    mutating func accept(_ poller: borrowing Poller, now: Instant) {
        (mayBeWaiting, isCrowded) = (true, false)
        var departures = Self.departuresAtOnce
        // Each is the first in turn: a crowd at one must not keep everybody else out.
        turn = (turn + 1) % sockets.count
        for place in 0..<sockets.count {
            let entrance = (turn + place) % sockets.count
            guard accept(at: entrance, &departures, poller, now) else { return isCrowded = departures <= 0 }
        }
        mayBeWaiting = false
    }

    /// False where more may wait there: there is no descriptor left, or too many would have to go.
    private mutating func accept(
        at entrance: Int, _ departures: inout Int, _ poller: borrowing Poller, _ now: Instant
    ) -> Bool {
        while departures > 0 {
            switch sockets[entrance].listener.accept() {
            case .connection(let socket, _):
                if connections.isFull {
                    closeOldest()
                    departures -= 1
                }
                add(socket, from: entrance, poller, now)
            case .aborted: continue
            case .exhausted: return false
            case .none: return true
            }
        }
        return false
    }

    /// Goes on with a connection that became readable or writable.
    mutating func advance(_ handle: Handle, state: AdminState) {
        guard connections.contains(handle) else { return }
        if connections[handle.index].output == nil { receive(handle, state) }
        guard connections.contains(handle) else { return }
        if connections[handle.index].output != nil, connections[handle.index].sendOn() { close(handle) }
    }

    /// Closes the connections whose time is over, takes those that had no room before, and gives the next deadline.
    mutating func expire(at now: Instant, _ poller: borrowing Poller) -> Instant {
        if mayBeWaiting { accept(poller, now: now) }
        // The listener is edge-triggered, so that it does not wake the loop in vain while there is no descriptor.
        var next =
            mayBeWaiting ? now.advanced(byMilliseconds: isCrowded ? 0 : Self.retryMilliseconds) : .never
        for index in 0..<connections.slots where connections.isLive(index) {
            let deadline = connections[index].deadline
            if deadline <= now { close(connections.handle(at: index)) } else { next = min(next, deadline) }
        }
        return next
    }

    /// Closes every connection.
    mutating func closeAll() {
        for index in 0..<connections.slots where connections.isLive(index) {
            close(connections.handle(at: index))
        }
    }

    private mutating func add(
        _ socket: consuming Socket, from entrance: Int, _ poller: borrowing Poller, _ now: Instant
    ) {
        let descriptor = socket.descriptor
        let handle = connections.insert(
            AdminConnection(
                socket, from: entrance, number: accepted,
                deadline: now.advanced(byMilliseconds: Self.connectionMilliseconds))
        )
        accepted += 1
        do {
            try poller.add(
                descriptor, token: Token.connection(handle), for: [.readable, .writable, .edgeTriggered])
        } catch {
            close(handle)
        }
    }

    private mutating func receive(_ handle: Handle, _ state: AdminState) {
        switch connections[handle.index].receive(&pool, &head, Self.headLimits) {
        case .incomplete: return
        case .closed: close(handle)
        case .refused(let status):
            connections[handle.index].output = AdminAnswer.refusal(status: status).message()
        case .complete:
            connections[handle.index].output =
                AdminAnswer.make(head, connections[handle.index].input.bytes, state).message()
        }
    }

    private mutating func closeOldest() {
        var oldest: UInt32?
        for index in 0..<connections.slots where connections.isLive(index) {
            if oldest.map({ connections[index].number < connections[$0].number }) ?? true { oldest = index }
        }
        if let oldest { close(connections.handle(at: oldest)) }
    }

    private mutating func close(_ handle: Handle) {
        var connection = connections.remove(handle)
        connection.input.detach(to: &pool)
    }
}

/// One of the sockets of the admin listener.
private final class AdminSocket {
    let listener: Listener
    var address: SocketAddress { listener.address }
    var descriptor: Int32 { listener.descriptor }

    init(_ listener: consuming Listener) { self.listener = listener }
}

/// One connection to the admin listener.
private struct AdminConnection: ~Copyable {
    enum Received { case incomplete, complete, closed, refused(UInt16) }

    let socket: Socket
    /// By which of the sockets it came.
    let entrance: Int
    /// How many there were before it.
    let number: UInt64
    let deadline: Instant
    var input = Buffer()
    private var parser = RequestHeadParser()
    /// The answer, once there is one, and how much of it was sent.
    var output: [UInt8]?
    private var sent = 0
    /// The size of head and body together, once the head is read.
    private var messageBytes: Int?

    /// The largest body: about 5,000 revocations at once, in one block with its head.
    private static var largestBodyBytes: Int { 229_376 }

    init(_ socket: consuming Socket, from entrance: Int, number: UInt64, deadline: Instant) {
        self.socket = socket
        self.entrance = entrance
        self.number = number
        self.deadline = deadline
    }

    /// Reads until the head is complete or nothing more has come.
    mutating func receive(
        _ pool: inout BlockPool, _ head: inout RequestHead, _ limits: HeadLimits
    ) -> Received {
        input.attach(from: &pool)
        while true {
            if input.room == 0, !grow(&pool) { return .refused(messageBytes == nil ? 431 : 413) }
            switch socket.receive(into: &input) {
            case .wouldBlock: return .incomplete
            case .endOfStream, .failed: return .closed
            case .bytes: break
            }
            if let messageBytes {
                guard input.count >= messageBytes else { continue }
                // Other connections have used the head since.
                var again = RequestHeadParser()
                let result = again.parse(input.bytes, into: &head, limits: limits)
                return result == .complete && input.count == messageBytes ? .complete : .refused(400)
            }
            var parser = parser
            let result = parser.parse(input.bytes, into: &head, limits: limits)
            self.parser = parser
            switch result {
            case .incomplete: continue
            case .complete:
                switch head.framing {
                case .none, .untilClose: return .complete
                case .chunked: return .refused(411)
                case .length(let length):
                    guard length <= UInt64(Self.largestBodyBytes) else { return .refused(413) }
                    let whole = head.byteCount + Int(length)
                    messageBytes = whole
                    guard input.count >= whole else { continue }
                    return input.count == whole ? .complete : .refused(400)
                }
            case .refused: return .refused(400)
            }
        }
    }

    /// Makes room for more of a body; a head has to do with the first block.
    private mutating func grow(_ pool: inout BlockPool) -> Bool {
        guard let messageBytes, let size = BlockPool.SizeClass.holding(messageBytes + 1) else { return false }
        return input.grow(in: &pool, to: size)
    }

    /// Sends on; true when all was sent, or never will be.
    mutating func sendOn() -> Bool {
        guard let output else { return false }
        while sent < output.count {
            switch socket.send(output.span.extracting(sent...)) {
            case .bytes(let count): sent += count
            case .wouldBlock: return false
            case .endOfStream, .failed: return true
            }
        }
        return true
    }
}
