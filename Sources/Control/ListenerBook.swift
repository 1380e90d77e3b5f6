import Proxy
import Reactor

/// Which addresses are listened on, and the descriptors that the workers are given for them.
///
/// Sockets are opened here and not by the workers, so that an address that is taken shows before anything changes.
struct ListenerBook {
    /// The address that the configuration names, and the one it became: the port is another where it was 0.
    private(set) var open: [SocketAddress: SocketAddress] = [:]

    /// The listeners of a new configuration, opened where they are new, for each worker.
    struct Prepared {
        fileprivate(set) var workers: [[WorkerListener]]
        fileprivate(set) var open: [SocketAddress: SocketAddress]

        /// The real addresses, in the order of the configuration.
        fileprivate(set) var addresses: [(name: String, address: SocketAddress)]

        /// Closes what was opened and given to nobody.
        consuming func abandon() {
            for listener in workers.joined() {
                if let descriptor = listener.descriptor { _ = FileDescriptor(owning: descriptor) }
            }
        }
    }

    /// An address that cannot be listened on.
    struct Failure: Error {
        let name: String
        let address: SocketAddress
        let reason: Errno
    }

    /// Opens what is new, once for each worker; throws, with nothing left open, where one cannot be.
    func prepare(_ listeners: [ListenerSettings], workers count: Int) throws(Failure) -> Prepared {
        var prepared = Prepared(workers: Array(repeating: [], count: count), open: [:], addresses: [])
        for listener in listeners {
            do {
                try add(listener, to: &prepared)
            } catch {
                prepared.abandon()
                throw Failure(name: listener.name, address: listener.address, reason: error)
            }
        }
        return prepared
    }

    /// Takes the listeners into the book, when the workers have got them.
    mutating func commit(_ prepared: consuming Prepared) {
        open = prepared.open
    }

    private func add(_ listener: ListenerSettings, to prepared: inout Prepared) throws(Errno) {
        if let real = open[listener.address] {
            prepared.note(listener, real)
            for worker in prepared.workers.indices {
                prepared.workers[worker].append(
                    WorkerListener(name: listener.name, address: real, descriptor: nil))
            }
            return
        }
        try Listener.expectFree(listener.address)
        let first = try Listener(at: listener.address)
        let real = first.address
        prepared.note(listener, real)
        for worker in prepared.workers.indices.dropFirst() {
            let further = try Self.further(first, real)
            prepared.give(further, of: listener, to: worker)
        }
        prepared.give(first, of: listener, to: 0)
    }

    /// A socket of its own where the kernel can spread connections over several, else the same one again.
    private static func further(_ first: borrowing Listener, _ real: SocketAddress) throws(Errno) -> Listener
    {
        if case .unix = real { return try first.duplicate() }
        return try Listener(at: real)
    }
}

extension ListenerBook.Prepared {
    fileprivate mutating func note(_ listener: ListenerSettings, _ real: SocketAddress) {
        open[listener.address] = real
        addresses.append((listener.name, real))
    }

    fileprivate mutating func give(
        _ socket: consuming Listener, of listener: ListenerSettings, to worker: Int
    ) {
        let address = socket.address
        workers[worker].append(
            WorkerListener(name: listener.name, address: address, descriptor: socket.release()))
    }
}
