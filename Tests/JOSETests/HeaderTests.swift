import Crypto
import Testing

@testable import JOSE

@Suite("Header rules")
struct HeaderTests {
    @Test("A good token, and the same without typ")
    func good() throws {
        #expect(try outcome(token(payload()), spec()) == "ok ada")
        #expect(try outcome(token(payload(), header: #"{"alg":"HS256"}"#), spec()) == "ok ada")
        #expect(try outcome(token(payload(), header: #"{"alg":"HS256","kid":"any"}"#), spec()) == "ok ada")
    }

    @Test(
        "J2: none in every spelling, absent, wrong types, unknown names",
        arguments: [
            #"{"alg":"none"}"#, #"{"alg":"None"}"#, #"{"alg":"nOnE"}"#, #"{"alg":""}"#, "{}", #"{"alg":256}"#,
            #"{"alg":null}"#, #"{"alg":["HS256"]}"#, #"{"alg":"hs256"}"#, #"{"alg":"HS256 "}"#,
            #"{"ALG":"HS256"}"#,
            #"{"alg":"HS384"}"#, #"{"alg":"HS512"}"#, #"{"alg":"RS256"}"#, #"{"alg":"ES256"}"#,
            #"{"alg":"EdDSA"}"#,
        ])
    func algorithms(header: String) throws {
        #expect(try outcome(token(payload(), header: header), spec()) == "token_algorithm_not_allowed")
    }

