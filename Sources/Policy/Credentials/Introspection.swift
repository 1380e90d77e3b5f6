internal import Bytes
internal import HTTP
internal import JOSE

// Opaque tokens: only their issuer can tell what they are worth (RFC 7662). It is asked, and its answer remembered for a
// while.

extension PolicySnapshot {
    /// The issuer that is asked about a token, where these are accepted: one that looks like a JWT is for an issuer with
    /// keys, where there is one. Never by trying one after the other.
    func introspectingIssuer(for token: Span<UInt8>, of issuers: IssuerSet) -> Int? {
        let asked = issuers.intersection(introspecting)
        guard !asked.isEmpty, asked == issuers || !Self.looksSigned(token) else { return nil }
        // A route has one of them at most.
        return asked.rawValue.trailingZeroBitCount
    }

    /// What is known of a token at the issuer that is asked, on a route that accepts all of `route`.
    mutating func introspect(
        _ token: Span<UInt8>, at issuer: Int, on route: IssuerSet, _ origin: borrowing RequestOrigin,
        now: Int64
    ) -> Authenticated {
        // RFC 7662 §2.1: the server refuses a question without a token, as if we were at fault.
        guard !token.isEmpty else { return .refused(.tokenInvalid, .malformed) }
        // A token of somebody else is nothing to ask this one about, wherever it was found (J4).
        guard verifier.othersNamed(inUnverified: token, than: issuer).isDisjoint(with: route) else {
            return .refused(.tokenInvalid, .wrongIssuer)
        }
        guard let source = remotes.sources.firstIndex(where: { $0.owner == .issuer(issuer) }) else {
            return .refused(.authenticationUnavailable, nil)
        }
        if let denial = remotes.denial(source, token, now: now) { return denial.outcome }
        guard origin.round != .last else { return .refused(.authenticationUnavailable, nil) }
        remotes.ask(source, token, as: .token, token, for: "")
        return .awaitVerdict
    }

    /// Takes in what an issuer says of a token; why it does not hold, where that is so.
    mutating func acceptToken(
        _ issuer: Int, _ answer: [UInt8], _ token: [UInt8], _ source: Int, now: Int64
    ) -> Denial? {
        let seconds = remotes.sources[source].cacheForSeconds
        switch verifier.accept(
            introspection: answer.span, about: token.span, ofIssuer: issuer, seconds: seconds, now: now)
        {
        case .unusable: return .unusable
        case .refused: return .refused
        case .active(let verified):
            // Under the one issuer that was asked, whatever else a route accepts (J5).
            let mark = remotes.mark(source, token.span)
            guard case .token = take(verified, token.span, IssuerSet(index: issuer), mark: mark, now: now)
            else { return .refused }
            return nil
        }
    }

    /// True for three parts with two dots between them, as JWTs have (RFC 7515 §7.1).
    private static func looksSigned(_ token: Span<UInt8>) -> Bool {
        var dots = 0
        for index in token.indices where token[index] == UInt8(ascii: ".") { dots += 1 }
        return dots == 2
    }
}
