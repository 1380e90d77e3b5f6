import Config
import Crypto
import JOSE
import Logging
import Policy
import Proxy
import Reactor
import TLS

/// Keeps the keys of every issuer that fetches them fresh, and tells the workers what becomes of them.
///
/// It lives on the control loop and never blocks. Each issuer is on its own: the trouble of one touches no other.
final class KeyKeeper {
    /// Where look-ups of names are answered; the loop watches it.
    let lookups: Inbox<LookupAnswer>
    /// What the log gets; its level may change.
    var log: Logger
    /// What the workers are to be told, in this order.
    private var notices: [KeyNotice] = []
    private var issuers: [FetchedKeys] = []
    private var running: [UInt32: NameLookup] = [:]
    private var lastLookup: UInt32 = 0
    private var tokens = TokenSource()
    private let trust: SystemTrust

    /// A keeper of nothing yet. `environment` may name the system's certificates (`SSL_CERT_FILE`).
    init(environment: [String: String], log: Logger) throws(Errno) {
        lookups = try Inbox()
        trust = SystemTrust(SystemAuthorities(environment: environment))
        self.log = log
    }

    // MARK: Settings

    /// Takes over the issuers of a configuration. One whose keys come from where they came from keeps them. `used` are the
    /// names of those that somebody needs; nil: all of them.
    func configure(_ configured: [IssuerConfiguration], used: Set<String>? = nil, now: Instant) {
        var kept: [FetchedKeys] = []
        for configuration in configured {
            guard case .remote(let remote) = configuration.keySource else { continue }
            let known = issuers.first { $0.name == configuration.name }
            if let known, known.goOn(configuration, remote, now: now) {
                kept.append(known)
            } else {
                kept.append(FetchedKeys(configuration, remote, now: now))
            }
        }
        // What was to be said of keys from elsewhere must not reach workers that know the new settings: they would take the
        // old issuer's keys for the new one's.
        let same = Set(kept.filter { one in issuers.contains { $0 === one } }.map(\.name))
        notices.removeAll { !same.contains($0.issuer) }
        issuers = kept
        for issuer in issuers { issuer.isInUse = used?.contains(issuer.name) ?? true }
    }

    /// Puts the keys that there are into a policy that was compiled from the same configuration. Whoever gets it counts
    /// notices from now on, for new workers have seen none of those before, and is still to get what was not taken.
    func fill(_ policy: inout PolicySpec) {
        for issuer in issuers {
            issuer.noticeCount = UInt64(notices.count { $0.issuer == issuer.name })
        }
        for place in policy.issuers.indices {
            guard let known = issuers.first(where: { $0.name == policy.issuers[place].name }) else {
                continue
            }
            policy.issuers[place].spec.keys = known.keys.map { .jwks($0) } ?? .pending
        }
    }

    /// Puts those keys into a policy that would stay under a configuration with these issuers: what workers would get of it.
    func preview(_ policy: inout PolicySpec, under configured: [IssuerConfiguration]) {
        for configuration in configured {
            guard case .remote(let remote) = configuration.keySource,
                let known = issuers.first(where: { $0.name == configuration.name }),
                known.canGoOn(configuration, remote), let keys = known.keys,
                let place = policy.issuers.firstIndex(where: { $0.name == configuration.name })
            else { continue }
            policy.issuers[place].spec.keys = .jwks(keys)
        }
    }

    // MARK: The loop

    /// When `run` is to be called next.
    var deadline: Instant {
        issuers.reduce(.never) { min($0, $1.refresher.deadline, $1.fetch?.deadline ?? .never) }
    }

    /// What the workers are to be told since the last call.
    func takeNotices() -> [KeyNotice] {
        defer { notices.removeAll() }
        return notices
    }

    /// Does what is due.
    func run(_ poller: borrowing Poller, now: Instant) {
        for issuer in issuers {
            if let fetch = issuer.fetch, fetch.deadline <= now {
                settle(issuer, fetch.expire(poller, &tokens, now: now), poller, now)
            }
            while let action = issuer.refresher.tick(now) {
                switch action {
                case .fetch: begin(issuer, poller, now)
                case .drop: drop(issuer)
                }
            }
        }
    }