    @Test("J2: none with an empty signature is no token at all")
    func emptySignature() throws {
        let text = base64URL(Array(#"{"alg":"none"}"#.utf8)) + "." + base64URL(Array(payload().utf8))
        #expect(try outcome(Array((text + ".").utf8), spec()) == "token_malformed")
        #expect(try outcome(Array(text.utf8), spec()) == "token_malformed")
        #expect(try outcome(Array((text + ".AA").utf8), spec()) == "token_algorithm_not_allowed")
    }

    @Test("J1: with two HMAC algorithms allowed, each secret is bound to the one that the token names")
    func twoAlgorithms() throws {
        let both = spec(.secret(secret), AlgorithmSet([.hs256, .hs512]))
        let hs512 = try CompactTokenSigner(algorithm: .hs512, key: .secret(secret)).sign(payload())
        #expect(try outcome(hs512, both) == "ok ada")
        #expect(try outcome(hs512, spec()) == "token_algorithm_not_allowed")
        #expect(try outcome(token(payload(), header: #"{"alg":"HS512"}"#), both) == "token_bad_signature")
    }

    @Test(
        "J3: any crit, and b64 in any form",
        arguments: [
            #"{"alg":"HS256","crit":["exp"]}"#, #"{"alg":"HS256","crit":[]}"#,
            #"{"crit":null,"alg":"HS256"}"#,
            #"{"alg":"HS256","b64":false,"crit":["b64"]}"#, #"{"alg":"HS256","b64":false}"#,
            #"{"alg":"HS256","b64":true}"#, #"{"alg":"HS256","\u0063rit":["x"]}"#,
        ])
    func critical(header: String) throws {
        #expect(try outcome(token(payload(), header: header), spec()) == "token_critical_header")
    }

    @Test(
        "J13: the header is strict JSON, an object, without duplicates",
        arguments: [
            #"{"alg":"HS256","alg":"HS256"}"#, #"{"alg":"HS256","x":{"a":1,"a":2}}"#, #"["HS256"]"#,
            #""HS256""#,
            "", "x", #"{"alg":"HS256"}{}"#, #"{"alg":"HS256",}"#, #"{"alg":"HS256","kid":5}"#,
            #"{"alg":"HS256","kid":null}"#,
        ])
    func malformed(header: String) throws {
        #expect(try outcome(token(payload(), header: header), spec()) == "token_malformed")
    }

    @Test(
        "typ: as configured, in any case, with or without application/",
        arguments: [
            ("JWT", true), ("jwt", true), ("application/jwt", true), ("APPLICATION/JWT", true),
            ("at+jwt", true),
            ("application/at+JWT", true), ("logout+jwt", false), ("", false), ("JWTX", false),
            ("xJWT", false),
            ("text/jwt", false), ("application/application/jwt", false), ("application/", false),
        ])
    func types(type: String, accepted: Bool) throws {
        let header = #"{"alg":"HS256","typ":"\#(type)"}"#
        #expect(
            try outcome(token(payload(), header: header), spec())
                == (accepted ? "ok ada" : "token_wrong_type"))
    }

    @Test("typ: not a string; absent where it is required; configured with the prefix")
    func requiredType() throws {
        #expect(
            try outcome(token(payload(), header: #"{"alg":"HS256","typ":1}"#), spec()) == "token_wrong_type")
        var required = spec()
        required.requiresType = true
        required.types = ["application/AT+JWT"]
        #expect(try outcome(token(payload(), header: #"{"alg":"HS256"}"#), required) == "token_wrong_type")
        #expect(try outcome(token(payload()), required) == "token_wrong_type")
        #expect(
            try outcome(token(payload(), header: #"{"alg":"HS256","typ":"at+jwt"}"#), required) == "ok ada")
    }

    @Test("J10: keys and addresses in the header are never followed")
    func embeddedKeys() throws {
        let pair = KeyPair(.p256)
        let other = KeyPair(.p256)
        let issuer = spec(jwks(pair.jwk(#""kid":"k1","#)))
        for more in [
            #""jwk":\#(other.jwk())"#, #""jku":"http://127.0.0.1:9/jwks""#, #""x5u":"http://127.0.0.1:9/c""#,
            #""x5c":["AAAA"]"#,
        ] {
            let signer = try CompactTokenSigner(algorithm: .es256, key: .privateKeyPEM(other.privatePEM))
            let header = #"{"alg":"ES256","kid":"k1",\#(more)}"#
            #expect(try outcome(signer.sign(header: header, payload()), issuer) == "token_bad_signature")
            let unknown = #"{"alg":"ES256","kid":"k2",\#(more)}"#
            #expect(try outcome(signer.sign(header: unknown, payload()), issuer) == "token_unknown_key")
        }
    }

    @Test("J8: parts, padding, alphabet, white space, trailing bits")
    func parts() throws {
        let good = String(decoding: try token(payload()), as: UTF8.self)
        let parts = good.split(separator: ".").map(String.init)
        let (h, p, s) = (parts[0], parts[1], parts[2])
        // The last of 43 characters has two unused bits.
        let last = try #require(s.last)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        let place = try #require(alphabet.firstIndex(of: last))
        let sibling = s.dropLast() + String(alphabet[place + 1])
        for bad in [
            "", ".", "..", "...", h, "\(h).\(p)", "\(h).\(p).", ".\(p).\(s)", "\(h)..\(s)", "\(good).",
            "\(good).\(s)",
            ".\(good)", "\(good)=", "\(h)=.\(p).\(s)", "\(h).\(p)=.\(s)", " \(good)", "\(good)\n",
            "\(h) .\(p).\(s)",
            "\(h).\(p).\(s) ", "\(h).\(p).+\(s.dropFirst())", "\(h).\(p)./\(s.dropFirst())",
            "\(h).\(p).\(sibling)",
            "\(h).\(p).\(s)A=", "\(good)\u{0}",
        ] {
            #expect(try outcome(Array(bad.utf8), spec()) == "token_malformed", "\(bad)")
        }
        #expect(try outcome(Array(good.utf8), spec()) == "ok ada")
    }

    @Test("J6: one bit of any byte changed, and the token no longer holds")
    func everyByte() throws {
        let good = try token(payload())
        let verifier = try TestVerifier(issuers: [spec()])
        for index in good.indices {
            for mask: UInt8 in [0x01, 0x20] {
                var bad = good
                bad[index] ^= mask
                #expect(!verifier.outcome(bad).hasPrefix("ok"))
            }
        }
        #expect(verifier.outcome(good) == "ok ada")
    }

    @Test("J12: a token above the limit is refused before it is read, one below it is read to its end")
    func size() throws {
        let large = try token(payload(#","x":"\#(String(repeating: "a", count: 6500))""#))
        #expect(try outcome(large, spec()) == "token_too_large")
        let verifier = try TestVerifier(issuers: [spec()], tokenLimitBytes: large.count)
        #expect(verifier.outcome(large) == "ok ada")
        #expect(try outcome([UInt8](repeating: 0x41, count: 1 << 20), spec()) == "token_too_large")
        let dots = [UInt8](repeating: 0x2e, count: 8192)
        #expect(try outcome(dots, spec()) == "token_malformed")
        let deep = String(repeating: "[", count: 3000)
        #expect(try outcome(token(#"{"sub":\#(deep)"#), spec()) == "token_malformed")
    }
}
