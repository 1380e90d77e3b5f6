import Crypto
import Foundation
import Testing

@testable import JOSE

/// RFC 7520, "Examples of Protecting Content Using JOSE", and what RFC 7515 has besides signed tokens.
///
/// Their payload is a sentence and no JSON object: the signatures hold, and the tokens are refused as malformed.
@Suite("RFC 7520 and the rest of RFC 7515")
struct CookbookTests {
    private static let content =
        "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
    private static let rsa =
        #"{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}"#
    private static let ec =
        #"{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}"#
    private static let secret = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"

    struct Example: Sendable, CustomTestStringConvertible {
        let section: String
        let algorithm: SignatureAlgorithm
        let header: String
        let signature: String
        /// The key as a JWK; empty for the secret.
        let key: String
        var testDescription: String { "\(section) \(algorithm)" }
    }

    private static let examples = [
        Example(
            section: "4.1", algorithm: .rs256,
            header: "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            signature:
                "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
            key: rsa),
        Example(
            section: "4.2", algorithm: .ps384,
            header: "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            signature:
                "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
            key: rsa),
        Example(
            section: "4.3", algorithm: .es512,
            header: "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            signature:
                "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
            key: ec),
        Example(
            section: "4.4", algorithm: .hs256,
            header: "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
            signature: "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0", key: ""),
    ]

    private func issuer(_ example: Example) -> IssuerSpec {
        let source: IssuerSpec.KeySource =
            example.key.isEmpty ? .secret(bytes(Self.secret)) : jwks(example.key)
        return IssuerSpec(
            issuer: "bilbo", audiences: nil, keys: source, algorithms: AlgorithmSet(example.algorithm))
    }

    private func outcome(_ text: String, _ spec: IssuerSpec) throws -> String {
        try JOSETests.outcome(Array(text.utf8), spec, now: now)
    }

    /// The text with another character at that place.
    private func changed(_ text: String, at place: Int) -> String {
        var bytes = Array(text.utf8)
        bytes[place] = bytes[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        return String(decoding: bytes, as: UTF8.self)
    }

    private func bytes(_ text: String) -> [UInt8] {
        let plain = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        let padding = String(repeating: "=", count: (4 - plain.count % 4) % 4)
        return [UInt8](Data(base64Encoded: plain + padding) ?? Data())
    }

    /// The member of a JWK, decoded.
    private func member(_ name: String, of key: String) throws -> [UInt8] {
        let object = try JSONSerialization.jsonObject(with: Data(key.utf8)) as? [String: String]
        return bytes(try #require(object?[name]))
    }

    private func holds(_ example: Example, _ content: String, _ signature: [UInt8]) throws -> Bool {
        let message = Array("\(example.header).\(content)".utf8)
        switch example.algorithm {
        case .hs256:
            let secret = bytes(Self.secret)
            guard let key = HMACKey(algorithm: .hs256, secret: secret.span) else { return false }
            return key.isValid(signature.span, for: message.span)
        case .es512:
            let (x, y) = (try member("x", of: example.key), try member("y", of: example.key))
            let key = try PublicKey(curve: .p521, x: x.span, y: y.span)
            return key.verify(.es512, signed: message.span, signature: signature.span)
        default:
            let (n, e) = (try member("n", of: example.key), try member("e", of: example.key))
            let key = try PublicKey(modulus: n.span, exponent: e.span)
            return key.verify(example.algorithm, signed: message.span, signature: signature.span)
        }
    }

    @Test("RFC 7520 §4.1 to §4.4: the signature holds, and no other does", arguments: examples)
    func compact(example: Example) throws {
        let signature = bytes(example.signature)
        #expect(try holds(example, Self.content, signature))
        for place in [0, 40, Self.content.utf8.count - 2] {
            #expect(try !holds(example, changed(Self.content, at: place), signature))
        }
        for place in [0, signature.count / 2, signature.count - 1] {
            var other = signature
            other[place] ^= 1
            #expect(try !holds(example, Self.content, other))
        }
    }

    @Test("RFC 7520 §4.1 to §4.4: a sentence is no token, under whatever issuer", arguments: examples)
    func sentence(example: Example) throws {
        for other in Self.examples {
            let token = "\(example.header).\(Self.content).\(example.signature)"
            #expect(try outcome(token, issuer(other)) == "token_malformed")
        }
    }

    @Test("RFC 7520 §4.5: detached content is no token", arguments: examples)
    func detached(example: Example) throws {
        let said = try outcome("\(example.header)..\(example.signature)", issuer(example))
        #expect(said == "token_malformed" || said == "token_bad_signature")
    }

    @Test(
        "RFC 7515 §A.6 and §A.7, RFC 7520 §4.6 to §4.8: JSON serializations are no tokens",
        arguments: examples)
    func serializations(example: Example) throws {
        let (header, payload, signature) = (example.header, Self.content, example.signature)
        for text in [
            #"{"payload":"\#(payload)","signatures":[{"protected":"\#(header)","signature":"\#(signature)"}]}"#,
            #"{"payload":"\#(payload)","protected":"\#(header)","signature":"\#(signature)"}"#,
            #"{"payload":"\#(payload)","header":{"alg":"HS256"},"signature":"\#(signature)"}"#,
            // Content whose header is not protected: the compact form with an empty one.
            ".\(payload).\(signature)",
        ] { #expect(try outcome(text, issuer(example)) == "token_malformed") }
    }

    @Test("RFC 7515 §A.5: an unsecured token is refused for every key", arguments: examples)
    func unsecured(example: Example) throws {
        let joe =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        let said = try outcome("eyJhbGciOiJub25lIn0.\(joe).", issuer(example))
        #expect(said == "token_algorithm_not_allowed" || said == "token_malformed")
    }

    @Test("RFC 7797 §4.2: a token with \"crit\" is refused, whatever it names")
    func critical() throws {
        // {"alg":"HS256","b64":false,"crit":["b64"]} and the claims of RFC 7515 §A.1.
        let header = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19"
        let claims =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        let spec = IssuerSpec(
            issuer: "joe", audiences: nil, keys: .secret(bytes(Self.secret)), algorithms: AlgorithmSet(.hs256)
        )
        let text = "\(header).\(claims).A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY"
        #expect(try outcome(text, spec) == "token_critical_header")
    }

    @Test("A JWK Set with a key of small order does not offer that key")
    func smallOrder() throws {
        let weak =
            #"{"kty":"OKP","crv":"Ed25519","kid":"weak","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#
        let good =
            #"{"kty":"OKP","crv":"Ed25519","kid":"good","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
        let issuer = spec(jwks(weak, good), AlgorithmSet(.edDSA))
        let verifier = try TestVerifier(issuers: [issuer])
        let report = try #require(verifier.keyReport(ofIssuer: 0))
        #expect(report.usableKeys == 1 && report.skipped.map(\.index) == [0])
        // {"alg":"EdDSA","kid":"weak"}: signed by nobody, with R the neutral point and S zero.
        let header = "eyJhbGciOiJFZERTQSIsImtpZCI6IndlYWsifQ"
        let zero = String(repeating: "A", count: 84)
        let text = Array(
            "\(header).\(Data(payload().utf8).base64EncodedString().replacingOccurrences(of: "=", with: "")).AQ\(zero)"
                .utf8)
        #expect(verifier.outcome(text) == "token_unknown_key")
    }
}