    /// A worker met a key that it does not know.
    func asked(_ request: KeyRequest, _ poller: borrowing Poller, now: Instant) {
        guard let issuer = issuers.first(where: { $0.name == request.issuer }) else { return }
        // What the worker did not know when it asked is on its way to it.
        guard request.noticesSeen >= issuer.noticeCount else { return }
        switch issuer.refresher.asked(now) {
        case .underWay: break
        case .notBefore(let time): tell(issuer, .none, until: time)
        case .fetch: begin(issuer, for: true, poller, now)
        }
    }

    /// The poller reports something of a fetch.
    func advance(_ token: UInt64, _ poller: borrowing Poller, now: Instant) {
        guard let issuer = issuers.first(where: { $0.fetch?.token == token }) else { return }
        settle(issuer, issuer.fetch?.advance(poller, &tokens), poller, now)
    }

    /// Takes in the answers to look-ups.
    func noteLookups(_ poller: borrowing Poller, now: Instant) {
        for answer in lookups.receive() {
            running.removeValue(forKey: answer.identifier)?.finish()
            guard let issuer = issuers.first(where: { $0.lookup?.identifier == answer.identifier }),
                let host = issuer.lookup?.host
            else { continue }
            issuer.lookup = nil
            guard let fetch = issuer.fetch, fetch.token == 0 else { continue }
            if fetch.url.host == host {
                connect(issuer, to: answer.addresses.map { $0.with(port: fetch.url.port) }, poller, now)
            } else {
                open(fetch, for: issuer, poller, now)
            }
        }
    }

    // MARK: One fetch

    private func begin(
        _ issuer: FetchedKeys, for unknownKey: Bool = false, _ poller: borrowing Poller, _ now: Instant
    ) {
        issuer.fetches += 1
        issuer.plan(for: unknownKey)
        next(issuer, poller, now)
    }

    /// Starts to fetch the next document of the plan.
    private func next(_ issuer: FetchedKeys, _ poller: borrowing Poller, _ now: Instant) {
        guard let url = issuer.steps.first?.url else { return fail(issuer, "nothing to fetch", poller, now) }
        // The issuer has the fetch, which would keep it, and its connection, where a reload drops it.
        let fetch = DocumentFetch(
            url, trusting: { [trust, unowned issuer] () throws(TLSError) in try issuer.context(or: trust) },
            now: now)
        issuer.fetch = fetch
        open(fetch, for: issuer, poller, now)
    }

    private func open(
        _ fetch: DocumentFetch, for issuer: FetchedKeys, _ poller: borrowing Poller, _ now: Instant
    ) {
        if let address = SocketAddress.numeric(fetch.url.host, port: fetch.url.port) {
            return connect(issuer, to: [address], poller, now)
        }
        // The look-up of an earlier attempt may still be under way: a second one would not be faster.
        guard issuer.lookup == nil else { return }
        lastLookup &+= 1
        do throws(Errno) {
            running[lastLookup] = try NameLookup(
                fetch.url.host, port: fetch.url.port, identifier: lastLookup, answerTo: lookups)
            issuer.lookup = (lastLookup, fetch.url.host)
        } catch {
            fail(issuer, "cannot look up \"\(fetch.url.host)\": \(error)", poller, now)
        }
    }

    private func connect(
        _ issuer: FetchedKeys, to addresses: [SocketAddress], _ poller: borrowing Poller, _ now: Instant
    ) {
        guard let fetch = issuer.fetch else { return }
        guard !addresses.isEmpty else {
            return fail(issuer, "the name \"\(fetch.url.host)\" has no address", poller, now)
        }
        settle(issuer, fetch.start(issuer.inTurn(addresses), poller, &tokens), poller, now)
    }

    private func settle(
        _ issuer: FetchedKeys, _ outcome: DocumentFetch.Outcome?, _ poller: borrowing Poller, _ now: Instant
    ) {
        switch outcome {
        case nil: break
        case .failed(let reason): fail(issuer, reason, poller, now)
        case .document(let body, let maximumAge):
            issuer.secondsAhead = issuer.fetch?.secondsAhead
            if issuer.steps.first?.document == .keySet { issuer.maximumAge = maximumAge }
            do throws(FetchFailure) {
                guard try issuer.take(body) else { return next(issuer, poller, now) }
                finish(issuer, now)
            } catch {
                fail(issuer, error.reason, poller, now)
            }
        }
    }

