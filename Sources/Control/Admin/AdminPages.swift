import Config
import JOSE
import Logging
import Reactor

extension Supervisor {
    /// Opens the admin listener, or takes it from `book.inherited`, where it may have several sockets, and answers on it: at
    /// once, but for one that another process still answers on.
    func openAdmin(_ wanted: AdminConfiguration?) throws(StartFailure) {
        guard let wanted else { return }
        let address = SocketAddress(wanted.address)
        do throws(Errno) {
            let taken = book.inherited.take(name: "admin", address: address)
            admin = taken.isEmpty ? try AdminServer(at: address) : try AdminServer(inherited: taken)
            for socket in taken { warnOfAdmin(at: socket.real, wanted: address) }
            if predecessor == nil { try watchAdmin() }
        } catch {
            throw StartFailure("cannot listen on \(address) (admin): \(StartFailure.words(error))")
        }
    }

    /// The file says that only this machine can ask, and the socket that somebody else has opened is not so.
    private func warnOfAdmin(at real: SocketAddress, wanted: SocketAddress) {
        guard wanted.isOfThisMachine, !real.isOfThisMachine else { return }
        log.warning(
            "the admin listener can be reached from other machines: its socket was handed over, and is elsewhere",
            metadata: ["address": "\(real)", "configured": "\(wanted)"])
    }

    /// Answers on the admin listener from now on.
    func watchAdmin() throws(Errno) {
        guard let descriptors = admin?.descriptors else { return }
        history.start(at: Instant.now())
        for descriptor in descriptors {
            try poller.add(descriptor, token: Token.admin, for: [.readable, .edgeTriggered])
        }
    }

    /// Answers no more, because another process does.
    func closeAdmin() {
        guard let descriptors = admin?.descriptors else { return }
        // The other process holds the same sockets: closing them here would not end the watch.
        for descriptor in descriptors { poller.remove(descriptor) }
        admin?.closeAll()
        admin = nil
    }

    /// What a request is answered with that has come in at that address.
    func adminState(at entrance: SocketAddress?) -> AdminState {
        let revoke: ([UInt8]) -> Bool? = { text in self.revoke(text) }
        return AdminState(
            notReadyReason: notReadyReason, access: AdminAccess(configuration.admin, at: entrance),
            revoke: revoke,
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
