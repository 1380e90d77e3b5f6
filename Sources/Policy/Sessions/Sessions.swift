internal import Bytes
internal import HTTP
internal import JOSE

// Sessions authenticate like tokens: by cookies, or by the session token as a bearer.

extension PolicySnapshot {
    /// Finds out who sends the request, for a route that accepts sessions, and perhaps tokens of issuers too.
    mutating func authenticateSession(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ route: CompiledRoute,
        _ origin: borrowing RequestOrigin, now: Int64, _ carried: inout CarriedToken
    ) -> Authenticated {
        let accepted = route.issuers.intersection(sessionPlaces.all)
        let bearer = Self.bearer(head, bytes)
        let found = tokenPlaces.find(
            head, bytes, for: route.issuers.subtracting(accepted), readsHeader: bearer.kind == .token)
        carried = CarriedToken(issuers: route.issuers, cut: found.cut, isSubprotocol: found.isSubprotocol)
        switch (bearer.kind, found.kind) {
        // Credentials that nobody looks at must not pass for none, nor beside others (J15): another scheme, or DPoP where
        // none of the route's issuers takes proofs; a JWT where none of them looks into the header.
        case (.otherScheme, _), (_, .otherScheme): return .refused(.tokenMissing, nil)
        case (_, .unread): return .refused(.tokenInvalid, .wrongIssuer)
        case (.malformed, _), (_, .malformed): return .refused(.tokenInvalid, .malformed)
        case (_, .several), (.session, .token): return .severalTokens
        default: break
        }
        let isExplicit = bearer.kind == .session || found.kind == .token
        var session = -1
        var cookies = SessionCookies()
        for index in 0..<sessionPlaces.count where accepted.contains(index: sessionPlaces.place(index)) {
            let candidate = sessionPlaces.find(index, head, bytes)
            guard candidate.isPresent else { continue }
            if session >= 0 || candidate.isAmbiguous { return .severalTokens }
            (session, cookies) = (index, candidate)
        }
        // The chunks of another session may have taken the place of this one's.
        if session >= 0, sessionPlaces.count > 1 { cookies = sessionPlaces.find(session, head, bytes) }
        guard isExplicit else {
            guard session >= 0 else { return route.isOptional ? .anonymous : .refused(.tokenMissing, nil) }
            if trustedOrigins.isForged(sessionPlaces.place(session), head, bytes) {
                return .refused(.originRefused, nil)
            }
            return authenticate(session, cookies, head, bytes, origin, now: now)
        }
        if found.kind == .token, isForged(found, head, bytes) { return .refused(.originRefused, nil) }
        // Who the cookies are of, where they are of anybody: it must not be somebody else.
        otherSubject.removeAll()
        if session >= 0 {
            switch authenticate(session, cookies, head, bytes, origin, now: now) {
            case .token(let handle): Self.append(subjectOf: handle, in: cache, to: &otherSubject)
            case .awaitVerdict: return .awaitVerdict
            case .awaitKeys(let issuer): return .awaitKeys(issuer)
            case .refused, .anonymous, .severalTokens: break
            }
        }
        let result =
            bearer.kind == .session
            ? authenticate(bearer: bearer.token, accepted, head, bytes, origin, now: now)
            : authenticate(found, head, bytes, origin, now: now)
        if case .token(let handle) = result, otherSubject.count > 0,
            !ASCII.equals(cache.subject(handle), otherSubject.span)
        {
            return .severalTokens
        }
        return result
    }

    private static func append(
        subjectOf handle: Handle, in cache: borrowing VerifiedTokenCache, to output: inout ByteArray
    ) {
        output.append(cache.subject(handle))
    }

    /// The issuer whose keys a request could do without that waits for a verdict; once. Its session's cache has a key that
    /// nobody knows, and is read again when that is there.
    public mutating func takeWantedKeyIssuer() -> Int? {
        defer { wantedKeyIssuer = nil }
        return wantedKeyIssuer
    }

    // MARK: Cookies

