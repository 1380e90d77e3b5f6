import ArgumentParser
import Config
import Control
import JOSE
import Policy
import Reactor

/// `usher token verify`
struct TokenVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Verify a token as a route would, and say why it is refused.",
        discussion: """
            Exits with 0 and prints the claims, or exits with 1 and says the reason on the standard error. Clients \
            are never told more than that a token is invalid. Keys with a URL are fetched where the token needs them, \
            as a running proxy would.
            """)

    @OptionGroup var file: ConfigurationOption

    @Option(
        help: ArgumentHelp(
            "Accept tokens of this issuer of the configuration; may be repeated. Default: all.",
            valueName: "name"))
    var issuer: [String] = []

    @Option(
        help: ArgumentHelp("The token: its text, @file, or - for the standard input.", valueName: "token"))
    var token: String?

    @Argument(help: ArgumentHelp("The same, without the flag. (default: -)", valueName: "token"))
    var positional: String?

    func validate() throws {
        if token != nil && positional != nil { throw ValidationError("Give the token once.") }
    }

    func run() throws {
        let (configuration, _) = try file.load()
        let bytes: [UInt8]
        switch TokenInput.read(token ?? positional ?? "-") {
        case .success(let token): bytes = token
        case .failure(let failure): throw Console.fail(failure.message)
        }
        if let refusal = try verify(bytes, configuration) {
            let why = TokenParts(bytes)?.reason(
                refusal,
                accepted: configuration.issuers.filter { issuer.isEmpty || issuer.contains($0.name) },
                now: wallClockMicroseconds() / 1_000_000)
            let text = "refused: \(refusal)" + (why.map { ": \($0)" } ?? "")
            throw Console.fail(Console.harmless(text))
        }
        try Console.output(TokenText.payload(bytes) ?? "")
    }

    /// Nil where the token is good, else the reason.
    private func verify(_ token: [UInt8], _ configuration: Configuration) throws -> String? {
        let policy = configuration.policy
        // Those of the file: what signs the caches of sessions signs no token.
        let accepted = try accepted(configuration.issuers.map(\.name))
        let now = wallClockMicroseconds() / 1_000_000
        do throws(IssuerFault) {
            var verifier = try TokenVerifier(
                issuers: policy.issuers.map(\.spec), tokenLimitBytes: policy.tokenBytes)
            let reason = Self.reason(verifier.verify(token.span, acceptedBy: accepted, now: now))
            guard reason == Self.missingKeys, let issuer = verifier.chosenIssuer else { return reason }
            if let failure = fetchKeys(of: issuer, configuration, &verifier) {
                return "\(Self.missingKeys): \(failure)"
            }
            return Self.reason(verifier.verify(token.span, acceptedBy: accepted, now: now))
        } catch {
            throw Console.fail("issuer \(policy.issuers[error.index].name) cannot be used: \(error.error)")
        }
    }

    private static let missingKeys = "keys_unavailable"

    /// Nil where the token is good, else the reason.
    private static func reason(_ verdict: consuming Verdict) -> String? {
        switch consume verdict {
        case .verified: nil
        // What it is bound to, only a request can prove to have.
        case .bound: TokenRefusal.boundToKey.code.description
        case .refused(let refusal): refusal.code.description
        case .keysUnavailable: missingKeys
        }
    }

    /// Has the keys of an issuer fetched that has them on the network; the reason where there are none.
    private func fetchKeys(
        of issuer: Int, _ configuration: Configuration, _ verifier: inout TokenVerifier
    ) -> String? {
        do throws(StartFailure) {
            let keys = try KeysAtOnce.fetch(
                configuration.keyIssuers[issuer], environment: file.source().environment)
            do throws(IssuerError) { try verifier.replaceKeys(ofIssuer: issuer, with: .jwks(keys)) } catch {
                return "\(error)"
            }
            return nil
        } catch {
            return error.reason
        }
    }

    /// The issuers that were named, or all.
    private func accepted(_ names: [String]) throws -> IssuerSet {
        var set: IssuerSet = []
        for name in issuer.isEmpty ? names : issuer {
            guard let index = names.firstIndex(of: name) else {
                let known = names.isEmpty ? "it has none" : "it has " + names.joined(separator: ", ")
                throw Console.fail("the configuration has no issuer \"\(name)\"; \(known)")
            }
            set.insert(IssuerSet(index: index))
        }
        return set
    }
}
