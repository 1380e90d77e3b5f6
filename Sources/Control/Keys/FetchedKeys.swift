import Config
import JOSE
import Reactor
import TLS

/// The keys of one issuer, and how they are fetched.
final class FetchedKeys {
    /// One document on the way to the keys.
    struct Step {
        enum Document { case metadata, keySet }

        let document: Document
        let url: RemoteURL
        /// Where this one cannot be had, the next step is another way to the same.
        var hasAlternative = false
    }

    let name: String
    private(set) var remote: RemoteKeys
    let algorithms: [TokenAlgorithm]
    private var spec: IssuerSpec
    private var trust: ServerTrust
    var refresher: KeyRefresher
    /// Some route accepts its tokens; else nobody waits for the keys.
    var isInUse = true
    /// The document that is being fetched.
    var fetch: DocumentFetch?
    /// The look-up that is under way, perhaps of an earlier fetch.
    var lookup: (identifier: UInt32, host: String)?
    /// The address that gave no answer when one was last to be had: the next one is tried before it.
    var silent: SocketAddress?
    /// What is still to be fetched, the current one first.
    private(set) var steps: [Step] = []
    /// What went wrong since the fetch began.
    private(set) var reasons: [String] = []
    /// The server answered the last of them, whatever it was.
    var hasAnswer = false
    private(set) var keys: [UInt8]?
    private(set) var report = KeySetReport()
    /// The last fetch brought other keys than there were.
    private(set) var hasNewKeys = false
    /// How many notices every worker was sent since it got its settings, or will be.
    var noticeCount: UInt64 = 0
    var fetches: UInt64 = 0
    var failures: UInt64 = 0
    /// How far this machine's clock is ahead of the key server's, in seconds; nil: it has not said.
    var secondsAhead: Int64?
    /// How long the server of the keys wants them to be used, in seconds; nil: it has not said.
    var maximumAge: Int64?
    /// Where the metadata said that the keys are, and where it was.
    private var discovered: Place?
    /// Where it says so in this fetch: true when keys have come from there.
    private var candidate: Place?
    /// The known place has answered in this fetch, with the keys that there are.
    private(set) var isConfirmed = false

    private struct Place {
        let keySet: RemoteURL
        let metadata: RemoteURL
    }

    init(_ configuration: IssuerConfiguration, _ remote: RemoteKeys, now: Instant) {
        name = configuration.name
        self.remote = remote
        algorithms = configuration.algorithms
        spec = configuration.spec
        trust = ServerTrust(remote.authorities)
        refresher = KeyRefresher(.init(remote), isOptional: remote.areOptional, now: now)
    }

    /// True for a configuration in which the keys come from where they came from, and mean what they meant.
    func canGoOn(_ configuration: IssuerConfiguration, _ remote: RemoteKeys) -> Bool {
        remote.location == self.remote.location && remote.authorities == self.remote.authorities
            && remote.areOptional == self.remote.areOptional && configuration.algorithms == algorithms
            && configuration.requiresNamedKeys == spec.requiresNamedKeys
    }

    /// Goes on under such a configuration; false where it is none.
    func goOn(_ configuration: IssuerConfiguration, _ remote: RemoteKeys, now: Instant) -> Bool {
        guard canGoOn(configuration, remote) else { return false }
        spec = configuration.spec
        guard remote != self.remote else { return true }
        self.remote = remote
        refresher.retime(.init(remote), now: now)
        return true
    }

    /// Lists the documents of a new fetch. The metadata is read again where the keys were not found, and where somebody has
    /// met a key and the known place has no other ones than before: it may go on to answer after they have moved.
    func plan(for unknownKey: Bool = false) {
        reasons = []
        (hasNewKeys, isConfirmed, candidate) = (false, false, nil)
        switch remote.location {
        case .url(let url): steps = [Step(document: .keySet, url: url)]
        case .discovery(let issuer, _):
            if let discovered {
                steps = [Step(document: .keySet, url: discovered.keySet)]
                if unknownKey { steps.append(Step(document: .metadata, url: discovered.metadata)) }
            } else {
                steps = Self.metadataURLs(issuer).map { Step(document: .metadata, url: $0) }
                for index in steps.indices.dropLast() { steps[index].hasAlternative = true }
            }
        }
    }

    /// OpenID Connect Discovery 1.0 §4 puts its path behind the issuer's, RFC 8414 §3.1 in front of it. Servers that are
    /// mounted below a path, and see nothing above it, have that of RFC 8414 behind, too.
    static func metadataURLs(_ issuer: RemoteURL) -> [RemoteURL] {
        let path = issuer.target.hasSuffix("/") ? String(issuer.target.dropLast()) : issuer.target
        let server = "/.well-known/oauth-authorization-server"
        let places = [issuer.below("/.well-known/openid-configuration"), issuer.with(target: server + path)]
        return path.isEmpty ? places : places + [issuer.below(server)]
    }

