internal import Bytes
public import HTTP
internal import JOSE

extension PolicySnapshot {
    /// Decides on a request: route, authenticate, authorize, in this order. Nothing that a client sends, but the
    /// method, the target, the host and the token, has a say in it (H8, H10).
    ///
    /// - Parameters:
    ///   - head: the head, finished by the parser without a fault.
    ///   - bytes: the bytes that the head was parsed out of.
    ///   - peer: the other end of the connection.
    ///   - now: seconds since 1970.
    ///   - microseconds: a clock that never steps, for rate limits.
    ///   - round: whether the same request was decided on before.
    ///   - answersPreflights: false where the answer is for another proxy, to which 2xx means "let it pass".
    public mutating func decide(
        head: borrowing RequestHead, bytes: Span<UInt8>, peer: PeerFacts, now: Int64,
        microseconds: Int64? = nil, round: DecisionRound = .first, answersPreflights: Bool = true
    ) -> Decision {
        // A tunnel or an echo of the request's own head is nothing for a backend's authorization (P8).
        if head.method == .connect || head.method == .trace {
            return .reject(Rejection(.methodNotAllowed, fault: .methodNotAllowed, closesConnection: true))
        }
        switch CanonicalTarget.parse(bytes, head) {
        case .refused(let fault):
            return .reject(Rejection(fault.code, fault: fault, closesConnection: true))
        case .canonical(let target):
            let clock = microseconds ?? now * 1_000_000
            let origin = RequestOrigin(peer: peer, microseconds: clock, round: round)
            if head.method == .options, answersPreflights, head.authorizationCount == 0,
                let answer = preflight(head, target, bytes)
            {
                return .reject(answer)
            }
            return decide(head, target, bytes, origin, now)
        }
    }

    private mutating func decide(
        _ head: borrowing RequestHead, _ target: borrowing CanonicalTarget, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin,
        _ now: Int64
    ) -> Decision {
        // Which of two credentials counts is nothing to guess, on a public route neither (H7).
        guard head.authorizationCount <= 1 else {
            return .reject(Rejection(.badRequest, fault: .severalValues, closesConnection: true))
        }
        var captures = Captures(repeating: .empty)
        let place = routes.match(target, SoughtMethod(of: head), head, bytes, &captures)
        guard place >= 0 else { return .reject(Self.withoutRoute(place)) }
        let route = routes.route(place)
        var carried = CarriedToken()
        // A decision is many words: on most routes it is made where the caller wants it, and never moved.
        guard route.concernsBrowsers else {
            return decide(head, target, bytes, origin, now, route, captures, &carried)
        }
        let decision = decide(head, target, bytes, origin, now, route, captures, &carried)
        return addressed(decision, head, target, bytes, route, cut: carried.cut)
    }

    /// Why no route serves a request.
    private static func withoutRoute(_ place: Int) -> Rejection {
        switch place {
        case RouteTable.ambiguousParameters:
            Rejection(.badRequest, fault: .ambiguousParameters, closesConnection: true)
        case RouteTable.ambiguousCase: Rejection(.badRequest, fault: .ambiguousCase, closesConnection: true)
        default: Rejection(.noRoute)
        }
    }

    /// The decision with what it says to browsers.
    private func addressed(
        _ decision: consuming Decision, _ head: borrowing RequestHead, _ target: borrowing CanonicalTarget,
        _ bytes: Span<UInt8>, _ route: borrowing CompiledRoute, cut: ByteRange
    ) -> Decision {
        let crossOrigin =
            route.crossOrigin < 0 ? .none : crossOrigins.answer(Int(route.crossOrigin), head, bytes)
        switch consume decision {
        case .permit(var permit):
            permit.crossOrigin = crossOrigin
            return .permit(permit)
        case .reject(var rejection):
            rejection.crossOrigin = crossOrigin
            if route.hasSignIn, rejection.code.status == 401,
                let path = returnPath(head, target, bytes, cut: cut)
            {
                rejection.form = .signIn(path)
            }
            return .reject(rejection)
        case .awaitKeys(let wait):
            return .awaitKeys(wait)
        case .awaitVerdict:
            return .awaitVerdict
        }
    }

