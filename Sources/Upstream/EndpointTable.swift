internal import Bytes

/// The endpoints of a pool. Each keeps its number as long as the pool lives; those of `active` are chosen from.
struct EndpointTable: ~Copyable {
    private var slots: Slab<Endpoint>
    private let connectionsEach: Int
    private let areShared: Bool
    private let worker: Int
    /// The numbers of the servers that take requests, in the order of the settings.
    private(set) var active: [Int] = []

    /// Addresses of one upstream, those that are gone but still have connections included. A name that changes its
    /// addresses faster than requests end loses the newest.
    private static var largestCount: Int { 4096 }

    init(_ servers: [ServerSettings], connectionsEach: Int, areShared: Bool, worker: Int) {
        slots = Slab(capacity: Self.largestCount)
        self.connectionsEach = connectionsEach
        self.areShared = areShared
        self.worker = worker
        _ = replace(servers)
    }

    /// Every endpoint that there is, retired ones included.
    var slotCount: Int { Int(slots.slots) }

    func isLive(_ server: Int) -> Bool { slots.isLive(UInt32(server)) }

    @_lifetime(borrow self)
    func authority(_ server: Int) -> Span<UInt8> {
        isLive(server) ? slots[UInt32(server)].authority.span : Span()
    }

    @_lifetime(borrow self)
    func name(_ server: Int) -> Span<UInt8> { slots[UInt32(server)].name.span }

    subscript(server: Int) -> Endpoint {
        @inline(__always) _read { yield slots[UInt32(server)] }
        @inline(__always) _modify { yield &slots[UInt32(server)] }
    }

    /// Goes on with these servers; those that stay keep their numbers and connections. The idle connections of the
    /// others, which are off the books.
    mutating func replace(_ servers: [ServerSettings]) -> [Handle] {
        var wanted: [Int] = []
        for server in servers {
            guard let number = find(server) ?? insert(server) else { continue }
            self[number].isRetired = false
            self[number].weight = server.weight
            wanted.append(number)
        }
        var dropped: [Handle] = []
        for number in active where !wanted.contains(number) {
            self[number].isRetired = true
            while let handle = self[number].dropIdle() { dropped.append(handle) }
        }
        active = wanted
        return dropped
    }

    private func find(_ server: ServerSettings) -> Int? {
        for number in 0..<slotCount where isLive(number) {
            if slots[UInt32(number)].address == server.address, slots[UInt32(number)].state == server.state {
                return number
            }
        }
        return nil
    }

    /// A number is given again for the same name only: a request may have written that name into its head already,
    /// and compares numbers.
    private mutating func insert(_ server: ServerSettings) -> Int? {
        let authority = Array(server.authority.utf8)
        for number in 0..<slotCount where isLive(number) {
            let isUnused = self[number].isRetired && self[number].connections == 0
            guard isUnused, slots[UInt32(number)].authority == authority else { continue }
            _ = slots.remove(slots.handle(at: UInt32(number)))
            return put(server, expecting: number)
        }
        guard !slots.isFull else { return nil }
        return put(server, expecting: nil)
    }

    private mutating func put(_ server: ServerSettings, expecting number: Int?) -> Int {
        let handle = slots.insert(
            Endpoint(
                server, maximumConnections: connectionsEach, isShared: areShared, worker: worker))
        precondition(number == nil || handle.index == UInt32(number ?? 0), "a slab gives the last slot first")
        return Int(handle.index)
    }
}