    /// The current document failed; true where another way is left.
    func skipAlternative(_ reason: String) -> Bool {
        let step = steps.isEmpty ? nil : steps.removeFirst()
        reasons.append(step.map { "\($0.url.place): \(reason)" } ?? reason)
        if step?.hasAlternative == true, !steps.isEmpty { return true }
        // The keys may have moved.
        if !isConfirmed { discovered = nil }
        return false
    }

    /// Takes in the current document; true where no other one is to be fetched.
    func take(_ body: [UInt8]) throws(FetchFailure) -> Bool {
        guard let step = steps.first else { throw FetchFailure("nobody asked") }
        switch step.document {
        case .metadata:
            let url = try keySetURL(body)
            guard !isConfirmed || url != discovered?.keySet else { return true }
            candidate = Place(keySet: url, metadata: step.url)
            steps = [Step(document: .keySet, url: url)]
            return false
        case .keySet:
            try takeKeys(body)
            if let candidate { discovered = candidate }
            isConfirmed = !hasNewKeys && steps.count > 1
            if isConfirmed { steps.removeFirst() }
            return !isConfirmed
        }
    }

    /// Whom its connections trust: authorities of its own, or those of the system.
    func context(or system: SystemTrust) throws(TLSError) -> TLSContext {
        try trust.context(or: system)
    }

    /// Those addresses, from the one behind the silent one on.
    func inTurn(_ addresses: [SocketAddress]) -> [SocketAddress] {
        guard let place = silent.flatMap(addresses.firstIndex(of:)) else { return addresses }
        return Array(addresses[(place + 1)...] + addresses[...place])
    }

    func forgetKeys() {
        keys = nil
        report = KeySetReport()
    }

    private func keySetURL(_ body: [UInt8]) throws(FetchFailure) -> RemoteURL {
        guard let metadata = IssuerMetadata(body) else {
            throw FetchFailure("no JSON object with \"issuer\" and \"jwks_uri\"")
        }
        guard case .discovery(let issuer, let name) = remote.location, metadata.issuer == name else {
            throw FetchFailure("it is of another issuer (RFC 8414, 3.3)")
        }
        guard let url = RemoteURL(metadata.keySetURL), url.isSecure || !issuer.isSecure else {
            throw FetchFailure("\"jwks_uri\" is not a URL that is as safe as the issuer's")
        }
        return url
    }

    private func takeKeys(_ body: [UInt8]) throws(FetchFailure) {
        guard body != keys else { return }
        spec.keys = .jwks(body)
        defer { spec.keys = .pending }
        do throws(IssuerFault) {
            let verifier = try TokenVerifier(issuers: [spec])
            report = verifier.keyReport(ofIssuer: 0) ?? KeySetReport()
        } catch {
            throw FetchFailure(Self.text(error.error, KeySetReport(spec)))
        }
        keys = body
        hasNewKeys = true
    }

    private static func text(_ error: IssuerError, _ report: KeySetReport) -> String {
        switch error {
        case .badKeySet(.tooLarge): "the key set is larger than 256 KiB"
        case .badKeySet(.malformed):
            "not a JWK Set: strict JSON, an object with a list \"keys\" (RFC 7517, 5)"
        case .badKeySet(.tooManyKeys): "the key set has more than 100 keys"
        case .badKeySet(.noUsableKey):
            "the key set holds no key for any of the issuer's algorithms"
                + (report.skipped.isEmpty ? "" : " (\(report.reasons))")
        default: "the key set cannot be used: \(error)"
        }
    }

    func status(now: Instant) -> KeyStatus {
        KeyStatus(
            issuer: name, keys: report.usableKeys, fetches: fetches, failures: failures,
            ageSeconds: keys == nil ? nil : max(0, now.microseconds(since: refresher.fetchedAt)) / 1_000_000,
            secondsAhead: secondsAhead, isOptional: remote.areOptional,
            isExpected: isInUse && !remote.areOptional || refresher.fetchedAt != .never)
    }
}

extension KeyRefresher.Timing {
    fileprivate init(_ remote: RemoteKeys) {
        self.init(
            refresh: remote.refresh.wholeMilliseconds, cooldown: remote.cooldown.wholeMilliseconds,
            staleFor: remote.staleFor.wholeMilliseconds)
    }
}
