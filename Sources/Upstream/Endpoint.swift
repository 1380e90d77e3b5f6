internal import Bytes
internal import Reactor

/// One server of an upstream as one worker sees it, and the connections to it that wait for a request.
struct Endpoint: ~Copyable {
    let address: SocketAddress
    let authority: [UInt8]
    /// `address` as text, for the log.
    let name: [UInt8]
    /// What the whole process knows of the server.
    let state: ServerState
    /// What this worker tells of it.
    let cells: ServerCells
    private let maximumConnections: Int
    /// All workers' connections count against the maximum, and not this one's alone.
    private let isShared: Bool
    /// Where the server stands in a choice by hash: the same in every worker and every process.
    let place: UInt64
    var weight: Int
    /// The name has this address no longer: what is under way finishes, and nothing new begins.
    var isRetired = false
    /// Connections that are open or being opened, idle ones included.
    private(set) var connections = 0
    /// Requests that are on their way.
    private(set) var inFlight = 0
    /// Idle connections, the last used at the end: that one is warm, and the others can go away when load falls.
    private(set) var idle: [Handle] = []
    /// Smooth weighted round-robin: what this server has saved up.
    var credit = 0

    init(_ settings: ServerSettings, maximumConnections: Int, isShared: Bool, worker: Int) {
        address = settings.address
        authority = Array(settings.authority.utf8)
        name = Array(settings.address.description.utf8)
        state = settings.state
        cells = settings.state.cells(ofWorker: worker)
        weight = settings.weight
        self.maximumConnections = maximumConnections
        self.isShared = isShared
        place = StableHash.place(Array(settings.address.description.utf8).span)
        idle.reserveCapacity(min(maximumConnections, 1024))
    }

    deinit {
        for _ in 0..<connections { countClosed() }
    }

    /// A connection can be had.
    var hasRoom: Bool {
        !idle.isEmpty
            || connections < maximumConnections
                && (!isShared || state.sharedConnections.hasRoom(below: maximumConnections))
    }

    // MARK: The books

    /// A request takes an idle connection, the last one that was used; nil where there is none.
    mutating func takeIdle() -> Handle? {
        guard let handle = idle.popLast() else { return nil }
        cells.idle.adjust(by: -1)
        countRequest()
        return handle
    }

    /// A request opens a connection; false where it may not, after all.
    mutating func open() -> Bool {
        guard connections < maximumConnections,
            !isShared || state.sharedConnections.take(below: maximumConnections)
        else { return false }
        connections += 1
        cells.open.adjust(by: 1)
        cells.opened.adjust(by: 1)
        countRequest()
        return true
    }

    private func countClosed() {
        cells.open.adjust(by: -1)
        if isShared { state.sharedConnections.giveBack() }
    }

    private mutating func countRequest() {
        inFlight += 1
        cells.inFlight.adjust(by: 1)
        cells.requests.adjust(by: 1)
    }

    /// A request is over, and its connection waits for the next.
    mutating func giveBack(_ connection: Handle) {
        inFlight -= 1
        idle.append(connection)
        cells.inFlight.adjust(by: -1)
        cells.idle.adjust(by: 1)
    }

    /// A connection is gone while a request was on it.
    mutating func closedInUse() {
        inFlight -= 1
        connections -= 1
        cells.inFlight.adjust(by: -1)
        countClosed()
    }

    /// A connection is gone while it was idle.
    mutating func closedIdle(_ connection: Handle) {
        guard let position = idle.firstIndex(of: connection) else { return }
        idle.remove(at: position)
        connections -= 1
        cells.idle.adjust(by: -1)
        countClosed()
    }

    /// Takes the idle connection that has waited longest off the books.
    mutating func dropIdle() -> Handle? {
        guard let oldest = idle.first else { return nil }
        closedIdle(oldest)
        return oldest
    }
}
