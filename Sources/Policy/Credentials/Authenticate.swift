internal import Bytes
internal import HTTP
internal import JOSE

/// What authentication found out.
enum Authenticated {
    /// The entry of the cache for a token that holds.
    case token(Handle)
    /// Nobody: no token is there, and none is needed.
    case anonymous
    /// The request is refused.
    case refused(ReasonCode, TokenRefusal?)
    /// It carries two tokens, and which of them counts is nothing to guess.
    case severalTokens
    /// It would be refused, but the issuer at this place may have the key by now.
    case awaitKeys(Int)
    /// A server has to be asked about it: the question is among the `RemoteVerdicts`.
    case awaitVerdict
}

/// What of a request's token is not for the backend, besides the header.
struct CarriedToken: BitwiseCopyable {
    /// The issuers whose cookies are taken out; none where tokens come in the header alone.
    var issuers: IssuerSet = []
    /// The part of the target that holds the token.
    var cut = ByteRange.empty
    /// The token was offered as a subprotocol.
    var isSubprotocol = false
}

extension PolicySnapshot {
    /// Finds out who sends the request, for a route that accepts tokens of `route.issuers`.
    mutating func authenticate(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ route: CompiledRoute,
        _ origin: borrowing RequestOrigin, now: Int64, _ carried: inout CarriedToken
    ) -> Authenticated {
        guard !route.issuers.isEmpty else { return .anonymous }
        guard route.issuers.isSubset(of: tokenPlaces.plainIssuers) else {
            if !route.issuers.isDisjoint(with: sessionPlaces.all) {
                return authenticateSession(head, bytes, route, origin, now: now, &carried)
            }
            return authenticateAnywhere(head, bytes, route, origin, now: now, &carried)
        }
        guard head.authorizationCount > 0 else {
            return route.isOptional ? .anonymous : .refused(.tokenMissing, nil)
        }
        let value = bytes.slice(head.fields[Int(head.authorizationIndex)].valueRange)
        // What is in the cache is a token to the last byte: only what is not needs a closer look.
        if let start = BearerCredentials.tokenStart(value) {
            let known = cache.find(value.extracting(droppingFirst: start), route.issuers, now: now)
            guard known.isNone else {
                tally.hits &+= 1
                return .token(known)
            }
        }
        switch BearerCredentials.parse(value) {
        case .token(let range):
            let all = route.issuers
            return authenticate(value.slice(range), .bearer, of: all, on: all, head, bytes, origin, now: now)
        // Credentials that nobody looks at must not pass for none (J15).
        case .otherScheme, .tokenWithProof: return .refused(.tokenMissing, nil)
        case .malformed: return .refused(.tokenInvalid, .malformed)
        }
    }

    /// The same where tokens come in other places than the header too.
    private mutating func authenticateAnywhere(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ route: CompiledRoute,
        _ origin: borrowing RequestOrigin, now: Int64, _ carried: inout CarriedToken
    ) -> Authenticated {
        let found = tokenPlaces.find(head, bytes, for: route.issuers)
        carried = CarriedToken(issuers: route.issuers, cut: found.cut, isSubprotocol: found.isSubprotocol)
        switch found.kind {
        case .none: return route.isOptional ? .anonymous : .refused(.tokenMissing, nil)
        case .otherScheme: return .refused(.tokenMissing, nil)
        // A token came, and is for nobody here: whoever sent it is to know that it was seen.
        case .unread: return .refused(.tokenInvalid, .wrongIssuer)
        case .malformed: return .refused(.tokenInvalid, .malformed)
        case .several: return .severalTokens
        case .token:
            if isForged(found, head, bytes) { return .refused(.originRefused, nil) }
            return authenticate(found, head, bytes, origin, now: now)
        }
    }

