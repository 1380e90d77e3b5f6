import Proxy
import Reactor

/// Which addresses are listened on, and the descriptors that the workers are given for them.
///
/// Sockets are opened here and not by the workers, so that an address that is taken shows before anything changes.
struct ListenerBook {
    /// A place where a listener's connections come in.
    struct Open: Equatable {
        /// Where it really is: the port is another where the configuration says 0.
        var real: SocketAddress
        /// The workers' descriptors: theirs to close, when they are told to; here to be lent to the next process.
        var descriptors: [Int32]
        /// The worker that each of them belongs to.
        var holders: [Int] = []
    }

    /// What is open, by the address that the configuration names.
    private(set) var open: [SocketAddress: [Open]] = [:]
    /// Sockets from before this process that no listener has claimed yet.
    var inherited: [InheritedSocket] = []

    /// The listeners of a new configuration, opened where they are new, for each worker.
    struct Prepared {
        /// How many workers stay, the first ones.
        fileprivate let count: Int
        fileprivate(set) var workers: [[WorkerListener]]
        fileprivate(set) var open: [SocketAddress: [Open]]

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

    /// True where one of these is not open yet.
    func opensAny(of listeners: [ListenerSettings]) -> Bool {
        listeners.contains { open[$0.address] == nil }
    }

    /// Opens what is new, once for each worker; throws, with nothing left open, where one cannot be. Workers from
    /// `count` on, of `before` that there were, keep what they have, and others get it too: they are to end.
    mutating func prepare(
        _ listeners: [ListenerSettings], workers count: Int, before: Int? = nil
    ) throws(Failure) -> Prepared {
        let total = max(count, before ?? count)
        var prepared = Prepared(
            count: count, workers: Array(repeating: [], count: total), open: [:], addresses: [])
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

    private mutating func add(_ listener: ListenerSettings, to prepared: inout Prepared) throws(Errno) {
        if let places = open[listener.address] { return try prepared.keep(places, for: listener) }
        let taken = inherited.take(name: listener.name, address: listener.address)
        guard taken.isEmpty else {
            for socket in taken { try prepared.share(socket, among: listener) }
            return
        }
        try Listener.expectFree(listener.address)
        let first = try Listener(at: listener.address)
        let real = first.address
        prepared.note(listener, real)
        for worker in 1..<max(prepared.count, 1) {
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
        open[listener.address, default: []].append(ListenerBook.Open(real: real, descriptors: []))
        addresses.append((listener.name, real))
    }

    /// The workers have what this listener needs already. A socket that only workers have that are to end is given to one
    /// that stays, because clients may wait in its queue; a new one shares a socket.
    fileprivate mutating func keep(
        _ places: [ListenerBook.Open], for listener: ListenerSettings
    ) throws(Errno) {
        for place in places {
            note(listener, place.real)
            for worker in Set(place.holders) where worker < workers.count {
                workers[worker].append(
                    WorkerListener(name: listener.name, address: place.real, descriptor: nil))
            }
            var kept = Set<UInt64?>()
            for (descriptor, holder) in zip(place.descriptors, place.holders) where holder < count {
                record(descriptor, of: listener, heldBy: holder)
                kept.insert(Listener.identity(of: descriptor))
            }
            for (descriptor, holder) in zip(place.descriptors, place.holders) where holder >= count {
                // Once each: else every change of the number there and back would leave a descriptor.
                if kept.insert(Listener.identity(of: descriptor)).inserted {
                    give(
                        try Listener.duplicate(of: descriptor, at: place.real), of: listener,
                        to: holder % count)
                }
            }
            for worker in 0..<count where !place.holders.contains(worker) {
                // Each another one, as far as there are several: then all of them are served by more than one.
                guard !place.descriptors.isEmpty else { continue }
                let shared = place.descriptors[worker % place.descriptors.count]
                give(try Listener.duplicate(of: shared, at: place.real), of: listener, to: worker)
            }
        }
    }

    private mutating func record(_ descriptor: Int32, of listener: ListenerSettings, heldBy worker: Int) {
        guard let last = open[listener.address]?.indices.last else { return }
        open[listener.address]?[last].descriptors.append(descriptor)
        open[listener.address]?[last].holders.append(worker)
    }

    fileprivate mutating func give(
        _ socket: consuming Listener, of listener: ListenerSettings, to worker: Int
    ) {
        let address = socket.address
        let descriptor = socket.release()
        record(descriptor, of: listener, heldBy: worker)
        workers[worker].append(
            WorkerListener(name: listener.name, address: address, descriptor: descriptor))
    }

    /// Spreads sockets that others have opened over the workers, whatever the number of either: none may be closed,
    /// because clients may wait in its queue; where there are fewer than workers, some share one.
    fileprivate mutating func share(
        _ socket: InheritedSocket, among listener: ListenerSettings
    ) throws(Errno) {
        note(listener, socket.real)
        for (place, descriptor) in socket.descriptors.enumerated() {
            give(
                Listener(owning: descriptor, at: socket.real), of: listener, to: place % count)
        }
        let given = socket.descriptors.count
        for worker in (0..<count).dropFirst(given) {
            let shared = socket.descriptors[worker % given]
            give(try Listener.duplicate(of: shared, at: socket.real), of: listener, to: worker)
        }
    }
}
