import Bytes
import Config
import JOSE

/// What a token says of itself, unverified: to say what does not fit, after a refusal.
struct TokenParts {
    private let head: JSONTree
    private let payload: JSONTree

    /// The parts of a compact token; nil where they cannot be read.
    init?(_ token: [UInt8]) {
        guard let token = DecodedToken(token.span), let head = JSONTree(parsing: token.header),
            let payload = JSONTree(parsing: token.payload)
        else { return nil }
        self.head = head
        self.payload = payload
    }

    /// What does not fit, for a refusal with this detail; nil where the detail says it all.
    func reason(_ detail: String, accepted: [IssuerConfiguration], now: Int64) -> String? {
        switch detail {
        case "token_wrong_issuer":
            let names = accepted.map { "\($0.name) \($0.issuer ?? "*")" }.joined(separator: ", ")
            return "\"iss\" is \(claim("iss")); accepted: \(names)"
        case "token_wrong_audience":
            let names = accepted.flatMap { $0.audience ?? ["*"] }.joined(separator: ", ")
            return "\"aud\" is \(claim("aud")); accepted: \(names)"
        case "token_unknown_key": return "\"kid\" is \(header("kid"))"
        case "token_algorithm_not_allowed", "token_key_does_not_fit":
            let names = accepted.flatMap { $0.algorithms.map(\.rawValue) }.joined(separator: ", ")
            return "\"alg\" is \(header("alg")); accepted: \(names)"
        case "token_wrong_type":
            let names = accepted.flatMap(\.types).joined(separator: ", ")
            return "\"typ\" is \(header("typ")); accepted: \(names)"
        case "token_expired": return second("exp").map { "\(ExplanationText.duration(now - $0)) ago" }
        case "token_not_yet_valid": return second("nbf").map { "in \(ExplanationText.duration($0 - now))" }
        case "token_bound_to_key", "token_wrong_certificate": return "\"cnf\" is \(claim("cnf"))"
        default: return nil
        }
    }

    /// A member of the header as JSON text.
    private func header(_ name: String) -> String { Self.member(name, of: head) ?? "absent" }

    /// A claim as JSON text.
    private func claim(_ name: String) -> String { Self.member(name, of: payload) ?? "absent" }

    /// A claim that is a number of seconds.
    private func second(_ name: String) -> Int64? { Self.member(name, of: payload).flatMap { Int64($0) } }

    private static func member(_ name: String, of text: JSONTree) -> String? {
        guard case .object(let members) = text else { return nil }
        let quoted = Array("\"\(name)\"".utf8)
        return members.first { $0.name == quoted }.map { String(decoding: $0.value.compact(), as: UTF8.self) }
    }
}
