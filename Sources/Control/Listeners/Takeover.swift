import Logging
import Reactor

// How a new process takes over the listening sockets of the one before, so that no connection is refused meanwhile:
// it asks, gets every socket, starts, says that it is ready, and only then the old one stops accepting and drains.

/// The words of the conversation: messages of lines, the first of which says what it is.
enum TakeoverMessage: Equatable {
    /// New to old: let me have the sockets. The number is the version of these words.
    case ask
    /// Old to new: descriptors of a listener, by the address that the configuration names and the real one.
    case listener(SocketAddress, real: SocketAddress)
    /// Old to new: a socket of the admin listener.
    case admin(SocketAddress, real: SocketAddress)
    /// Old to new: the socket at which the next successor will ask.
    case successors
    /// Old to new: that was all.
    case complete
    /// New to old: I serve.
    case ready
    /// Old to new: I drain.
    case draining
    /// Old to new: I go on, and you do not begin.
    case dismissed

    init?(_ text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        switch (lines[0], lines.count) {
        case ("usher-takeover 1", 1): self = .ask
        case ("successors", 1): self = .successors
        case ("complete", 1): self = .complete
        case ("ready", 1): self = .ready
        case ("draining", 1): self = .draining
        case ("dismissed", 1): self = .dismissed
        case ("listener", 3), ("admin", 3):
            guard let address = SocketAddress(lines[1]), let real = SocketAddress(lines[2]) else {
                return nil
            }
            self = lines[0] == "admin" ? .admin(address, real: real) : .listener(address, real: real)
        default: return nil
        }
    }

    var text: String {
        switch self {
        case .ask: "usher-takeover 1"
        case .listener(let address, let real): "listener\n\(address)\n\(real)"
        case .admin(let address, let real): "admin\n\(address)\n\(real)"
        case .successors: "successors"
        case .complete: "complete"
        case .ready: "ready"
        case .draining: "draining"
        case .dismissed: "dismissed"
        }
    }
}

/// The new side: a conversation with the process that is to be replaced, and what it has handed on.
struct Predecessor: ~Copyable {
    private let socket: HandoverSocket
    /// The listeners' sockets.
    private(set) var listeners: [InheritedSocket] = []
    /// The admin listener's.
    private(set) var admin: [InheritedSocket] = []
    /// The socket at which successors ask.
    private(set) var successors: Int32?

    /// What a poller watches: the process before says nothing until it is told something, so this is its end.
    var descriptor: Int32 { socket.descriptor }

    /// Asks the process that waits at a path; nil where none does. Throws where it does not answer as it should.
    static func ask(at path: String) throws(StartFailure) -> Predecessor? {
        do throws(Errno) {
            var predecessor = Predecessor(try HandoverSocket.connected(to: path))
            try predecessor.socket.send(TakeoverMessage.ask.text)
            guard try predecessor.receiveAll() else { throw Errno.protocolError }
            return predecessor
        } catch {
            if error.isNobodyThere { return nil }
            throw StartFailure("cannot take over from the process at \(path): \(error)")
        }
    }

    private init(_ socket: consuming HandoverSocket) {
        self.socket = socket
    }

    /// Takes messages until the last; false where something else comes.
    private mutating func receiveAll() throws(Errno) -> Bool {
        while let message = try socket.receive() {
            switch TakeoverMessage(message.text) {
            case .listener(let address, let real):
                note(InheritedSocket(address: address, real: real, descriptors: message.descriptors))
            case .admin(let address, let real):
                admin.append(InheritedSocket(address: address, real: real, descriptors: message.descriptors))
            case .successors: successors = message.descriptors.first
            case .complete: return true
            default: return false
            }
        }
        return false
    }

    /// The descriptors of one place may come in several messages.
    private mutating func note(_ socket: InheritedSocket) {
        if let known = listeners.firstIndex(where: { $0.address == socket.address && $0.real == socket.real })
        {
            listeners[known].descriptors += socket.descriptors
        } else {
            listeners.append(socket)
        }
    }

