import Config
import JOSE
import Reactor
import Telemetry

extension Supervisor {
    /// Opens the admin listener, or takes it from `book.inherited`, and answers on it: at once, but for one that
    /// another process still answers on.
    func openAdmin(_ wanted: AdminConfiguration?) throws(StartFailure) {
        guard let wanted else { return }
        let address = SocketAddress(wanted.address)
        do throws(Errno) {
            if let taken = book.inherited.take(name: "admin", address: address).first {
                admin = try AdminServer(inherited: taken)
            } else {
                admin = try AdminServer(at: address)
            }
            if predecessor == nil { try watchAdmin() }
        } catch {
            throw StartFailure("cannot listen on \(address) (admin): \(error)")
        }
    }

    /// Answers on the admin listener from now on.
    func watchAdmin() throws(Errno) {
        guard let descriptor = admin?.descriptor else { return }
        history.start(at: Instant.now())
        try poller.add(descriptor, token: Token.admin, for: [.readable, .edgeTriggered])
    }

    /// Answers no more, because another process does.
    func closeAdmin() {
        guard let descriptor = admin?.descriptor else { return }
        // The other process holds the same socket: closing it here would not end the watch.
        poller.remove(descriptor)
        admin?.closeAll()
        admin = nil
    }

    var adminState: AdminState {
        let (counters, lost, reason) = (crew.counters, accessWriter.linesLost, notReadyReason)
        let keyStatus = keys.status(now: Instant.now())
        let backendText = backends.metrics(now: Instant.now())
        let revokedCount = revocations.isEnabled ? revocations.list.count : nil
        let revoke: ([UInt8]) -> Bool? = { text in self.revoke(text) }
        return AdminState(
            notReadyReason: reason, access: AdminAccess(configuration.admin), revoke: revoke,
            reload: { self.reload() }, configuration: { EffectiveConfiguration.json(self.configuration) },
            routes: { RouteRow.table(self.configuration.routes) }, status: { self.statusText }
        ) {
            MetricsText.render(workers: counters, isReady: reason == nil, linesLostByWriters: lost)
                + KeyStatus.metrics(keyStatus) + RevocationMetrics.text(revokedCount) + backendText
        }
    }

    var notReadyReason: String? {
        switch phase {
        case .starting: "starting"
        case .running: missingKeysReason
        case .draining, .cuttingOff, .over: "draining"
        }
    }
}

/// What the metrics say of revoked tokens.
enum RevocationMetrics {
    /// The number of entries, where tokens can be revoked.
    static func text(_ count: Int?) -> String {
        guard let count else { return "" }
        return "# HELP usher_revocations Entries of the list of revoked tokens.\n"
            + "# TYPE usher_revocations gauge\nusher_revocations \(count)\n"
    }
}
