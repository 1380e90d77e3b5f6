import Testing

@testable import JOSE

@Suite("Verified tokens")
struct VerifiedTokenTests {
    /// What `body` finds in the token of that payload.
    private func with<R>(_ text: String, leeway: Int64 = 0, _ body: (borrowing VerifiedToken) -> R) throws
        -> R
    {
        var issuer = spec()
        issuer.leewaySeconds = leeway
        var verifier = try TokenVerifier(issuers: [issuer])
        let token = try token(text)
        switch verifier.verify(token.span, acceptedBy: [.init(index: 0)], now: now) {
        case .verified(let verified): return body(verified)
        case .bound(let verified): return body(verified)
        case .refused(let refusal): throw refusal
        case .keysUnavailable: throw TokenRefusal.unknownKey
        }
    }

    private func text(_ path: String, _ token: borrowing VerifiedToken) -> String? {
        guard let path = ClaimPath(path), let value = token.claim(at: path) else { return nil }
        return "\(value.kind) \(string(token.bytes(of: value)))"
    }

    @Test("Times, subject and issuer")
    func fields() throws {
        try with(payload(#","nbf":\#(now - 5)"#), leeway: 30) { token in
            let (issuer, expires, until) = (token.issuer, token.expires, token.acceptedUntil)
            let (notBefore, issuedAt) = (token.notBefore, token.issuedAt)
            #expect(issuer == 0 && expires == now + 900 && until == now + 930)
            #expect(notBefore == now - 5 && issuedAt == now - 10)
            let subject = string(token.subject)
            #expect(subject == "ada")
        }
        try with(#"{"sub":"ada","iss":"https://i.example","aud":"tasks","exp":\#(now + 9)}"#) { token in
            let (notBefore, issuedAt) = (token.notBefore, token.issuedAt)
            #expect(notBefore == nil && issuedAt == nil)
        }
    }

    @Test("Claims by path: nested, a literal name with dots wins, kinds and decoded text")
    func claims() throws {
        let more = #"""
            ,"email":"a\u0040x.é","n":1.50e3,"yes":true,"no":false,"nil":null,"realm":{"roles":["a","b"],"x":{"y":1}},
            "https://x.example/id":"u","a.b":"literal","a":{"b":"nested","c":"deep"}
            """#
        try with(payload(more)) { token in
            let found = [
                "email", "n", "yes", "no", "nil", "realm", "realm.x.y", "a.b", "a.c", "https://x.example/id",
            ].map { text($0, token) }
            #expect(
                found == [
                    "string a@x.é", "number 1.50e3", "boolean true", "boolean false", "null null", "object ",
                    "number 1", "string literal", "string deep", "string u",
                ])
            let absent = ["Email", "realm.y", "realm.x.y.z", "email.x", "realm.roles.a"].map {
                text($0, token)
            }
            #expect(absent.allSatisfy { $0 == nil })
        }
    }

    @Test("Arrays, element by element; empty ones and other kinds have none")
    func arrays() throws {
        try with(payload(#","l":["a",["x"],{"k":"v"},"b"],"e":[],"s":"x""#)) { token in
            var found: [String] = []
            if let path = ClaimPath("l"), let list = token.claim(at: path) {
                var next = token.firstElement(of: list)
                while let element = next {
                    found.append("\(element.kind) \(string(token.bytes(of: element)))")
                    next = token.element(after: element, in: list)
                }
            }
            #expect(found == ["string a", "array ", "object ", "string b"])
            for name in ["e", "s", "iat"] {
                let first = ClaimPath(name).flatMap { token.claim(at: $0) }.flatMap {
                    token.firstElement(of: $0)
                }
                #expect(first == nil)
            }
        }
    }

    @Test(
        "Paths that name nothing",
        arguments: ["", ".", "a.", ".a", "a..b", String(repeating: "a", count: 257)])
    func badPaths(text: String) { #expect(ClaimPath(text) == nil) }

    @Test("Two tokens at once have memory of their own")
    func recycling() throws {
        var verifier = try TokenVerifier(issuers: [spec()])
        let first = try token(payload(#","secretClaim":"x""#, sub: #""first""#))
        let second = try token(payload(sub: #""second""#))
        guard case .verified(let a) = verifier.verify(first.span, acceptedBy: .init(index: 0), now: now),
            case .verified(let b) = verifier.verify(second.span, acceptedBy: .init(index: 0), now: now)
        else {
            Issue.record("both tokens are good")
            return
        }
        let subjects = [string(a.subject), string(b.subject)]
        #expect(subjects == ["first", "second"])
        let leaked = ClaimPath("secretClaim").flatMap { b.claim(at: $0) }
        #expect(leaked == nil)
        let sameKey = a.key == b.key
        #expect(sameKey)
    }
}
