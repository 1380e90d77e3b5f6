import Testing

@testable import JOSE

/// What becomes of an issuer's answers.
@Suite("Answers about opaque tokens")
struct IntrospectionTests {
    private static let seconds: Int64 = 30

    private func verifier(leeway: Int64 = 0) throws -> TokenVerifier {
        var issuer = spec()
        issuer.leewaySeconds = leeway
        return try TokenVerifier(issuers: [issuer])
    }

    /// A good answer, with more members behind it; `exp` is a number, or missing.
    private func answer(_ more: String = "", exp: Int64? = now + 900) -> [UInt8] {
        let end = exp.map { #","exp":\#($0)"# } ?? ""
        return Array(
            #"{"active":true,"sub":"ada","iss":"https://i.example","aud":"tasks"\#(end)\#(more)}"#.utf8)
    }

    /// The subject of an accepted answer, or what else came of it; the memory is given back as the policy does.
    private func outcome(_ answer: [UInt8], _ verifier: inout TokenVerifier) -> String {
        let verdict = verifier.accept(
            introspection: answer.span, about: Array("opaque".utf8).span, ofIssuer: 0, seconds: Self.seconds,
            now: now)
        switch consume verdict {
        case .active(let token):
            let subject = Self.subject(token)
            verifier.recycle(token)
            return subject
        case .refused(let refusal): return "\(refusal.code)"
        case .unusable: return "unusable"
        }
    }

    private static func subject(_ token: borrowing VerifiedToken) -> String { string(token.subject) }

    @Test(
        "a yes is good for as long as it may be remembered, and not beyond exp, whatever the leeway",
        arguments: [
            (now + 900, now + 30, now + 930), (now + 30, now + 30, now + 60), (now + 3, now + 3, now + 33),
            (now + 1, now + 1, now + 31),
            // The issuer's clock is behind: whoever asked passes, and the next second it is asked again.
            (now, now + 1, now + 30), (now - 5, now + 1, now + 25),
            (nil, now + 30, now + 30),
        ] as [(Int64?, Int64, Int64)])
    func ends(exp: Int64?, until: Int64, permits: Int64) throws {
        var verifier = try verifier(leeway: 30)
        let verdict = verifier.accept(
            introspection: answer(exp: exp).span, about: Array("opaque".utf8).span, ofIssuer: 0,
            seconds: Self.seconds, now: now)
        guard case .active(let token) = consume verdict else {
            Issue.record("refused")
            return
        }
        let (accepted, permitted) = (token.acceptedUntil, token.permitsUntil)
        #expect(accepted == until && permitted == permits)
    }

    @Test(
        "an answer may be larger than a token, and hold more",
        arguments: [
            #","x":""# + String(repeating: "x", count: 200_000) + #"""#,
            #","x":["# + Array(repeating: "1", count: 8000).joined(separator: ",") + "]",
            (0..<1000).map { #","c\#($0)":1"# }.joined(),
        ])
    func large(more: String) throws {
        var verifier = try verifier()
        #expect(outcome(answer(more), &verifier) == "ada")
        // Nor is what it took the memory of the next token (J12).
        let nodes = #","x":["# + Array(repeating: "1", count: 1500).joined(separator: ",") + "]"
        let token = try token(payload(nodes))
        #expect(token.count < TokenVerifier.defaultTokenLimitBytes)
        guard case .refused(.malformed) = verifier.verify(token.span, acceptedBy: .init(index: 0), now: now)
        else {
            Issue.record("a token with more values than one may have")
            return
        }
    }

    @Test("a short answer is read whatever it is full of, and one of too many values is not")
    func dense() throws {
        var verifier = try verifier()
        #expect(outcome(answer(#","x":[[],[],{},0]"#), &verifier) == "ada")
        #expect(outcome(Array("{}".utf8), &verifier) == "unusable")
        #expect(outcome(Array("[]".utf8), &verifier) == "unusable")
        #expect(outcome([], &verifier) == "unusable")
        let many = #","x":["# + Array(repeating: "1", count: 20_000).joined(separator: ",") + "]"
        #expect(outcome(answer(many), &verifier) == "unusable")
        #expect(outcome(answer(#","x":1,"x":2"#), &verifier) == "unusable")
    }
}
