public import Config
import Logging
import Reactor

/// Keys that are fetched once, by a command that ends then.
public enum KeysAtOnce {
    /// Longer than a fetch of metadata and of keys may take together.
    private static let deadlineMilliseconds: Int64 = 12_000

    /// The key set of an issuer that fetches it, fetched as a running proxy does; throws why there is none.
    /// `environment` may name the system's certificates (`SSL_CERT_FILE`).
    public static func fetch(
        _ issuer: IssuerConfiguration, environment: [String: String]
    ) throws(StartFailure) -> [UInt8] {
        let outcome: Result<[UInt8], StartFailure>?
        do throws(Errno) {
            let quiet = Logger(label: "usher") { _ in SwiftLogNoOpLogHandler() }
            let keeper = try KeyKeeper(environment: environment, log: quiet)
            keeper.configure([issuer], now: Instant.now())
            let end = Instant.now().advanced(byMilliseconds: deadlineMilliseconds)
            try keeper.drive(until: end) { keeper.outcome(of: issuer.name) != nil }
            outcome = keeper.outcome(of: issuer.name)
        } catch {
            throw StartFailure("\(error)")
        }
        guard let outcome else { throw StartFailure("no answer in time") }
        return try outcome.get()
    }
}

extension KeyKeeper {
    /// Goes on with all fetches until `isDone`, or until `end`: for commands, which have no loop of their own. Throws where
    /// the system has no descriptor left.
    func drive(until end: Instant, _ isDone: () -> Bool) throws(Errno) {
        var poller = try Poller()
        try poller.add(lookups.descriptor, token: Token.lookups, for: .readable)
        while true {
            let now = Instant.now()
            run(poller, now: now)
            guard !isDone(), now < end else { return }
            let count = poller.wait(timeoutMilliseconds: min(deadline, end).timeoutMilliseconds(from: now))
            for index in 0..<count {
                switch poller.token(index) {
                case Token.lookups: noteLookups(poller, now: Instant.now())
                case let token: advance(token, poller, now: Instant.now())
                }
            }
        }
    }

    /// What the first fetch of an issuer's keys came to; nil while it is under way.
    fileprivate func outcome(of name: String) -> Result<[UInt8], StartFailure>? {
        guard let issuer = fetched(name) else { return .failure(StartFailure("nothing to fetch")) }
        if let keys = issuer.keys { return .success(keys) }
        guard issuer.failures > 0 else { return nil }
        return .failure(StartFailure(issuer.reasons.joined(separator: "; ")))
    }
}
