internal import Bytes
internal import JOSE
internal import Policy
internal import Reactor

// Tokens are revoked while answers to them are still under way.

extension Worker {
    /// Takes over a list of revoked tokens, and ends the streams whose token is among them.
    ///
    /// Where a token is no longer remembered, nobody can tell: the stream ends too, and a client in good standing comes
    /// back.
    mutating func revoke(_ list: RevocationList) {
        policy.replaceRevocations(list)
        guard !list.isEmpty else { return }
        for slot in 0..<exchanges.slots where exchanges.isLive(slot) && !exchanges[slot].verdict.isNone {
            if exchanges[slot].policyNumber == policyNumber, policy.remembers(exchanges[slot].verdict) {
                continue
            }
            exchanges[slot].tokenDeadline = now
            setExchangeDeadline(slot)
        }
    }
}
