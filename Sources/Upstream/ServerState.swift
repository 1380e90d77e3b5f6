public import Reactor
internal import Synchronization
public import Telemetry

/// A number that one worker writes and any thread reads: a plain load and a plain store.
struct Cell: ~Copyable, Sendable {
    private let number = Atomic<Int>(0)

    var value: Int { number.load(ordering: .relaxed) }

    @inline(__always)
    func adjust(by amount: Int) {
        number.store(number.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}

/// What one worker tells of one server.
final class ServerCells: Sendable {
    let inFlight = Cell()
    let open = Cell()
    let idle = Cell()
    let requests = Cell()
    let failures = Cell()
    let opened = Cell()
}

/// What the process knows of one server: written by the health checker and by every worker, read for every choice.
///
/// There is one for each address of a server as long as the configuration names it, reloads included. The values are
/// independent of each other, so that relaxed loads and stores are enough; a worker that reads one a moment late
/// sends one more request there.
public final class ServerState: Sendable {
    private let isHealthy = Atomic<Bool>(true)
    /// Microseconds of the monotonic clock.
    private let ejectedUntil = Atomic<Int64>(.min)
    private let returnedAt = Atomic<Int64>(.min)
    /// Since the last success.
    private let failuresInARow = Atomic<Int>(0)
    private let ejectionCount = Atomic<Int>(0)
    private let cells: [ServerCells]
    /// Connections to a server that gets fewer than there are workers: nobody has a part of his own then.
    let sharedConnections: SharedCount

    /// A server that nothing is known of, which is as good as healthy, for that many workers.
    public init(workers: Int) {
        precondition(workers > 0)
        cells = (0..<workers).map { _ in ServerCells() }
        sharedConnections = SharedCount()
    }

    /// The same server for more workers: what is known of it and what it has counted go on, and those workers that there
    /// were go on counting in both.
    public init(_ other: ServerState, workers: Int) {
        let further = max(0, workers - other.cells.count)
        cells = other.cells + (0..<further).map { _ in ServerCells() }
        sharedConnections = other.sharedConnections
        isHealthy.store(other.isHealthy.load(ordering: .relaxed), ordering: .relaxed)
        ejectedUntil.store(other.ejectedUntil.load(ordering: .relaxed), ordering: .relaxed)
        returnedAt.store(other.returnedAt.load(ordering: .relaxed), ordering: .relaxed)
        ejectionCount.store(other.ejectionCount.load(ordering: .relaxed), ordering: .relaxed)
    }

    func cells(ofWorker worker: Int) -> ServerCells { cells[worker] }

    // MARK: Health and ejection

    /// What the health checks say; true without any.
    public var isUp: Bool { isHealthy.load(ordering: .relaxed) }

    /// True while the server is taken out because requests to it failed.
    public func isEjected(at now: Instant) -> Bool {
        ejectedUntil.load(ordering: .relaxed) > now.microseconds
    }

    /// How often it was taken out.
    public var ejections: Int { ejectionCount.load(ordering: .relaxed) }

    /// Takes over the verdict of the health checks.
    public func setUp(_ isUp: Bool, at now: Instant) {
        let wasUp = isHealthy.exchange(isUp, ordering: .relaxed)
        if isUp, !wasUp { returnedAt.store(now.microseconds, ordering: .relaxed) }
    }

    /// The last request failed.
    @inline(__always)
    var hasFailed: Bool { failuresInARow.load(ordering: .relaxed) != 0 }

    /// A request succeeded.
    func clearFailures() { failuresInARow.store(0, ordering: .relaxed) }

    /// A request failed; how many have in a row.
    func noteFailure() -> Int {
        failuresInARow.wrappingAdd(1, ordering: .relaxed).newValue
    }

    func eject(until end: Instant) {
        ejectedUntil.store(end.microseconds, ordering: .relaxed)
        ejectionCount.wrappingAdd(1, ordering: .relaxed)
    }

    /// It is taken out until then at the longest.
    public func limitEjection(until end: Instant) {
        var seen = ejectedUntil.load(ordering: .relaxed)
        while seen > end.microseconds {
            let (exchanged, original) = ejectedUntil.weakCompareExchange(
                expected: seen, desired: end.microseconds, ordering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }

    /// When it came back last; nil where it was never away.
    var returned: Instant? {
        let last = max(returnedAt.load(ordering: .relaxed), ejectedUntil.load(ordering: .relaxed))
        return last == .min ? nil : Instant(microseconds: last)
    }

    /// True where that worker has a connection without a request.
    func hasIdle(worker: Int) -> Bool { worker < cells.count && cells[worker].idle.value > 0 }

    // MARK: What the metrics ask

    /// Requests that are under way, in all workers.
    public var inFlight: Int { sum { $0.inFlight.value } }
    /// Connections that are open or being opened, in all workers.
    public var openConnections: Int { sum { $0.open.value } }
    /// Those of them without a request.
    public var idleConnections: Int { sum { $0.idle.value } }
    /// Requests that were given to it, repeated ones included.
    public var requests: Int { sum { $0.requests.value } }
    /// Connections that were opened to it, or tried: what is left of the requests went over those that were there.
    public var connectionsOpened: Int { sum { $0.opened.value } }
    /// Requests that failed there.
    public var failures: Int { sum { $0.failures.value } }

    private func sum(_ value: (ServerCells) -> Int) -> Int {
        cells.reduce(0) { $0 &+ value($1) }
    }
}

extension ServerState: Equatable {
    /// True for the same object.
    public static func == (left: ServerState, right: ServerState) -> Bool { left === right }
}

/// What one worker tells of one upstream.
final class UpstreamCells: Sendable {
    let waiting = Cell()
    let refused = Cell()
    let unavailable = Cell()
    let retries = Cell()
    let retriesRefused = Cell()
    /// By the first digit of the status.
    let responses: InlineArray<6, Cell> = InlineArray { _ in Cell() }
    /// By the bucket of how long the server took, and all microseconds together.
    let durations: InlineArray<16, Cell> = InlineArray { _ in Cell() }
    let microseconds = Cell()
    let bell = Bell()
}

/// How a worker is called by another one, with which it shares connections, to look at what there is of them.
final class Bell: Sendable {
    private let isRung = Atomic<Bool>(false)
    private let call = Mutex<(@Sendable () -> Void)?>(nil)

    /// Sets what a ring does, for whoever has this worker's number now.
    func hang(_ call: @escaping @Sendable () -> Void) {
        self.call.withLock { $0 = call }
        answer()
    }

    /// Calls the worker, once until it looks: one that has ended is not called for ever.
    func ring() {
        guard !isRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
        call.withLock { $0 }?()
    }

    /// The worker looks now: what happens from here on is worth another call.
    func answer() { _ = isRung.exchange(false, ordering: .acquiringAndReleasing) }
}

/// What the process knows of one upstream as a whole.
public final class UpstreamState: Sendable {
    private let cells: [UpstreamCells]

    /// An upstream that nothing has happened at, for that many workers.
    public init(workers: Int) {
        precondition(workers > 0)
        cells = (0..<workers).map { _ in UpstreamCells() }
    }

    /// The same upstream for more workers, whose counts go on.
    public init(_ other: UpstreamState, workers: Int) {
        let further = max(0, workers - other.cells.count)
        cells = other.cells + (0..<further).map { _ in UpstreamCells() }
    }

    func cells(ofWorker worker: Int) -> UpstreamCells { cells[worker] }

    /// Calls every worker but that one for which this holds.
    func ring(but own: Int, where isMeant: (_ worker: Int, _ waiting: Int) -> Bool) {
        for worker in cells.indices where worker != own && isMeant(worker, cells[worker].waiting.value) {
            cells[worker].bell.ring()
        }
    }

    /// Requests that wait for a connection.
    public var waiting: Int { sum { $0.waiting.value } }
    /// Requests that were refused because too many waited.
    public var refused: Int { sum { $0.refused.value } }
    /// Requests that found no server to go to.
    public var unavailable: Int { sum { $0.unavailable.value } }
    /// Requests that were sent once more.
    public var retries: Int { sum { $0.retries.value } }
    /// Those that were not, because the retry budget was spent.
    public var retriesRefused: Int { sum { $0.retriesRefused.value } }

    /// Answers that came with a status of that class, 1...5.
    public func responses(statusClass digit: Int) -> Int {
        precondition(digit >= 1 && digit <= 5)
        return sum { $0.responses[digit].value }
    }
    /// How long servers took from the end of a request to the head of their answer.
    public var durations: LatencyHistogram {
        LatencyHistogram(
            counts: (0..<LatencyBuckets.count).map { bucket in
                UInt64(clamping: sum { $0.durations[bucket].value })
            },
            microseconds: Int64(sum { $0.microseconds.value }))
    }

    private func sum(_ value: (UpstreamCells) -> Int) -> Int {
        cells.reduce(0) { $0 &+ value($1) }
    }
}

extension UpstreamState: Equatable {
    /// True for the same object.
    public static func == (left: UpstreamState, right: UpstreamState) -> Bool { left === right }
}
