import Config
import JOSE
import Reactor

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
            throw StartFailure("cannot listen on \(address) (admin): \(StartFailure.words(error))")
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
        let revoke: ([UInt8]) -> Bool? = { text in self.revoke(text) }
        return AdminState(
            notReadyReason: notReadyReason, access: AdminAccess(configuration.admin), revoke: revoke,
            reload: { self.reloadAndTell() },
            configuration: { EffectiveConfiguration.json(self.configuration) },
            routes: { RouteRow.table(self.configuration.routes) }, status: { self.statusText }
        ) { self.metricsText }
    }

    var notReadyReason: String? {
        switch phase {
        case .starting: "starting"
        case .running: missingKeysReason
        case .draining, .cuttingOff, .over: "draining"
        }
    }
}
