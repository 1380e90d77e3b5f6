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

    /// Changes the keys of an issuer, and ends the streams whose token goes with them: whoever has a key that was stolen
    /// writes any `exp` that they like (J22).
    mutating func endStreams(forgottenBy change: (inout PolicySnapshot) -> Void) {
        let remembered = (0..<exchanges.slots).filter { endsWithVerdict($0) && remembersVerdict($0) }
        change(&policy)
        for slot in remembered where !remembersVerdict(slot) {
            exchanges[slot].tokenEnd = .forgotten
            exchanges[slot].tokenDeadline = now
            setExchangeDeadline(slot)
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
