import ArgumentParser
import Config
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
            are never told more than that a token is invalid.
            """)

    @OptionGroup var file: ConfigurationOption

    @Option(
        help: ArgumentHelp(
            "Accept tokens of this issuer of the configuration; may be repeated. Default: all.",
            valueName: "name"))
    var issuer: [String] = []

    @Option(
        help: ArgumentHelp("The token: its text, @file, or - for the standard input.", valueName: "token"))
    var token: String = "-"

    func run() throws {
        let (configuration, _) = try file.load()
        let policy = configuration.policy
        let bytes: [UInt8]
        switch TokenInput.read(token) {
        case .success(let token): bytes = token
        case .failure(let failure): throw Console.fail(failure.message)
        }
        if let refusal = try verify(bytes, policy) { throw Console.fail("refused: \(refusal)") }
        print(TokenText.payload(bytes) ?? "")
    }

    /// Nil where the token is good, else the reason.
    private func verify(_ token: [UInt8], _ policy: PolicySpec) throws -> String? {
        let accepted = try accepted(policy.issuers.map(\.name))
        do throws(IssuerFault) {
            var verifier = try TokenVerifier(
                issuers: policy.issuers.map(\.spec), tokenLimitBytes: policy.tokenBytes)
            let now = wallClockMicroseconds() / 1_000_000
            switch verifier.verify(token.span, acceptedBy: accepted, now: now) {
            case .verified: return nil
            // What it is bound to, only a request can prove to have.
            case .bound: return "\(TokenRefusal.boundToKey.code)"
            case .refused(let refusal): return "\(refusal.code)"
            case .keysUnavailable: return "keys_unavailable"
            }
        } catch {
            throw Console.fail("issuer \(policy.issuers[error.index].name) cannot be used: \(error.error)")
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
