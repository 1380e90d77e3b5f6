internal import Bytes

/// The endpoints of a pool, in the order of the configuration.
struct EndpointTable: ~Copyable {
    private var slots: Slab<Endpoint>
    let count: Int

    init(_ settings: UpstreamSettings, connectionsEach: Int) {
        slots = Slab(capacity: settings.servers.count)
        count = settings.servers.count
        for (position, server) in settings.servers.enumerated() {
            let handle = slots.insert(Endpoint(server, maximumConnections: connectionsEach))
            precondition(handle.index == UInt32(position), "a new slab gives out its slots in order")
        }
    }

    @_lifetime(borrow self)
    func authority(_ server: Int) -> Span<UInt8> { slots[UInt32(server)].authority.span }

    @_lifetime(borrow self)
    func name(_ server: Int) -> Span<UInt8> { slots[UInt32(server)].name.span }

    subscript(server: Int) -> Endpoint {
        @inline(__always) _read { yield slots[UInt32(server)] }
        @inline(__always) _modify { yield &slots[UInt32(server)] }
    }
}

/// A queue of handles that does not allocate once it has grown to its working size.
struct Deque {
    private var items: [Handle] = []
    private var head = 0

    var count: Int { items.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ item: Handle) {
        items.append(item)
    }

    mutating func remove(_ item: Handle) {
        guard let place = items[head...].firstIndex(of: item) else { return }
        items.remove(at: place)
    }

    mutating func popFirst() -> Handle? {
        guard head < items.count else { return nil }
        let item = items[head]
        head += 1
        // Moving the rest down only when half is spent keeps each step constant on average.
        if head * 2 >= items.count {
            items.removeFirst(head)
            head = 0
        }
        return item
    }
}
