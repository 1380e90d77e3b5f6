import Testing

@testable import JOSE

@Suite("Claim rules")
struct ClaimTests {
    private func check(_ payload: String, _ expected: String, _ change: (inout IssuerSpec) -> Void = { _ in })
        throws
    {
        var issuer = spec()
        change(&issuer)
        #expect(try outcome(token(payload), issuer) == expected, "\(payload)")
    }

    @Test(
        "J16: a subject is a string of visible characters, nothing else",
        arguments: [
            "5", "[]", "{}", "null", "true", #"["ada"]"#, #"{"id":"ada"}"#, #""""#, #"" ""#, #""a b""#,
            #""a,b""#,
            #""a;b""#, #""a\r\nX-Role: admin""#, #""a\u0000b""#, #""a\u007f""#, #""usér""#, #""\u00e9""#,
            #""a\tb""#, "\"\(String(repeating: "a", count: 257))\"",
        ])
    func malformedSubject(sub: String) throws {
        try check(payload(sub: sub), "token_malformed_subject")
    }

    @Test("J16, H11: lone surrogates are no JSON at all; escapes are decoded before the rule is applied")
    func escapedSubject() throws {
        try check(payload(sub: #""a\ud800""#), "token_malformed")
        try check(payload(sub: #""\u0061da\u002Bx""#), "ok ada+x")
        let longest = String(repeating: "a", count: 256)
        try check(payload(sub: "\"\(longest)\""), "ok \(longest)")
        try check(payload(sub: #""!+-:<~""#), "ok !+-:<~")
    }

    @Test("Which claim names the user: the first present one, and never another where that one is bad")
    func subjectClaims() throws {
        func subjects(_ names: String...) -> (inout IssuerSpec) -> Void {
            { $0.subject = names.compactMap { ClaimPath($0) } }
        }
        try check(payload(#","user_id":"u7""#), "ok u7", subjects("user_id", "sub"))
        try check(payload(), "ok ada", subjects("user_id", "sub"))
        try check(payload(#","user_id":7"#), "token_malformed_subject", subjects("user_id", "sub"))
        try check(payload(#","user_id":null"#), "token_malformed_subject", subjects("user_id", "sub"))
        try check(payload(), "token_missing_subject", subjects("user_id"))
        try check(payload(#","realm":{"id":"r1"}"#), "ok r1", subjects("realm.id"))
        try check(payload(#","realm":{"id":"r1"},"realm.id":"lit""#), "ok lit", subjects("realm.id"))
        try check(#"{"iss":"https://i.example","aud":"tasks","exp":\#(now + 1)}"#, "token_missing_subject")
    }

    @Test("J13: names are case-sensitive, and duplicates are refused")
    func names() throws {
        let start = #"{"iss":"https://i.example","aud":"tasks","exp":\#(now + 1),"#
        try check(start + #""Sub":"ada"}"#, "token_missing_subject")
        try check(start + #""SUB":"ada"}"#, "token_missing_subject")
        try check(start + #""sub":"ada","sub":"eve"}"#, "token_malformed")
        try check(start + #""sub":"ada","\u0073ub":"eve"}"#, "token_malformed")
        try check(start + #""sub":"ada","x":[{"y":1,"y":2}]}"#, "token_malformed")
        try check(start + #""sub":"ada","Sub":"eve"}"#, "ok ada")
        try check(payload(#","AUD":"evil""#), "ok ada")
        try check(
            #"{"iss":"https://i.example","aud":"tasks","sub":"ada","Exp":\#(now + 1)}"#, "token_missing_claim"
        )
    }

    @Test(
        "J12, J16: exp is a finite number and required",
        arguments: [
            (#""123""#, "token_malformed_claim"), ("null", "token_malformed_claim"),
            ("[]", "token_malformed_claim"),
            ("true", "token_malformed_claim"), ("1e99999999", "token_malformed_claim"),
            ("1e400", "token_malformed_claim"), ("-1", "token_expired"), ("0", "token_expired"),
            ("\(now)", "token_expired"), ("\(now).5", "ok ada"), ("\(now + 1)", "ok ada"),
            ("1.8e9", "ok ada"),
            ("0x7fffffff", "token_malformed"), ("Infinity", "token_malformed"), ("NaN", "token_malformed"),
        ])
    func expires(exp: String, expected: String) throws { try check(payload(exp: exp), expected) }

    @Test("A token without exp is refused")
    func withoutExpiry() throws {
        try check(#"{"sub":"ada","iss":"https://i.example","aud":"tasks"}"#, "token_missing_claim")
    }

    @Test("Leeway widens exp, nbf and iat, and no further")
    func leeway() throws {
        let widened: (inout IssuerSpec) -> Void = { $0.leewaySeconds = 30 }
        try check(payload(exp: "\(now - 29)"), "ok ada", widened)
        try check(payload(exp: "\(now - 30)"), "token_expired", widened)
        try check(payload(#","nbf":\#(now + 30)"#), "ok ada", widened)
        try check(payload(#","nbf":\#(now + 31)"#), "token_not_yet_valid", widened)
        let issued = { (iat: Int64) in
            #"{"sub":"ada","iss":"https://i.example","aud":"tasks","iat":\#(iat),"exp":\#(now + 900)}"#
        }
        try check(issued(now + 30), "ok ada", widened)
        try check(issued(now + 31), "token_issued_in_the_future", widened)
        try check(issued(now + 1), "token_issued_in_the_future")
        try check(payload(#","nbf":\#(now)"#), "ok ada")
        try check(payload(#","nbf":\#(now).5"#), "token_not_yet_valid")
    }

    @Test("J16: nbf and iat are numbers where they are present", arguments: [#""1""#, "null", "{}", "1e400"])
    func malformedTimes(value: String) throws {
        try check(payload(#","nbf":\#(value)"#), "token_malformed_claim")
        let text = #"{"sub":"ada","iss":"https://i.example","aud":"tasks","iat":\#(value),"exp":\#(now + 9)}"#
        try check(text, "token_malformed_claim")
    }

    @Test("maximum_lifetime bounds exp - iat, and then iat is required")
    func lifetime() throws {
        try check(payload(exp: "\(now + 90)"), "ok ada") { $0.maximumLifetimeSeconds = 100 }
        try check(payload(exp: "\(now + 91)"), "token_lifetime_too_long") { $0.maximumLifetimeSeconds = 100 }
        let text = #"{"sub":"ada","iss":"https://i.example","aud":"tasks","exp":\#(now + 9)}"#
        try check(text, "token_missing_claim") { $0.maximumLifetimeSeconds = 100 }
        try check(text, "ok ada")
    }

    @Test(
        "J14, J16: aud is one of ours, as a string or in an array of strings",
        arguments: [
            (#""tasks""#, "ok ada"), (#""notes""#, "ok ada"), (#"["x","notes"]"#, "ok ada"),
            (#""other""#, "token_wrong_audience"), (#"["x"]"#, "token_wrong_audience"),
            ("[]", "token_wrong_audience"),
            (#""""#, "token_wrong_audience"), (#""Tasks""#, "token_wrong_audience"),
            (#""tasks ""#, "token_wrong_audience"), (#""tasks,notes""#, "token_wrong_audience"),
            ("{}", "token_malformed_claim"), ("5", "token_malformed_claim"),
            ("null", "token_malformed_claim"),
            (#"["tasks",5]"#, "token_malformed_claim"), (#"[["tasks"]]"#, "token_malformed_claim"),
        ])
    func audience(aud: String, expected: String) throws {
        let text = #"{"sub":"ada","iss":"https://i.example","aud":\#(aud),"exp":\#(now + 9)}"#
        try check(text, expected)
    }

    @Test("J14: without aud; and where audience is *")
    func noAudience() throws {
        let text = #"{"sub":"ada","iss":"https://i.example","exp":\#(now + 9)}"#
        try check(text, "token_wrong_audience")
        try check(text, "ok ada") { $0.audiences = nil }
        try check(payload(), "ok ada") { $0.audiences = nil }
        let malformed = #"{"sub":"ada","iss":"https://i.example","aud":{},"exp":\#(now + 9)}"#
        try check(malformed, "token_malformed_claim") { $0.audiences = nil }
    }

    @Test(
        "J16: iss is a string, and exactly ours",
        arguments: [
            (#"["https://i.example"]"#, "token_malformed_claim"), ("5", "token_malformed_claim"),
            ("null", "token_malformed_claim"), (#""https://i.example/""#, "token_wrong_issuer"),
            (#""https://I.example""#, "token_wrong_issuer"), (#""""#, "token_wrong_issuer"),
            (#""https:\/\/i.example""#, "ok ada"),
        ])
    func issuer(iss: String, expected: String) throws {
        try check(#"{"sub":"ada","iss":\#(iss),"aud":"tasks","exp":\#(now + 9)}"#, expected)
    }

    @Test("iss absent; and where issuer is *")
    func anyIssuer() throws {
        let text = #"{"sub":"ada","aud":"tasks","exp":\#(now + 9)}"#
        try check(text, "token_wrong_issuer")
        try check(text, "ok ada") { $0.issuer = nil }
        try check(#"{"sub":"ada","iss":[],"aud":"tasks","exp":\#(now + 9)}"#, "token_malformed_claim") {
            $0.issuer = nil
        }
    }

    @Test(
        "J20: a token bound to a key is refused whatever cnf says",
        arguments: [
            "{}", "null", #"{"jkt":"x"}"#, #"{"x5t#S256":"x"}"#, #"{"jkt":"KEY","kid":"a"}"#,
            #"{"jwk":"KEY"}"#, #"{"x5t#S256":"KEY","x":{}}"#, #"{"jkt":["KEY"]}"#, #"["KEY"]"#, #""KEY""#,
            #"{"jkt":"KEY="}"#, #"{"jkt":"KEYA"}"#,
        ])
    func confirmation(cnf: String) throws {
        let cnf = cnf.replacing("KEY", with: Self.thumbprint)
        try check(payload(#","cnf":\#(cnf)"#), "token_bound_to_key")
    }

    /// A digest that is one, so that nothing else is wrong.
    private static let thumbprint = base64URL((0..<32).map { UInt8($0) })

    @Test(
        "J20: a token that is bound to a key, a certificate or both is good for nothing by itself",
        arguments: [#"{"jkt":"KEY"}"#, #"{"x5t#S256":"KEY"}"#, #"{"jkt":"KEY","x5t#S256":"KEY"}"#])
    func binding(cnf: String) throws {
        try check(payload(#","cnf":\#(cnf.replacing("KEY", with: Self.thumbprint))"#), "bound")
    }

    @Test("refuse_claims, by exact name and whatever the value")
    func refusedClaims() throws {
        let change: (inout IssuerSpec) -> Void = { $0.refusedClaims = ["azp", "client_id"] }
        try check(payload(#","azp":null"#), "token_refused_claim", change)
        try check(payload(#","client_id":"c""#), "token_refused_claim", change)
        try check(payload(#","AZP":1,"x":{"azp":1}"#), "ok ada", change)
    }

    @Test("Expiry is told only where the signature and everything else holds")
    func expiredLast() throws {
        let expired = payload(exp: "\(now - 100)")
        try check(expired, "token_expired")
        #expect(TokenRefusal.allCases.filter { $0.isExpiredWithValidSignature } == [.expired])
        #expect(
            try outcome(token(expired, secret: Array(secret.reversed())), spec()) == "token_bad_signature")
        try check(payload(#","cnf":{}"#, exp: "\(now - 100)"), "token_bound_to_key")
        let other = #"{"sub":"ada","iss":"https://i.example","aud":"other","exp":\#(now - 100)}"#
        try check(other, "token_wrong_audience")
    }

    @Test(
        "A payload that is not a strict JSON object",
        arguments: ["[]", "5", "null", "hello", "", "{", #"{"sub":"ada"} x"#, #""{}""#])
    func malformedPayload(text: String) throws { try check(text, "token_malformed") }

    @Test("Every refusal has its own code")
    func codes() {
        #expect(Set(TokenRefusal.allCases.map { "\($0.code)" }).count == TokenRefusal.allCases.count)
    }
}
