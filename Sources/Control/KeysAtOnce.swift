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
        let outcome: Result<[UInt8], StartFailure>
        do throws(Errno) {
            let quiet = Logger(label: "usher") { _ in SwiftLogNoOpLogHandler() }
            let keeper = try KeyKeeper(environment: environment, log: quiet)
            var poller = try Poller()
            try poller.add(keeper.lookups.descriptor, token: Token.lookups, for: .readable)
            outcome = run(keeper, &poller, issuer)
        } catch {
            throw StartFailure("\(error)")
        }
        return try outcome.get()
    }

    private static func run(
        _ keeper: KeyKeeper, _ poller: inout Poller, _ issuer: IssuerConfiguration
    ) -> Result<[UInt8], StartFailure> {
        keeper.configure([issuer], now: Instant.now())
        let end = Instant.now().advanced(byMilliseconds: deadlineMilliseconds)
        while true {
            let now = Instant.now()
            keeper.run(poller, now: now)
            if let outcome = keeper.outcome(of: issuer.name) { return outcome }
            guard now < end else { return .failure(StartFailure("no answer in time")) }
            let wait = min(keeper.deadline, end).microseconds(since: now)
            let count = poller.wait(timeoutMilliseconds: Int32(clamping: max(0, (wait + 999) / 1000)))
            for index in 0..<count {
                switch poller.token(index) {
                case Token.lookups: keeper.noteLookups(poller, now: Instant.now())
                case let token: keeper.advance(token, poller, now: Instant.now())
                }
            }
        }
    }
}

extension KeyKeeper {
    /// What the first fetch of an issuer's keys came to; nil while it is under way.
    fileprivate func outcome(of name: String) -> Result<[UInt8], StartFailure>? {
        guard let issuer = fetched(name) else { return .failure(StartFailure("nothing to fetch")) }
        if let keys = issuer.keys { return .success(keys) }
        guard issuer.failures > 0 else { return nil }
        return .failure(StartFailure(issuer.reasons.joined(separator: "; ")))
    }
}
