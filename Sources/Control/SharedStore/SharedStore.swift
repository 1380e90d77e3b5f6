import Config
import JOSE
import Logging
import Policy
import Proxy
import Reactor
import Redis
import Synchronization

/// What the threads that have to do with the shared store have in common.
final class StoreChannels: Sendable {
    let orders: Inbox<StoreOrder>
    let rates: Inbox<RateRequest>
    let lookups: Inbox<LookupAnswer>
    let reports: Inbox<StoreReport>
    let standing = SharedStanding()
    let meters = StoreMeters()

    init() throws(Errno) {
        orders = try Inbox()
        rates = try Inbox()
        lookups = try Inbox()
        reports = try Inbox()
    }
}

/// The shared store as the control thread sees it. Its thread runs from the first configuration that names one.
final class SharedStore {
    let channels: StoreChannels
    private var thread: Thread?
    private var target: StoreTarget?
    private let authorities: SystemAuthorities
    /// What the store said of revoked tokens.
    private(set) var revocations = RevocationList()
    /// The store has not answered yet, and it is not known that it cannot.
    private(set) var isAwaited = false
    /// It has not said yet what is revoked.
    private(set) var isUnread = false

    /// A store that is none yet. `environment` may name the system's certificates (`SSL_CERT_FILE`).
    init(environment: [String: String]) throws(Errno) {
        channels = try StoreChannels()
        authorities = SystemAuthorities(environment: environment)
    }

    /// Takes over what a configuration says.
    func configure(_ configuration: Configuration, _ log: Logger) throws(Errno) {
        let wanted = configuration.shared.map {
            StoreTarget(
                shared: $0, authorities: $0.isSecure ? authorities.load(unless: $0.authorities) : [])
        }
        if wanted == nil, thread == nil { return }
        if thread == nil {
            let loop = StoreThread(channels, log)
            thread = try Thread(name: "usher-shared") { loop.run() }
        }
        if wanted != target { (isAwaited, isUnread) = (wanted != nil, wanted != nil) }
        target = wanted
        channels.orders.send(.configure(wanted, log))
    }

    /// Tells the other proxies what is revoked.
    func revoke(_ entries: [[UInt8]]) {
        guard target != nil, !entries.isEmpty else { return }
        channels.orders.send(.revoke(entries))
    }

    /// Takes in what the thread has to say; true where the list of revoked tokens has changed.
    func receive() -> Bool {
        var isChanged = false
        for report in channels.reports.receive() {
            switch report {
            case .settled(let isRead):
                isAwaited = false
                if isRead { isUnread = false }
            case .revocations(let list):
                isChanged = true
                revocations = list
            }
        }
        return isChanged
    }

    /// Ends the thread.
    func stop() {
        guard let running = thread.take() else { return }
        channels.orders.send(.stop)
        running.join()
    }

    /// What the metrics say; empty without a store.
    func metrics(now: Instant) -> String {
        target == nil ? "" : StoreMetrics.text(channels, now: now)
    }
}

/// What the thread begins with: the loop itself is made there, and never leaves it.
private struct StoreThread: Sendable {
    let channels: StoreChannels
    let log: Logger

    init(_ channels: StoreChannels, _ log: Logger) {
        self.channels = channels
        self.log = log
    }

    func run() {
        do throws(Errno) {
            try StoreLoop(channels, log: log).run()
        } catch {
            log.error("the shared store cannot be used", metadata: ["reason": "\(error)"])
            channels.reports.send(.settled(isRead: false))
        }
    }
}

/// What is counted of calls to the store: written by its thread, read by the control thread.
final class StoreMeters: Sendable {
    enum Count: Int, CaseIterable {
        case connects, failures, calls, errors, late
    }

    private let counts: InlineArray<5, Atomic<UInt64>> = InlineArray { _ in Atomic(0) }
    private let replies = Atomic<UInt64>(0)
    private let microseconds = Atomic<UInt64>(0)
    private let pendingRevocations = Atomic<Int>(0)
    private let revocationsRead = Atomic<Int64>(.min)

    func count(_ what: Count) { counts[what.rawValue].wrappingAdd(1, ordering: .relaxed) }

    func count(microseconds spent: Int64) {
        replies.wrappingAdd(1, ordering: .relaxed)
        microseconds.wrappingAdd(UInt64(max(spent, 0)), ordering: .relaxed)
    }

    func setPending(_ count: Int) { pendingRevocations.store(count, ordering: .relaxed) }
    func setRevocationsRead(_ at: Instant) { revocationsRead.store(at.microseconds, ordering: .relaxed) }

    func value(_ what: Count) -> UInt64 { counts[what.rawValue].load(ordering: .relaxed) }
    var answered: (count: UInt64, microseconds: UInt64) {
        (replies.load(ordering: .relaxed), microseconds.load(ordering: .relaxed))
    }
    var pending: Int { pendingRevocations.load(ordering: .relaxed) }

    /// How old the list is that was read last, in microseconds; nil where none was.
    func revocationsAge(at now: Instant) -> Int64? {
        let read = revocationsRead.load(ordering: .relaxed)
        return read == .min ? nil : max(now.microseconds - read, 0)
    }
}