    /// What becomes of a session's cookies: the cache answers where it can, else what the server said.
    private mutating func authenticate(
        _ session: Int, _ cookies: SessionCookies, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin, now: Int64
    ) -> Authenticated {
        let token = bytes.slice(cookies.token)
        guard token.count <= tokenBytes else { return .refused(.tokenInvalid, .tooLarge) }
        wantedKeyIssuer = nil
        var refusal = TokenRefusal.inactive
        if cookies.hasCache, sessionVerifiers[session].readsCache {
            credential.removeAll()
            credential.append(CredentialTag.cache)
            credential.append(token)
            credential.append(0)
            let start = credential.count
            sessionPlaces.appendCache(cookies, bytes, to: &credential)
            if let known = knownSession(session, now: now) { return .token(known) }
            tally.misses &+= 1
            guard !hasFailedTooOften(head, bytes, origin) else { return .refused(.rateLimited, nil) }
            switch verifyCache(session, token, from: start, mayWait: origin.round.mayAwaitKeys, now: now) {
            case .refused(.tokenInvalid, let reason?), .refused(.tokenExpired, let reason?):
                if reason.isFinalForSession { return .refused(.tokenInvalid, reason) }
                refusal = reason
            case let result: return result
            }
        }
        credential.removeAll()
        credential.append(CredentialTag.cookie)
        credential.append(token)
        if let known = knownSession(session, now: now) { return .token(known) }
        tally.misses &+= 1
        guard !hasFailedTooOften(head, bytes, origin) else { return .refused(.rateLimited, nil) }
        var opened = ByteArray()
        guard sessionVerifiers[session].open(cookie: token, into: &opened) else {
            return .refused(.tokenInvalid, .badSignature)
        }
        guard let source = sessionSources[session] else {
            return .refused(refusal == .expired ? .tokenExpired : .tokenInvalid, refusal)
        }
        if let denied = denied(source, now: now) { return denied }
        guard origin.round != .last else { return .refused(.authenticationUnavailable, nil) }
        var text = ByteArray()
        appendCookies(session, cookies, bytes, to: &text)
        ask(source, as: .cookies, text, head, bytes, origin)
        return .awaitVerdict
    }

    /// The entry of the credential at hand, where its verdict is remembered.
    private mutating func knownSession(_ session: Int, now: Int64) -> Handle? {
        let known = Self.find(
            credential, in: &cache, IssuerSet(index: sessionPlaces.place(session)), now: now)
        guard !known.isNone else { return nil }
        tally.hits &+= 1
        return known
    }

    private static func find(
        _ credential: borrowing ByteArray, in cache: inout VerifiedTokenCache, _ sessions: IssuerSet,
        now: Int64
    ) -> Handle {
        cache.find(credential.span, sessions, now: now)
    }

    /// Verifies the cache that stands in `credential` from `start` on.
    private mutating func verifyCache(
        _ session: Int, _ token: Span<UInt8>, from start: Int, mayWait: Bool, now: Int64
    ) -> Authenticated {
        var opened = ByteArray()
        guard sessionVerifiers[session].open(cookie: token, into: &opened) else {
            return .refused(.tokenInvalid, .badSignature)
        }
        let verdict = Self.verify(
            credential, from: start, opened, by: sessionVerifiers[session], now: now, &verifier)
        switch consume verdict {
        case .verified(let verified):
            return remember(verified, session, mark: mark(session, cookie: token), now: now)
        case .refused(let refusal): return .refused(.tokenInvalid, refusal)
        case .lacksKey(let issuer):
            guard verifier.fetchesKeys(ofIssuer: issuer) else { return .refused(.tokenInvalid, .unknownKey) }
            // A server that can be asked knows without the key, which is for those who come later.
            if sessionSources[session] != nil {
                wantedKeyIssuer = issuer
            } else if mayWait {
                return .awaitKeys(issuer)
            }
            return .refused(.tokenInvalid, .unknownKey)
        case .unusable(let refusal): return .refused(.tokenInvalid, refusal)
        }
    }

    private static func verify(
        _ credential: borrowing ByteArray, from start: Int, _ token: borrowing ByteArray,
        by session: SessionVerifier, now: Int64, _ verifier: inout TokenVerifier
    ) -> SessionVerdict {
        session.verify(
            cache: credential.span.extracting(droppingFirst: start), token: token.span, now: now, &verifier)
    }

