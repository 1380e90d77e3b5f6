internal import Bytes
internal import HTTP
internal import JOSE
internal import Policy
internal import Reactor

// Tokens are revoked while answers to them are still under way.

/// Why a token does not permit any more what it has permitted.
enum TokenEnd: UInt8 {
    case expired
    case revoked
    /// Nobody can tell whether it is revoked.
    case forgotten

    /// What the client is told.
    var text: StaticString {
        switch self {
        case .expired: "the token has expired"
        case .revoked: "the token was revoked"
        case .forgotten: "the token must be verified again"
        }
    }

    /// How the exchange has ended.
    var code: ReasonCode { self == .expired ? .tokenExpired : .tokenInvalid }

    /// What the log says besides; empty where the code says it all.
    var detail: StaticString {
        switch self {
        case .expired: ""
        case .revoked: "token_revoked"
        case .forgotten: "token_forgotten"
        }
    }
}

extension Worker {
    /// Takes over a list of revoked tokens, and ends the streams whose token is among them.
    ///
    /// Where a token is no longer remembered, nobody can tell: the stream ends too, and a client in good standing comes
    /// back.
    mutating func revoke(_ list: RevocationList) {
        guard !list.isEmpty else { return policy.replaceRevocations(list) }
        for slot in 0..<exchanges.slots where endsWithVerdict(slot) && !remembersVerdict(slot) {
            exchanges[slot].tokenEnd = .forgotten
        }
        policy.replaceRevocations(list)
        for slot in 0..<exchanges.slots where endsWithVerdict(slot) && !remembersVerdict(slot) {
            if exchanges[slot].tokenEnd == .expired { exchanges[slot].tokenEnd = .revoked }
            exchanges[slot].tokenDeadline = now
            setExchangeDeadline(slot)
        }
    }

    /// Ends the streams whose key its issuer no longer has, remembered or not: whoever has a key that was stolen writes any
    /// `exp` that they like, and as many tokens as make the first one forgotten (J22).
    mutating func endStreams(ofIssuer issuer: Int) {
        for slot in 0..<exchanges.slots where endsWithVerdict(slot) {
            guard let key = exchanges[slot].tokenKey, key.issuer == issuer, !policy.has(key) else { continue }
            exchanges[slot].tokenEnd = .forgotten
            exchanges[slot].tokenDeadline = now
            setExchangeDeadline(slot)
        }
    }

    /// New settings come: whoever is in the same place among their issuers has the same keys, so that streams still end with
    /// these. Of others nobody can tell.
    mutating func keepStreamKeys(_ issuers: [String]) {
        for slot in 0..<exchanges.slots where endsWithVerdict(slot) {
            guard let place = exchanges[slot].tokenKey?.issuer else { continue }
            let before = keyWaits.issuers
            let isThere =
                before.indices.contains(place) && issuers.indices.contains(place)
                && before[place].name == issuers[place]
            if !isThere { exchanges[slot].tokenKey = nil }
        }
    }

    private func endsWithVerdict(_ slot: UInt32) -> Bool {
        exchanges.isLive(slot) && !exchanges[slot].verdict.isNone
    }

    private func remembersVerdict(_ slot: UInt32) -> Bool {
        exchanges[slot].policyNumber == policyNumber && policy.remembers(exchanges[slot].verdict)
    }

    /// Notes why the token of an exchange ends it, now that its time is over; the code that says so.
    mutating func noteTokenEnd(_ exchange: UInt32) -> ReasonCode {
        let end = exchanges[exchange].tokenEnd
        if end != .expired { exchanges[exchange].notes.note(refusal: end.detail) }
        return end.code
    }
}
