import Config
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
        return AdminState(notReadyReason: reason) {
            MetricsText.render(workers: counters, isReady: reason == nil, linesLostByWriters: lost)
                + KeyStatus.metrics(keyStatus)
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
