import Policy
import Proxy
import Reactor

/// What the service manager is told, where there is one (sd_notify(3)): systemd with Type=notify, or whoever else
/// sets NOTIFY_SOCKET.
struct ServiceManager {
    private let socket: String?
    /// How long the manager waits for a sign of life; nil where it does not.
    private let watchdogMicroseconds: Int64?
    /// When the next sign of life is due.
    private(set) var deadline: Instant = .never
    private var asked: Asked?

    /// What the environment says; it watches this process where WATCHDOG_PID is missing or names it.
    init(_ environment: [String: String], process: Int32 = processIdentifier()) {
        socket = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
        let isWatched = environment["WATCHDOG_PID"].map { Int32($0) == process } ?? true
        let interval = environment["WATCHDOG_USEC"].flatMap { Int64($0) }.flatMap { $0 > 0 ? $0 : nil }
        watchdogMicroseconds = isWatched && socket != nil ? interval : nil
    }

    /// The process serves, as `status` says.
    mutating func ready(_ status: String, at now: Instant) {
        send("READY=1\nSTATUS=\(status)")
        if watchdogMicroseconds != nil, deadline == .never { deadline = now }
    }

    /// The configuration is being read again; `ready` follows whatever comes of it.
    func reloading(at now: Instant) { send("RELOADING=1\nMONOTONIC_USEC=\(now.microseconds)") }

    /// The process drains and ends.
    func stopping(_ status: String) { send("STOPPING=1\nSTATUS=\(status)") }

    /// Another process serves from now on.
    func mainProcess(is process: Int32) { send("MAINPID=\(process)") }

    /// Says that the process is alive if every worker has answered since last time, and asks them again. Call it at
    /// `deadline`: twice in the time that the manager waits.
    mutating func beat(of crew: Crew, at now: Instant) {
        guard let watchdogMicroseconds, deadline <= now else { return }
        deadline = now.advanced(byMilliseconds: max(1, watchdogMicroseconds / 2000))
        if asked?.isAnswered(in: crew) ?? true { send("WATCHDOG=1") }
        let next = Asked(of: crew)
        asked = next
        crew.send(next.heartbeat)
    }

    private func send(_ text: String) {
        guard let socket else { return }
        notifyServiceManager(at: socket, text)
    }
}

/// A question for a sign of life, and whom it went to: workers that a reload has added since do not know of it.
struct Asked {
    let heartbeat = Heartbeat()
    /// So many it went to.
    private let workers: Int
    /// So many had ended before.
    private let ended: Int

    init(of crew: Crew) {
        (workers, ended) = (crew.runningCount, crew.endedCount)
    }

    /// True when all have answered, but for those that have ended since and will not: what is said of their end is in
    /// their reports.
    func isAnswered(in crew: Crew) -> Bool { heartbeat.count >= workers - (crew.endedCount - ended) }
}

extension Supervisor {
    /// One line for `systemctl status`.
    var serviceStatus: String {
        let addresses = listening.map { "\($0.address)" }.joined(separator: ", ")
        return "serving \(Self.counted(settings.policy.routes.count, "route")) on \(addresses)"
    }
}