    private static func fill(
        _ entry: inout VerifiedTokenEntry, _ verified: borrowing VerifiedToken,
        _ credential: borrowing ByteArray,
        _ session: IssuerSet, now: Int64, _ identity: borrowing IdentityRules,
        _ requirements: borrowing RequirementTable
    ) -> TokenRefusal? {
        entry.fill(
            verified, text: credential.span, issuers: session, now: now, identity, requirements)
    }

    /// The mark of a session by the credential that its server is asked about, once the cache has lapsed.
    private mutating func mark(_ session: Int, cookie token: Span<UInt8>) -> UInt64 {
        guard let source = sessionSources[session] else { return 0 }
        var asked = ByteArray()
        asked.append(CredentialTag.cookie)
        asked.append(token)
        return remotes.mark(source, asked.span)
    }

    /// Puts a session that holds into the cache, under the credential at hand.
    private mutating func remember(
        _ verified: consuming VerifiedToken, _ session: Int, mark: UInt64, now: Int64
    ) -> Authenticated {
        let keyIssuer = verified.keyIssuer
        let refusal = Self.fill(
            &scratch, verified, credential, IssuerSet(index: sessionPlaces.place(session)), now: now,
            identity, routes.requirements)
        scratch.mark = mark
        if keyIssuer < 0 {
            sessionVerifiers[session].recycle(verified)
        } else {
            verifier.recycle(verified)
        }
        if let refusal { return .refused(.tokenInvalid, refusal) }
        if !revocations.isEmpty, scratch.isRevoked(by: revocations, issuer: nil) {
            return .refused(.tokenInvalid, .revoked)
        }
        return .token(cache.insert(scratch.compactCopy()))
    }

    /// The cookies that the server needs: the session's, and whether it is to be remembered, which decides how it is
    /// renewed. Not the cache: the answer is to come from where sessions are kept.
    private func appendCookies(
        _ session: Int, _ cookies: SessionCookies, _ bytes: Span<UInt8>, to text: inout ByteArray
    ) {
        sessionPlaces.appendName("session_token=", of: session, to: &text)
        text.append(bytes.slice(cookies.token))
        var opened = ByteArray()
        guard !cookies.remembrance.isEmpty,
            sessionVerifiers[session].open(cookie: bytes.slice(cookies.remembrance), into: &opened)
        else { return }
        text.append("; ")
        sessionPlaces.appendName("dont_remember=", of: session, to: &text)
        text.append(bytes.slice(cookies.remembrance))
    }

    // MARK: Session tokens as bearers

