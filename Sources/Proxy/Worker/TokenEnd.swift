internal import Bytes
internal import HTTP
internal import JOSE
internal import Policy
internal import Reactor

// Tokens expire and are revoked while answers to them are still under way.

/// Why a token does not permit any more what it has permitted.
enum TokenEnd: UInt8 {
    case expired
    case revoked
    /// The server that was asked about it says no.
    case inactive
    /// Nobody can tell whether it is revoked.
    case forgotten

    /// What the client is told.
    var text: StaticString {
        switch self {
        case .expired: "the token has expired"
        case .revoked: "the token was revoked"
        case .inactive: "the token is no longer active"
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
        case .inactive: "token_inactive"
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

    /// Notes that a request may become a stream which ends where a server says no to its credential.
    @inline(never)
    mutating func noteStream(markedBy mark: UInt64) {
        let isNew = verdictWaits.marks.insert(mark).inserted
        guard isNew, verdictWaits.marks.count > 1024 + 2 * exchanges.count else { return }
        verdictWaits.marks.removeAll(keepingCapacity: true)
        for slot in 0..<exchanges.slots where endsWithVerdict(slot) {
            guard let mark = exchanges[slot].tokenKey?.mark, mark != 0 else { continue }
            verdictWaits.marks.insert(mark)
        }
    }

    /// Ends the streams whose credential a server has just said no to. Remembered verdicts tell nothing of them: they are
    /// given anew while the stream goes on.
    ///
    /// Only where there may be some: anybody may send a token that is worth nothing, as often as they like.
    mutating func endStreams(markedBy mark: UInt64) {
        guard verdictWaits.marks.remove(mark) != nil else { return }
        for slot in 0..<exchanges.slots where endsWithVerdict(slot) {
            guard exchanges[slot].tokenKey?.mark == mark else { continue }
            if exchanges[slot].tokenEnd == .expired { exchanges[slot].tokenEnd = .inactive }
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
            if !isThere { exchanges[slot].tokenKey?.issuer = -1 }
        }
    }

    private func endsWithVerdict(_ slot: UInt32) -> Bool {
        exchanges.isLive(slot) && !exchanges[slot].verdict.isNone
    }

    private func remembersVerdict(_ slot: UInt32) -> Bool {
        exchanges[slot].policyNumber == policyNumber && policy.remembers(exchanges[slot].verdict)
    }

    /// Ends what must not outlive its token, where that has ended. False where it has not, and where all of the request was sent
    /// in time and its answer is still to come.
    ///
    /// Asked where bytes are relayed, too: a process that stood still reads what came meanwhile before it looks at deadlines.
    @inline(never)
    mutating func endsWithToken(_ exchange: UInt32) -> Bool {
        guard exchanges[exchange].tokenDeadline <= now else { return false }
        if exchanges[exchange].phase == .tunnelling {
            // One that is being closed has its end already.
            guard !exchanges[exchange].responseBody.stopsAtFrameEnd else { return false }
            closeTunnel(exchange, noteTokenEnd(exchange))
        } else if exchanges[exchange].hasResponseHead {
            // Cut and not ended: nobody takes what came so far for the whole.
            abandon(exchange, noteTokenEnd(exchange))
        } else if waitsForStream(exchange: exchange) {
            refuseLate(exchange)
        } else {
            return false
        }
        return true
    }

    /// Notes why the token of an exchange ends it, now that its time is over; the code that says so.
    mutating func noteTokenEnd(_ exchange: UInt32) -> ReasonCode {
        let end = exchanges[exchange].tokenEnd
        if end != .expired { exchanges[exchange].notes.note(refusal: end.detail) }
        return end.code
    }
}
