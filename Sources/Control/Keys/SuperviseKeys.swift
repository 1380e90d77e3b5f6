import Proxy
import Reactor

// The supervisor's part in the life of keys: it lends its loop, and carries messages.

extension Supervisor {
    /// Passes on what workers ask.
    func noteKeyRequests() {
        let now = Instant.now()
        for request in crew.keyRequests.receive() { keys.asked(request, poller, now: now) }
    }

    /// Does what is due, and tells the workers what has changed.
    func runKeys() {
        keys.run(poller, now: Instant.now())
        for notice in keys.takeNotices() { crew.send(notice) }
        if keys.issuersWithoutKeys.isEmpty { hadAllKeys = true }
    }

    /// Why the proxy is not ready, where keys are why: start-up does not wait for them, readiness does.
    var missingKeysReason: String? {
        guard !hadAllKeys else { return nil }
        let missing = keys.issuersWithoutKeys.joined(separator: ", ")
        return missing.isEmpty ? nil : "waiting for the keys of \(missing)"
    }
}
