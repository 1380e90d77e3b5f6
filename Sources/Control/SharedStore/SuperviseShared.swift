import JOSE
import Logging
import Proxy
import Reactor

// The supervisor's part where several proxies share a store: it lends no loop, that thread has its own.

extension Supervisor {
    /// How long the start waits for what other proxies have revoked. That a store is not there is known within a second;
    /// this is for a long list.
    static let sharedPatienceMilliseconds: Int64 = 5000

    /// Why this process does not know what is revoked; nil where it does.
    var missingRevocationsReason: String? {
        shared.isUnread ? "waiting for the revocations of the shared store" : nil
    }

    /// Takes over what a configuration says of the store, and tells it what was revoked here.
    func configureShared() {
        do throws(Errno) {
            try shared.configure(configuration, log)
        } catch {
            log.error("the shared store cannot be used", metadata: ["reason": "\(error)"])
        }
        shared.revoke(revocations.fromAdmin.entries)
    }

    /// Takes in what the store says.
    func noteShared() {
        guard shared.receive() else { return }
        revocations.setShared(shared.revocations)
        log.info(
            "revocations of the shared store loaded",
            metadata: ["entries": .stringConvertible(shared.revocations.count)])
        publishRevocations()
    }
}
