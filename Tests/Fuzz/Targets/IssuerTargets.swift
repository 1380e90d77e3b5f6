import Bytes
import Crypto

@testable import JOSE

/// J17, J23: what key servers serve. Whatever keys come out of it, a token of another key is not good.
final class KeySetTarget: FuzzTarget {
    private let token: [UInt8]

    init() {
        let signed =
            base64URL(Array(#"{"alg":"ES256","kid":"k1"}"#.utf8)) + [UInt8(ascii: ".")]
            + base64URL(Array(#"{"iss":"i","aud":"a","sub":"u","exp":4000000000}"#.utf8))
        token = signed + [UInt8(ascii: ".")] + base64URL([UInt8](repeating: 7, count: 64))
    }

    func run(_ input: [UInt8]) throws {
        let spec = IssuerSpec(issuer: "i", audiences: ["a"], keys: .jwks(input))
        guard var verifier = try? TokenVerifier(issuers: [spec]) else { return }
        let token = token
        let report = verifier.keyReport(ofIssuer: 0)
        try demand((report?.usableKeys ?? 0) <= 100, "J10: too many keys")
        switch verifier.verify(token.span, acceptedBy: .init(index: 0), now: fuzzClock) {
        case .verified: throw Violation(description: "a signature that is none")
        case .bound: throw Violation(description: "a signature that is none, and a binding")
        case .refused: break
        case .keysUnavailable: break
        }
    }
}

final class PEMTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        if let key = try? PublicKey(pem: input.span) {
            key.prepare(for: AlgorithmSet(SignatureAlgorithm.allCases))
            try demand(!key.encoded().isEmpty, "a key without bytes")
        }
        let spec = IssuerSpec(issuer: "i", audiences: ["a"], keys: .publicKeyPEM(input))
        _ = try? TokenVerifier(issuers: [spec])
        // J1: what is a public key is no secret.
        _ = KeySet.isPublic(input)
    }
}

/// What an issuer answers about a token that it was asked about (RFC 7662), and what it says of itself (RFC 8414).
final class IssuerAnswerTarget: FuzzTarget {
    private var verifier: TokenVerifier

    init() throws {
        verifier = try TokenVerifier(issuers: [fuzzIssuer])
    }

    func run(_ input: [UInt8]) throws {
        if let metadata = IssuerMetadata(input) {
            try demand(metadata.issuer.utf8.count < input.count, "an issuer longer than what names it")
        }
        let token = Array("an-opaque-token".utf8)
        switch verifier.accept(
            introspection: input.span, about: token.span, ofIssuer: 0, seconds: 30, now: fuzzClock)
        {
        case .active(let token):
            let accepted = Accepted(token)
            verifier.recycle(token)
            try check(accepted, input)
        case .refused: break
        case .unusable: break
        }
    }

    private func check(_ accepted: Accepted, _ input: [UInt8]) throws {
        try accepted.check()
        try demand(accepted.until <= fuzzClock + 30, "an answer that is good for longer than it may be")
        let answer = String(decoding: input, as: UTF8.self)
        // Names may be written with escapes; then they are not looked for.
        guard !answer.contains("\\") else { return }
        try demand(answer.contains("true"), "what is not active was accepted")
        try demand(answer.contains("\"tasks\""), "J14: without the audience")
        try demand(answer.contains("\"https://i.example\""), "another issuer")
    }
}