    /// True where the token came as a cookie, and from a page that none of the issuers trusts that look into it.
    func isForged(_ found: FoundToken, _ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Bool {
        found.isFromCookieAlone && trustedOrigins.isForged(found.issuers, head, bytes)
    }

    /// What becomes of a token that was found where `found` says.
    mutating func authenticate(
        _ found: FoundToken, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin, now: Int64
    ) -> Authenticated {
        let token = bytes.slice(found.token)
        let result = authenticate(
            token, found.scheme, of: found.issuers, on: found.route, head, bytes, origin, now: now)
        // Several issuers may look into one cookie, and each trusts pages of its own: whose it is shows only now.
        if found.isFromCookieAlone, case .token(let identity) = result,
            trustedOrigins.isForged(cache[identity].issuer, head, bytes)
        {
            return .refused(.originRefused, nil)
        }
        return result
    }

    /// What becomes of a token that was found where these issuers look, on a route that accepts all of `route`.
    private mutating func authenticate(
        _ token: Span<UInt8>, _ scheme: TokenScheme, of issuers: IssuerSet, on route: IssuerSet,
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ origin: borrowing RequestOrigin, now: Int64
    ) -> Authenticated {
        guard token.count <= tokenBytes else { return .refused(.tokenInvalid, .tooLarge) }
        let asked = introspectingIssuer(for: token, of: issuers)
        // What an issuer answers is remembered under this issuer alone.
        let holders = asked.map { IssuerSet(index: $0) } ?? issuers
        var known = cache.find(token, holders, now: now)
        if known.isNone { known = cache.find(token, holders, isBound: true, now: now) }
        guard known.isNone else {
            tally.hits &+= 1
            // The verdict may be of another route, where nobody bears the token's `iss` (J4). Not so where all issuers
            // of the route look into the header: there they are the key.
            guard cache[known].namedOthers.isDisjoint(with: route) else {
                return .refused(.tokenInvalid, .wrongIssuer)
            }
            return admit(known, scheme, token, head, bytes, origin, now: now)
        }
        tally.misses &+= 1
        // Tokens that are known to be good are not held up by the bad ones of others behind the same address.
        guard !hasFailedTooOften(head, bytes, origin) else { return .refused(.rateLimited, nil) }
        if let asked { return introspect(token, at: asked, on: route, origin, now: now) }
        let verdict = verify(token, of: issuers, on: route, mayWait: origin.round.mayAwaitKeys, now: now)
        guard case .token(let identity) = verdict else { return verdict }
        return admit(identity, scheme, token, head, bytes, origin, now: now)
    }

    /// What a token is worth by itself; what it demands of the request, `admit` asks.
    private mutating func verify(
        _ token: Span<UInt8>, of issuers: IssuerSet, on route: IssuerSet, mayWait: Bool, now: Int64
    ) -> Authenticated {
        let accepted = issuers.subtracting(introspecting)
        switch verifier.verify(token, acceptedBy: accepted, of: route, now: now) {
        case .verified(let verified): return take(verified, token, issuers, now: now)
        case .bound(let verified): return take(verified, token, issuers, now: now)
        case .refused(.unknownKey): return missingKey(.tokenInvalid, .unknownKey, mayWait)
        case .refused(let refusal) where verifier.missesNamelessKey:
            return missingKey(.tokenInvalid, refusal, mayWait)
        case .refused(let refusal):
            return .refused(refusal.isExpiredWithValidSignature ? .tokenExpired : .tokenInvalid, refusal)
        case .keysUnavailable: return missingKey(.keysUnavailable, nil, mayWait)
        }
    }

    /// Remembers a token that holds, unless it is revoked or its claims cannot stand in a header. `mark` is that of
    /// `RemoteVerdicts`, where a server was asked about it.
    mutating func take(
        _ verified: consuming VerifiedToken, _ token: Span<UInt8>, _ issuers: IssuerSet, mark: UInt64 = 0,
        now: Int64
    ) -> Authenticated {
        let refusal = scratch.fill(
            verified, text: token, issuers: issuers, now: now, identity, routes.requirements)
        scratch.mark = mark
        verifier.recycle(verified)
        if let refusal { return .refused(.tokenInvalid, refusal) }
        if !revocations.isEmpty, scratch.isRevoked(by: revocations, issuer: issuerNames[scratch.issuer]) {
            return .refused(.tokenInvalid, .revoked)
        }
        return .token(cache.insert(scratch.compactCopy()))
    }

    /// The key that the last token names is not there: it may come, where the issuer's keys are fetched.
    private func missingKey(
        _ code: ReasonCode, _ refusal: TokenRefusal?, _ mayWait: Bool
    ) -> Authenticated {
        guard mayWait, let issuer = verifier.chosenIssuer, verifier.fetchesKeys(ofIssuer: issuer) else {
            return .refused(code, refusal)
        }
        return .awaitKeys(issuer)
    }
}

/// The credentials of an `Authorization` field (RFC 9110 §11.6.2, RFC 6750 §2.1).
enum BearerCredentials: Equatable {
    /// A token, as a range of the field's value.
    case token(ByteRange)
    /// The same after the scheme DPoP (RFC 9449 §7.1).
    case tokenWithProof(ByteRange)
    /// Another scheme than Bearer.
    case otherScheme
    /// Bearer, but not followed by exactly one token of RFC 6750's characters.
    case malformed

    /// Where the token starts in a value that begins with `Bearer` and one space, in any case.
    @inline(__always)
    static func tokenStart(_ value: Span<UInt8>) -> Int? {
        // "bearer", the first byte lowest.
        guard value.count > 7, value[6] == ASCII.space,
            ASCII.loweredWord(value, at: 0, count: 6) == 0x7265_7261_6562
        else { return nil }
        return 7
    }

    /// The credentials in a field value without whitespace around it.
    static func parse(_ value: Span<UInt8>) -> BearerCredentials {
        let isBearer = hasScheme(value, "bearer")
        guard isBearer || hasScheme(value, "dpop") else { return .otherScheme }
        let length = isBearer ? 6 : 4
        // A scheme alone brings no token, and is answered as none (RFC 6750 §3.1): never let through as nobody.
        guard value.count > length else { return .otherScheme }
        guard value[length] == ASCII.space else {
            return ASCII.isToken(value[length]) ? .otherScheme : .malformed
        }
        var start = length
        while start < value.count, value[start] == ASCII.space { start &+= 1 }
        guard start < value.count, ASCII.endOfVisible(value, from: start) == value.count else {
            return .malformed
        }
        let token = ByteRange(from: start, to: value.count)
        return isBearer ? .token(token) : .tokenWithProof(token)
    }

    private static func hasScheme(_ value: Span<UInt8>, _ scheme: StaticString) -> Bool {
        let length = scheme.utf8CodeUnitCount
        return value.count >= length && ASCII.equalsIgnoringCase(value.extracting(0..<length), scheme)
    }
}
