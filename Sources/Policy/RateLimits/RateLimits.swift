public import Bytes
internal import HTTP
internal import JOSE

/// The rate limits of one snapshot, and the buckets that all snapshots share.
struct RateLimits: ~Copyable {
    private let inPlace = InPlace()
    private var limits: FixedArray<CompiledLimit>
    private var names = ByteArray()
    private let failures: CompiledLimit?
    /// What issuers, then sessions, are called in keys of buckets: after a reload each may stand in another place.
    private var authorities: FixedArray<UInt64>
    /// None where there is no limit.
    let buckets: RateBuckets?

    init(_ spec: PolicySpec, _ shared: RateBuckets?, seed: (UInt64, UInt64)) {
        limits = FixedArray(capacity: max(spec.rateLimits.count, 1))
        let authorityNames = spec.authorityNames
        authorities = FixedArray(capacity: max(authorityNames.count, 1))
        guard !spec.rateLimits.isEmpty || spec.failedAuthentications != nil else {
            (buckets, failures) = (nil, nil)
            return
        }
        let buckets = shared ?? RateBuckets(seed: seed)
        self.buckets = buckets
        for name in authorityNames { _ = authorities.append(buckets.identifier(of: name)) }
        // No table of the file has an empty name.
        failures = spec.failedAuthentications.map {
            CompiledLimit(
                $0, isOfUser: false, isShared: false, identifier: buckets.identifier(of: ""), name: .empty)
        }
        for limit in spec.rateLimits {
            let start = names.count
            let text = Array(limit.name.utf8)
            names.append(text.span)
            _ = limits.append(
                CompiledLimit(
                    limit.rate, isOfUser: limit.key == .user,
                    isShared: limit.isShared && spec.sharedLimits != nil,
                    identifier: buckets.identifier(of: limit.name), name: names.range(since: start),
                    place: limits.count))
        }
    }

    /// The limit at a place.
    subscript(place: Int32) -> CompiledLimit { limits[Int(place)] }

    /// The limit on tokens that fail to verify.
    var failed: CompiledLimit? { failures }

    /// The bucket of a user under a limit; `issuer` is the place of whoever vouches for the user, an issuer or a session.
    func key(_ limit: CompiledLimit, issuer: Int, subject: Span<UInt8>, in buckets: RateBuckets) -> UInt64 {
        buckets.key(limit: limit.identifier, authority: authorities[issuer], subject: subject)
    }

    /// The name of a limit.
    @_lifetime(borrow self)
    func name(_ limit: CompiledLimit) -> Span<UInt8> { names.span(limit.name) }
}

/// One rate limit as plain numbers.
struct CompiledLimit: BitwiseCopyable {
    let rate: CompiledRate
    let isOfUser: Bool
    let identifier: UInt64
    /// Empty for that on failed authentications.
    let name: ByteRange
    /// Where it stands in `PolicySpec.rateLimits`; -1 for that on failed authentications.
    let place: Int
    let requests: Int
    let perSeconds: Int64
    /// The store counts, as far as it answers.
    let isShared: Bool

    init(
        _ spec: RateSpec, isOfUser: Bool, isShared: Bool, identifier: UInt64, name: ByteRange, place: Int = -1
    ) {
        self.place = place
        rate = CompiledRate(spec)
        self.isOfUser = isOfUser
        self.isShared = isShared
        self.identifier = identifier
        self.name = name
        requests = spec.requests
        perSeconds = spec.perSeconds
    }
}

/// A limit that was exceeded, and how long it will be.
struct RateWait: Sendable {
    let limit: CompiledLimit
    /// At least 1.
    let seconds: Int64

    init?(_ limit: CompiledLimit, _ verdict: RateVerdict) {
        guard case .waits(let microseconds) = verdict else { return nil }
        self.limit = limit
        seconds = max((microseconds + 999_999) / 1_000_000, 1)
    }
}

extension Rejection {
    /// The limit that was exceeded, a place in `PolicySpec.rateLimits`, or -1 for that on failed authentications; nil
    /// where none was.
    public var exceededLimit: Int? { wait?.limit.place }
}

extension PolicySnapshot {
    /// What a limit that counts addresses says: before anything costs more.
    mutating func checkAddressLimit(
        _ route: CompiledRoute, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin
    ) -> RateOutcome {
        guard route.rateLimit >= 0, !rates[route.rateLimit].isOfUser else { return .passes }
        return takeOfAddress(rates[route.rateLimit], head, bytes, origin)
    }

    /// What a limit that counts users says; nobody is counted by address.
    mutating func checkUserLimit(
        _ route: CompiledRoute, _ identity: Handle, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin
    ) -> RateOutcome {
        guard route.rateLimit >= 0, rates[route.rateLimit].isOfUser, let buckets = rates.buckets else {
            return .passes
        }
        let limit = rates[route.rateLimit]
        guard !identity.isNone else { return takeOfAddress(limit, head, bytes, origin) }
        let key = rates.key(
            limit, issuer: cache[identity].issuer, subject: cache.subject(identity), in: buckets)
        if let outcome = takeShared(limit, key, origin) { return outcome }
        guard limit.isShared, shared.standing.isAnswering else {
            return takeHere(limit, key, buckets, origin)
        }
        return ask(limit, key, shared.who(cache[identity].issuer, cache.subject(identity)), origin)
    }

