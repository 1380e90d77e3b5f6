import Config
import JOSE
import Reactor
import Telemetry

extension Supervisor {
    func openAdmin(_ wanted: AdminConfiguration?) throws(StartFailure) {
        guard let wanted else {
            admin?.closeAll()
            admin = nil
            return
        }
        let address = SocketAddress(wanted.address)
        do throws(Errno) {
            let opened = try AdminServer(at: address)
            try poller.add(opened.descriptor, token: Token.admin, for: [.readable, .edgeTriggered])
            admin?.closeAll()
            admin = consume opened
        } catch {
            throw StartFailure("cannot listen on \(address) (admin): \(error)")
        }
    }

    var adminState: AdminState {
        let (counters, lost, reason) = (crew.counters, accessWriter.linesLost, notReadyReason)
        let keyStatus = keys.status(now: Instant.now())
        let backendText = backends.metrics(now: Instant.now())
        let revokedCount = revocations.isEnabled ? revocations.list.count : nil
        let revoke: ([UInt8]) -> Bool? = { text in self.revoke(text) }
        return AdminState(notReadyReason: reason, revoke: revoke) {
            MetricsText.render(workers: counters, isReady: reason == nil, linesLostByWriters: lost)
                + KeyStatus.metrics(keyStatus) + RevocationMetrics.text(revokedCount) + backendText
        }
    }

    private var notReadyReason: String? {
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