    /// Decides on a request whose route is known.
    private mutating func decide(
        _ head: borrowing RequestHead, _ target: borrowing CanonicalTarget, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin, _ now: Int64, _ route: CompiledRoute, _ captures: Captures,
        _ carried: inout CarriedToken
    ) -> Decision {
        let peer = origin.peer
        if origin.round == .first {
            let outcome = checkAddressLimit(route, head, bytes, origin)
            guard case .passes = outcome else { return Self.stopped(by: outcome, route, .none) }
        }
        // What an earlier request left behind that has to wait is this one's business no more.
        unusedProof = nil
        if route.redirectPort > 0 { return sendElsewhere(head, target, bytes, origin, route) }
        switch authenticate(head, bytes, route, origin, now: now, &carried) {
        case .severalTokens:
            let place = Int(route.specIndex)
            return .reject(
                Rejection(.badRequest, route: place, fault: .severalValues, closesConnection: true))
        case .awaitKeys(let issuer):
            return .awaitKeys(KeyWait(issuer: issuer))
        case .awaitVerdict:
            return .awaitVerdict
        case .refused(let code, let refusal):
            let wait = countFailure(code, refusal, head, bytes, origin)
            return .reject(Rejection(code, route: Int(route.specIndex), refusal: refusal, wait: wait))
        case .anonymous:
            let outcome = checkUserLimit(route, .none, head, bytes, origin)
            guard case .passes = outcome else { return Self.stopped(by: outcome, route, .none) }
            // Nobody has no claims: whoever wants to get through must say who they are.
            if routes.requirements.asks(Int(route.specIndex)) {
                return .reject(Rejection(.tokenMissing, route: Int(route.specIndex)))
            }
            return .permit(permit(route, target, bytes, peer, .none, carried))
        case .token(let identity):
            if shared.distrustsTokens(now: origin.microseconds) {
                return .reject(
                    Rejection(.sharedUnavailable, route: Int(route.specIndex), identity: identity))
            }
            let outcome = checkUserLimit(route, identity, head, bytes, origin)
            guard case .passes = outcome else { return Self.stopped(by: outcome, route, identity) }
            // Behind everything that a request waits for: it comes back with the same proof.
            guard useProof(now: now) else {
                let wait = countFailure(.tokenInvalid, .proofReplayed, head, bytes, origin)
                let place = Int(route.specIndex)
                return .reject(Rejection(.tokenInvalid, route: place, refusal: .proofReplayed, wait: wait))
            }
            if let code = authorize(identity, route, captures, bytes) {
                return .reject(Rejection(code, route: Int(route.specIndex), identity: identity))
            }
            guard mintIfWanted(identity, route, now) else {
                return .reject(Rejection(.internalError, route: Int(route.specIndex), identity: identity))
            }
            return .permit(permit(route, target, bytes, peer, identity, carried))
        }
    }

    /// Nobody is asked who they are before they are sent to another place, so that limits by user count addresses.
    @inline(never)
    private mutating func sendElsewhere(
        _ head: borrowing RequestHead, _ target: borrowing CanonicalTarget, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin, _ route: CompiledRoute
    ) -> Decision {
        let outcome = checkUserLimit(route, .none, head, bytes, origin)
        guard case .passes = outcome else { return Self.stopped(by: outcome, route, .none) }
        return .reject(redirection(route, target, head, bytes, origin.peer))
    }

    /// What becomes of a request that a limit does not let pass.
    private static func stopped(
        by outcome: RateOutcome, _ route: CompiledRoute, _ identity: Handle
    ) -> Decision {
        let place = Int(route.specIndex)
        switch outcome {
        case .exceeded(let wait):
            return .reject(Rejection(.rateLimited, route: place, identity: identity, wait: wait))
        case .asks: return .awaitVerdict
        case .unavailable: return .reject(Rejection(.sharedUnavailable, route: place, identity: identity))
        case .passes: preconditionFailure("it passes")
        }
    }

    /// Nil where the token may do this, or the code of the refusal.
    private func authorize(
        _ identity: Handle, _ route: CompiledRoute, _ captures: Captures, _ bytes: Span<UInt8>
    ) -> ReasonCode? {
        let index = Int(route.specIndex)
        guard routes.requirements.asks(index) else { return nil }
        return switch routes.requirements.lack(cache[identity], index, captures, bytes) {
        case .none: nil
        case .claim: route.deniesWithNotFound ? .notFound : .notYours
        case .scope: .insufficientScope
        }
    }

    /// Sees to it that the entry has fresh credentials, where the upstream wants minted ones; false where the system
    /// failed.
    private mutating func mintIfWanted(_ identity: Handle, _ route: CompiledRoute, _ now: Int64) -> Bool {
        guard case .mint(let number) = authorizations.mode(Int(route.upstream)) else { return true }
        return cache.mint(identity, by: &authorizations, number: number, now: now)
    }

    private func permit(
        _ route: CompiledRoute, _ target: borrowing CanonicalTarget, _ bytes: Span<UInt8>,
        _ peer: borrowing PeerFacts,
        _ identity: Handle, _ carried: CarriedToken
    ) -> Permit {
        let whole = target.pathAndQuery
        let stripped = route.strippedSegmentCount
        let rest = stripped == 0 ? whole : ByteRange(from: target.segment(stripped - 1).end, to: whole.end)
        return Permit(
            route: Int(route.specIndex), upstream: Int(route.upstream),
            timeoutMilliseconds: route.timeoutMilliseconds < 0 ? nil : route.timeoutMilliseconds,
            maxBodyBytes: route.maxBodyBytes, target: rest,
            targetNeedsSlash: rest.isEmpty || bytes[Int(rest.start)] != UInt8(ascii: "/"),
            expires: identity.isNone ? nil : cache.expires(identity),
            tokenEnd: identity.isNone ? nil : cache.permitsUntil(identity),
            streamOutlivesToken: !route.endsWithToken,
            peerIsTrusted: trust.trusts(peer),
            preservesHost: authorizations.preservesHost(Int(route.upstream)),
            identity: identity, carried: carried)
    }
}