    /// All documents are here, and the keys are new or the same.
    private func finish(_ issuer: FetchedKeys, _ now: Instant) {
        issuer.fetch = nil
        issuer.refresher.succeeded(now, maximumAge: issuer.maximumAge, random: Random.uint64() ?? 0)
        let quietUntil = issuer.refresher.quietUntil
        guard issuer.hasNewKeys, let keys = issuer.keys else {
            tell(issuer, .none, until: quietUntil)
            return log.debug("keys fetched, none has changed", metadata: ["issuer": "\(issuer.name)"])
        }
        tell(issuer, .replaced(.jwks(keys)), until: quietUntil)
        log.info(
            "keys loaded",
            metadata: ["issuer": "\(issuer.name)", "keys": .stringConvertible(issuer.report.usableKeys)])
        for key in issuer.report.skipped {
            log.warning(
                "key left out",
                metadata: [
                    "issuer": "\(issuer.name)", "key": .stringConvertible(key.index + 1),
                    "reason": "\(key.reason)",
                ])
        }
    }

    private func fail(_ issuer: FetchedKeys, _ reason: String, _ poller: borrowing Poller, _ now: Instant) {
        issuer.hasAnswer = issuer.fetch?.hasAnswer ?? false
        if let silent = issuer.fetch?.silent { issuer.silent = silent }
        issuer.fetch = nil
        if issuer.skipAlternative(reason) { return next(issuer, poller, now) }
        // The keys were not looked for elsewhere, but they are where they were.
        if issuer.isConfirmed { return finish(issuer, now) }
        issuer.failures += 1
        issuer.refresher.failed(now)
        let quietUntil = issuer.refresher.quietUntil
        tell(issuer, .none, until: quietUntil)
        if issuer.keys == nil, issuer.remote.areOptional { return noteAbsence(issuer) }
        let wait = max(0, quietUntil.microseconds(since: now)) / 1000
        log.warning(
            issuer.keys == nil
                ? "keys could not be fetched" : "keys could not be refreshed; the old ones are used on",
            metadata: [
                "issuer": "\(issuer.name)", "reason": "\(issuer.reasons.joined(separator: "; "))",
                "retry_in_ms": .stringConvertible(Int(wait)),
            ])
    }

    /// Keys that need not be there are not: worth a warning where somebody needed them.
    private func noteAbsence(_ issuer: FetchedKeys) {
        log.log(
            level: issuer.failures == 1 ? .info : .warning,
            "no published keys; sessions whose cookie is signed with one are asked about",
            metadata: ["issuer": "\(issuer.name)", "reason": "\(issuer.reasons.joined(separator: "; "))"])
    }

    private func drop(_ issuer: FetchedKeys) {
        issuer.forgetKeys()
        tell(issuer, .removed, until: issuer.refresher.quietUntil)
        log.error(
            "keys dropped: they could not be refreshed for longer than stale_for",
            metadata: ["issuer": "\(issuer.name)"])
    }

    private func tell(_ issuer: FetchedKeys, _ change: KeyNotice.Change, until quietUntil: Instant) {
        issuer.noticeCount += 1
        notices.append(KeyNotice(issuer: issuer.name, change: change, quietUntil: quietUntil))
    }

    // MARK: What there is to see

    /// What there is of an issuer.
    func fetched(_ name: String) -> FetchedKeys? { issuers.first { $0.name == name } }

    /// The names of the issuers that have no keys, and cannot do without: not of those whose tokens no route accepts.
    var issuersWithoutKeys: [String] {
        issuers.filter { $0.keys == nil && $0.isInUse && !$0.remote.areOptional }.map(\.name)
    }

    /// What the metrics say of each issuer.
    func status(now: Instant) -> [KeyStatus] {
        issuers.map { $0.status(now: now) }
    }
}