    /// True where the process before has said that it goes on; there is something to read, or it has ended.
    borrowing func hasDismissed() -> Bool {
        let message = try? socket.receive()
        return message.flatMap { TakeoverMessage($0.text) } == .dismissed
    }

    /// Says that this process serves; false where the old one has not confirmed that it drains.
    borrowing func relieve() -> Bool {
        do throws(Errno) {
            try socket.send(TakeoverMessage.ready.text)
            return try socket.receive().flatMap { TakeoverMessage($0.text) } == .draining
        } catch {
            return false
        }
    }
}

/// The old side: waits for a successor, and lends it every listening socket.
struct Successors: ~Copyable {
    private let socket: HandoverSocket
    /// The one that asks right now, and its process.
    private var asking: HandoverSocket?
    private(set) var process: Int32 = 0
    /// It has everything.
    private(set) var hasLent = false
    /// When it connected, while it has said nothing yet.
    private var silentSince: Instant?
    /// So soon has every process asked for the listeners that connects in order to.
    private static let silenceMilliseconds: Int64 = 1000

    init(at path: String) throws(Errno) {
        socket = try HandoverSocket.listening(at: path)
    }

    init(owning descriptor: Int32) {
        socket = HandoverSocket(owning: descriptor)
    }

    var descriptor: Int32 { socket.descriptor }

    /// Takes the next process that connected, where none is served already; false where it is not to be trusted. One that
    /// only holds the line makes way.
    mutating func accept(_ poller: borrowing Poller, now: Instant) -> Bool {
        do throws(Errno) {
            let new = try socket.accept()
            guard asking == nil || isSilent(at: now), let process = new.trustedPeer() else { return false }
            asking = nil
            try poller.add(new.descriptor, token: Token.successor, for: .readable)
            self.process = process
            hasLent = false
            silentSince = now
            asking = consume new
            return true
        } catch {
            return false
        }
    }

    private func isSilent(at now: Instant) -> Bool {
        guard let silentSince else { return false }
        return silentSince.advanced(byMilliseconds: Self.silenceMilliseconds) <= now
    }

    /// What the asking process says; nil, and forgets it, where it has gone or talks nonsense.
    mutating func receive() -> TakeoverMessage? {
        guard let current = asking.take() else { return nil }
        silentSince = nil
        var message: TakeoverMessage?
        if let received = try? current.receive() {
            for descriptor in received.descriptors { _ = FileDescriptor(owning: descriptor) }
            message = TakeoverMessage(received.text)
        }
        if message != nil { asking = consume current }
        return message
    }

    /// Ends the conversation. This process goes on: who has the sockets and only saw an end would take it for that of the process.
    mutating func dismiss() {
        if hasLent { try? send(.dismissed) }
        asking = nil
    }

    /// Lends it what is open; false where it could not be sent.
    mutating func lend(_ open: [SocketAddress: [ListenerBook.Open]], admin: [InheritedSocket]) -> Bool {
        do throws(Errno) {
            for (address, places) in open {
                for place in places { try lend(place, at: address) }
            }
            for socket in admin {
                guard let address = socket.address else { continue }
                try send(.admin(address, real: socket.real), socket.descriptors)
            }
            try send(.successors, [socket.descriptor])
            try send(.complete)
            hasLent = true
            return true
        } catch {
            return false
        }
    }

    private func lend(_ place: ListenerBook.Open, at address: SocketAddress) throws(Errno) {
        var rest = place.descriptors[...]
        while !rest.isEmpty {
            try send(
                .listener(address, real: place.real), Array(rest.prefix(HandoverSocket.mostDescriptors)))
            rest = rest.dropFirst(HandoverSocket.mostDescriptors)
        }
    }

    /// Sends a message to the asking process.
    func send(_ message: TakeoverMessage, _ descriptors: [Int32] = []) throws(Errno) {
        if asking == nil { throw .protocolError }
        try asking?.send(message.text, descriptors: descriptors)
    }
}