    /// What `Authorization` holds: session tokens have no dot, or one; JWTs have two.
    private static func bearer(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> (kind: BearerKind, token: ByteRange) {
        guard head.authorizationCount > 0 else { return (.none, .empty) }
        let value = head.fields[Int(head.authorizationIndex)].valueRange
        switch BearerCredentials.parse(bytes.slice(value)) {
        case .otherScheme: return (.otherScheme, .empty)
        case .malformed: return (.malformed, .empty)
        case .tokenWithProof(let range):
            return (.token, range.within(value))
        case .token(let range):
            let token = range.within(value)
            var dots = 0
            for index in token.bounds where bytes[index] == UInt8(ascii: ".") { dots += 1 }
            return (dots < 2 ? .session : .token, token)
        }
    }

    private enum BearerKind { case none, session, token, otherScheme, malformed }

    private mutating func authenticate(
        bearer range: ByteRange, _ accepted: IssuerSet, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin, now: Int64
    ) -> Authenticated {
        let token = bytes.slice(range)
        guard token.count <= min(tokenBytes, SessionVerifier.largestBearerBytes) else {
            return .refused(.tokenInvalid, .tooLarge)
        }
        // Which of several servers to ask is nothing to find out by trying.
        guard let session = onlySession(accepted) else { return .refused(.tokenInvalid, .ambiguousIssuer) }
        credential.removeAll()
        credential.append(CredentialTag.bearer)
        credential.append(token)
        if let known = knownSession(session, now: now) { return .token(known) }
        tally.misses &+= 1
        guard !hasFailedTooOften(head, bytes, origin) else { return .refused(.rateLimited, nil) }
        var opened = ByteArray()
        guard sessionVerifiers[session].open(bearer: token, into: &opened) else {
            return .refused(.tokenInvalid, .badSignature)
        }
        // No signature says that the session has not ended.
        guard let source = sessionSources[session] else { return .refused(.tokenInvalid, .inactive) }
        if let denied = denied(source, now: now) { return denied }
        guard origin.round != .last else { return .refused(.authenticationUnavailable, nil) }
        var text = ByteArray()
        text.append(token)
        ask(source, as: .bearer, text, head, bytes, origin)
        return .awaitVerdict
    }

    private func onlySession(_ accepted: IssuerSet) -> Int? {
        var only: Int?
        for index in 0..<sessionPlaces.count where accepted.contains(index: sessionPlaces.place(index)) {
            if only != nil { return nil }
            only = index
        }
        return only
    }

    // MARK: The server

    /// What is known against the credential at hand.
    private mutating func denied(_ source: Int, now: Int64) -> Authenticated? {
        Self.denial(&remotes, source, credential, now: now)?.outcome
    }

    private static func denial(
        _ remotes: inout RemoteVerdicts, _ source: Int, _ credential: borrowing ByteArray, now: Int64
    ) -> Denial? {
        remotes.denial(source, credential.span, now: now)
    }

    private static func ask(
        _ remotes: inout RemoteVerdicts, _ source: Int, _ credential: borrowing ByteArray,
        as form: RemoteQuestion.Form, _ text: borrowing ByteArray, for name: String
    ) {
        remotes.ask(source, credential.span, as: form, text.span, for: name)
    }

    private mutating func ask(
        _ source: Int, as form: RemoteQuestion.Form, _ text: borrowing ByteArray,
        _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, _ origin: borrowing RequestOrigin
    ) {
        let facts = PeerFacts(
            address: clientAddress(head, bytes, origin.peer), listener: origin.peer.listener, isSecure: false)
        let address = facts.addressText
        let name = String(decoding: address.indices.map { address[$0] }, as: UTF8.self)
        Self.ask(&remotes, source, credential, as: form, text, for: name)
    }

    /// Takes in what the server says of a session that exists; why it does not hold, where that is so.
    mutating func acceptSession(
        _ session: Int, _ claims: [UInt8], _ credential: [UInt8], _ source: Int, now: Int64
    ) -> Denial? {
        guard let tag = credential.first else { return .unavailable }
        var token = ByteArray()
        let shown = credential.span.extracting(droppingFirst: 1)
        let isOpen =
            tag == CredentialTag.bearer
            ? sessionVerifiers[session].open(bearer: shown, into: &token)
            : sessionVerifiers[session].open(cookie: shown, into: &token)
        // It was when it was asked about.
        guard isOpen else { return .refused }
        let seconds = remotes.sources[source].cacheForSeconds
        switch sessionVerifiers[session].accept(
            answer: claims.span, token: token.span, seconds: seconds, now: now)
        {
        case .unusable(.expired): return .refused
        // A session of somebody else, or no session at all: the server, or what is between, cannot be relied on.
        case .unusable: return .unusable
        case .lacksKey: return .unusable
        case .refused: return .unusable
        case .verified(let verified):
            self.credential.removeAll()
            self.credential.append(credential.span)
            let mark = remotes.mark(source, credential.span)
            if case .token = remember(verified, session, mark: mark, now: now) { return nil }
            return .refused
        }
    }
}

/// What a credential is remembered as: the same bytes in another place are another credential.
enum CredentialTag {
    static let cache = UInt8(ascii: "d")
    static let cookie = UInt8(ascii: "c")
    static let bearer = UInt8(ascii: "b")
}

extension TokenRefusal {
    /// True where the cookies themselves are wrong: nothing that a server says of one of them makes that right.
    fileprivate var isFinalForSession: Bool {
        switch self {
        case .contradictory, .malformedSubject, .revoked: true
        default: false
        }
    }
}
