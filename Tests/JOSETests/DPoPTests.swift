import Bytes
import Crypto
import Testing

@testable import JOSE

@Suite("DPoP proofs and thumbprints")
struct DPoPTests {
    // RFC 9449 §7.1, figure 13: the proof, the token that it is for, and §6.1: the key's thumbprint.
    static let header =
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
    static let payload =
        "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9"
    static let signature =
        "2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
    static let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    static let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

    private func digest(_ text: String) throws -> SHA256Digest {
        let digest = SHA256Digest(base64URL: Array(text.utf8).span)
        return try #require(digest)
    }

    /// What the proof says, or the refusal.
    private func read(_ proof: String, thumbprint: String = DPoPTests.thumbprint) throws -> String {
        var verifier = DPoPVerifier()
        let key = try digest(thumbprint)
        do throws(TokenRefusal) {
            let proof = try verifier.verify(Array(proof.utf8).span, boundTo: key)
            return [
                string(verifier.method(of: proof)), string(verifier.target(of: proof)),
                string(verifier.tokenDigest(of: proof)), string(verifier.nonce(of: proof)),
                "\(proof.issuedAt)",
            ].joined(separator: " ")
        } catch {
            return "\(error.code)"
        }
    }

    @Test("RFC 9449 §7.1: the proof of the example, for the token of the example")
    func example() throws {
        let ath = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
        #expect(
            try read("\(Self.header).\(Self.payload).\(Self.signature)")
                == "GET https://resource.example.org/protectedresource \(ath)  1562262618")
        var verifier = DPoPVerifier()
        let own = verifier.digest(of: Array(Self.token.utf8).span)
        let expected = try digest(ath)
        #expect(own == expected)
    }

    @Test("RFC 9449 §4.3: a proof of another key, or with another byte, is none")
    func changed() throws {
        let other = "UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4"
        #expect(
            try read("\(Self.header).\(Self.payload).\(Self.signature)", thumbprint: other)
                == "proof_of_other_key")
        let signature = "A" + Self.signature.dropFirst()
        #expect(try read("\(Self.header).\(Self.payload).\(signature)") == "proof_bad_signature")
        for proof in [
            "", "a.b.c", "\(Self.header).\(Self.payload)", "\(Self.header).\(Self.payload).",
            "\(Self.header).\(Self.payload).\(Self.signature)=",
            "\(Self.header).\(Self.payload).\(Self.signature)A",
            "\(Self.header).\(Self.payload).\(Self.signature),\(Self.header).\(Self.payload).\(Self.signature)",
            String(repeating: "A", count: 8193),
        ] {
            #expect(try ["proof_malformed", "proof_bad_signature"].contains(read(proof)))
        }
    }

    // Two Ed25519 keys, and the first one's thumbprint.
    static let privateKey = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
        -----END PRIVATE KEY-----

        """
    static let jwk = #"{"kty":"OKP","crv":"Ed25519","x":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"}"#
    static let ownThumbprint = "UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4"
    static let claims = #""jti":"1","htm":"GET","htu":"https://h/","iat":1,"ath":"x""#

    private func sign(header: String, claims: String = DPoPTests.claims) throws -> String {
        let signer = try CompactTokenSigner(
            algorithm: .edDSA, key: .privateKeyPEM(Array(Self.privateKey.utf8)))
        return String(decoding: try signer.sign(header: header, "{\(claims)}"), as: UTF8.self)
    }

    @Test("RFC 9449 §4.3: type, algorithm and key of the header")
    func header() throws {
        let good = #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(Self.jwk)}"#
        #expect(try read(sign(header: good), thumbprint: Self.ownThumbprint) == "GET https://h/ x  1")
        let withPrefix = #"{"typ":"application/DPoP+jwt","alg":"EdDSA","jwk":\#(Self.jwk)}"#
        #expect(try read(sign(header: withPrefix), thumbprint: Self.ownThumbprint) == "GET https://h/ x  1")
        let secret =
            #"{"kty":"OKP","crv":"Ed25519","x":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w","d":"AQ"}"#
        for header in [
            #"{"alg":"EdDSA","jwk":\#(Self.jwk)}"#, #"{"typ":"JWT","alg":"EdDSA","jwk":\#(Self.jwk)}"#,
            #"{"typ":"dpop+jwt","jwk":\#(Self.jwk)}"#, #"{"typ":"dpop+jwt","alg":"none","jwk":\#(Self.jwk)}"#,
            #"{"typ":"dpop+jwt","alg":"HS256","jwk":\#(Self.jwk)}"#,
            #"{"typ":"dpop+jwt","alg":"ES256","jwk":\#(Self.jwk)}"#, #"{"typ":"dpop+jwt","alg":"EdDSA"}"#,
            #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":"x"}"#,
            #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(secret)}"#,
            #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(Self.jwk),"crit":["x"]}"#,
            #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(Self.jwk),"jwk":\#(Self.jwk)}"#,
            #"{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
        ] {
            #expect(
                try read(sign(header: header), thumbprint: Self.ownThumbprint) == "proof_malformed",
                "\(header)")
        }
    }

    @Test("RFC 9449 §4.2: each claim, and its type", arguments: ["jti", "htm", "htu", "iat", "ath"])
    func claims(name: String) throws {
        let good = #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(Self.jwk)}"#
        let all = Self.claims.split(separator: ",").map(String.init)
        let without = all.filter { !$0.hasPrefix("\"\(name)\"") }
        for more in [[], ["\"\(name)\":null"], ["\"\(name)\":[]"], ["\"\(name)\":true"]] {
            let proof = try sign(header: good, claims: (without + more).joined(separator: ","))
            #expect(try read(proof, thumbprint: Self.ownThumbprint) == "proof_malformed")
        }
    }

    @Test("RFC 9449 §4.2: a nonce is a string, a jti not too long and not empty")
    func limits() throws {
        let good = #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(Self.jwk)}"#
        let proof = try sign(header: good, claims: Self.claims + #","nonce":"n""#)
        #expect(try read(proof, thumbprint: Self.ownThumbprint) == "GET https://h/ x n 1")
        for claims in [
            Self.claims + #","nonce":1"#, Self.claims.replacing("\"jti\":\"1\"", with: "\"jti\":\"\""),
            Self.claims.replacing("\"jti\":\"1\"", with: "\"jti\":\"\(String(repeating: "j", count: 513))\""),
        ] {
            #expect(
                try read(sign(header: good, claims: claims), thumbprint: Self.ownThumbprint)
                    == "proof_malformed")
        }
    }

    @Test("RFC 7638 §3.1: the thumbprint of the example, whatever else the key says, and in whichever order")
    func thumbprint() throws {
        let modulus =
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        let expected = try digest("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        for text in [
            #"{"kty":"RSA","n":"\#(modulus)","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
            #"{"e":"AQAB","n":"\#(modulus)","kty":"RSA"}"#,
        ] {
            #expect(thumbprint(of: text) == expected)
        }
        for text in [
            #"{"kty":"RSA","n":"\#(modulus)"}"#, #"{"kty":"oct","k":"AAAA"}"#,
            #"{"kty":"RSA","n":"a\"b","e":"AQAB"}"#, #"{"kty":"RSA","n":1,"e":"AQAB"}"#, #"{"kty":1}"#, "{}",
        ] {
            #expect(thumbprint(of: text) == nil)
        }
    }

    private func thumbprint(of text: String) -> SHA256Digest? {
        var document = JSONDocument(capacity: text.utf8.count, limits: .token)
        guard document.load(Array(text.utf8).span) else { return nil }
        var function = SHA256()
        let isThere = document.member(Array("kty".utf8).span, of: 0).map { document.node($0).kind == .string }
        guard isThere == true else { return nil }
        return JWKThumbprint.digest(of: 0, in: document, by: &function)
    }

    @Test("J20: a token that is bound is never plainly verified")
    func binding() throws {
        for cnf in [
            #"{"jkt":"\#(Self.thumbprint)"}"#, #"{"x5t#S256":"\#(Self.thumbprint)"}"#,
            #"{"jkt":"\#(Self.thumbprint)","x5t#S256":"\#(Self.ownThumbprint)"}"#,
        ] {
            #expect(try outcome(JOSETests.token(JOSETests.payload(#","cnf":\#(cnf)"#)), spec()) == "bound")
        }
        for cnf in [
            "{}", "null", "[]", #""x""#, #"{"jkt":1}"#, #"{"jkt":"x"}"#, #"{"jkt":"\#(Self.thumbprint)A"}"#,
            #"{"jkt":"\#(Self.thumbprint)","kid":"k"}"#, #"{"jwk":{}}"#, #"{"JKT":"\#(Self.thumbprint)"}"#,
        ] {
            #expect(
                try outcome(JOSETests.token(JOSETests.payload(#","cnf":\#(cnf)"#)), spec())
                    == "token_bound_to_key", "\(cnf)")
        }
    }
}