    /// A peer without an address, on a Unix socket, is not counted: it may be a proxy with many clients.
    private mutating func takeOfAddress(
        _ limit: CompiledLimit, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin
    ) -> RateOutcome {
        guard let buckets = rates.buckets else { return .passes }
        let address = clientAddress(head, bytes, origin.peer)
        guard !address.isNone else { return .passes }
        let key = buckets.key(limit: limit.identifier, address: address)
        if let outcome = takeShared(limit, key, origin) { return outcome }
        guard limit.isShared, shared.standing.isAnswering else {
            return takeHere(limit, key, buckets, origin)
        }
        return ask(limit, key, shared.who(address), origin)
    }

    /// What this process alone says.
    private func takeHere(
        _ limit: CompiledLimit, _ key: UInt64, _ buckets: RateBuckets, _ origin: borrowing RequestOrigin
    ) -> RateOutcome {
        if limit.isShared {
            guard !shared.spec.refusesWithoutStore else {
                shared.standing.countRefused()
                return .unavailable
            }
            shared.standing.countLocal()
        }
        guard let wait = RateWait(limit, buckets.take(key, limit.rate, now: origin.microseconds)) else {
            return .passes
        }
        return .exceeded(wait)
    }

    // MARK: Limits that other proxies share

    /// What is known without asking; nil where nothing is, and for limits that are not shared.
    ///
    /// A bucket that is empty in this process's copy is empty in the store: nothing flows back there. So whoever asks far
    /// too often costs the store nothing.
    private mutating func takeShared(
        _ limit: CompiledLimit, _ key: UInt64, _ origin: borrowing RequestOrigin
    ) -> RateOutcome? {
        guard limit.isShared, let buckets = rates.buckets else { return nil }
        let mayPass: Bool
        switch shared.takeVerdict(key) {
        case .unavailable: return takeHere(limit, key, buckets, origin)
        case .given: mayPass = true
        case .none: mayPass = shared.takeLease(key, now: origin.microseconds)
        }
        if mayPass {
            shared.standing.countShared()
            return .passes
        }
        guard let wait = RateWait(limit, buckets.look(key, limit.rate, now: origin.microseconds)) else {
            return nil
        }
        shared.standing.countShared()
        return .exceeded(wait)
    }

    private mutating func ask(
        _ limit: CompiledLimit, _ key: UInt64, _ who: [UInt8], _ origin: borrowing RequestOrigin
    ) -> RateOutcome {
        let name = rates.name(limit).copied
        shared.ask(key, limit, named: name, who, now: origin.microseconds)
        return .asks
    }

    /// True where so many tokens of the client's address have failed that no further one is looked at.
    func hasFailedTooOften(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ origin: borrowing RequestOrigin
    ) -> Bool {
        failureWait(head, bytes, origin) != nil
    }

    /// Counts a token that is not valid. The wait where that is why the request was refused.
    func countFailure(
        _ code: ReasonCode, _ refusal: TokenRefusal?, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ origin: borrowing RequestOrigin
    ) -> RateWait? {
        guard let limit = rates.failed, let buckets = rates.buckets else { return nil }
        // Nobody has a nonce at first: to be told one is no failure.
        if code == .tokenInvalid, refusal != .proofNeedsNonce {
            let address = clientAddress(head, bytes, origin.peer)
            if !address.isNone {
                let key = buckets.key(limit: limit.identifier, address: address)
                _ = buckets.take(key, limit.rate, now: origin.microseconds)
            }
        }
        return code == .rateLimited ? failureWait(head, bytes, origin) : nil
    }

    private func failureWait(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ origin: borrowing RequestOrigin
    ) -> RateWait? {
        guard let limit = rates.failed, let buckets = rates.buckets else { return nil }
        let address = clientAddress(head, bytes, origin.peer)
        guard !address.isNone else { return nil }
        let key = buckets.key(limit: limit.identifier, address: address)
        return RateWait(limit, buckets.look(key, limit.rate, now: origin.microseconds))
    }

    /// Adds the fields of a 429: `Retry-After` (RFC 9110 §10.2.3), and what the limit is, in the fields of
    /// draft-ietf-httpapi-ratelimit-headers. False where they do not fit.
    public func appendRateLimitFields(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        guard let wait = rejection.wait else { return true }
        let limit = wait.limit
        return buffer.append("Retry-After: ") && Self.append(wait.seconds, to: &buffer)
            && buffer.append("\r\nRateLimit-Policy: \"") && append(nameOf: limit, to: &buffer)
            && buffer.append("\";q=") && Self.append(Int64(limit.requests), to: &buffer)
            && buffer.append(";w=") && Self.append(limit.perSeconds, to: &buffer)
            && buffer.append("\r\nRateLimit: \"") && append(nameOf: limit, to: &buffer)
            && buffer.append("\";r=0;t=") && Self.append(wait.seconds, to: &buffer) && buffer.append("\r\n")
    }

    private func append(nameOf limit: CompiledLimit, to buffer: inout Buffer) -> Bool {
        limit.name.isEmpty ? buffer.append("failed-authentications") : buffer.append(rates.name(limit))
    }

    private static func append(_ number: Int64, to buffer: inout Buffer) -> Bool {
        if number >= 10, !append(number / 10, to: &buffer) { return false }
        return buffer.append(UInt8(truncatingIfNeeded: number % 10) + 48)
    }
}

extension Span<UInt8> {
    /// A copy of the bytes.
    fileprivate var copied: [UInt8] { indices.map { self[$0] } }
}
