import Crypto
import Testing

@testable import JOSE

/// One pair of each type for the whole run: making RSA keys takes long.
enum Pairs {
    static let rsa = KeyPair(.rsa)
    static let p256 = KeyPair(.p256)
    static let p384 = KeyPair(.p384)
    static let p521 = KeyPair(.p521)
    static let ed25519 = KeyPair(.ed25519)

    static func of(_ algorithm: SignatureAlgorithm) -> KeyPair {
        switch algorithm {
        case .es256: p256
        case .es384: p384
        case .es512: p521
        case .edDSA: ed25519
        default: rsa
        }
    }
}

private let publicAlgorithms = SignatureAlgorithm.allCases.filter { !$0.isHMAC }
private let anyPublic = AlgorithmSet(publicAlgorithms)

/// The error of an issuer that cannot be used, or nil.
private func fault(_ spec: IssuerSpec) -> IssuerError? {
    do throws(IssuerFault) {
        _ = try TestVerifier(issuers: [spec])
        return nil
    } catch {
        return error.error
    }
}

private func report(_ spec: IssuerSpec) throws -> KeySetReport? {
    let verifier = try TestVerifier(issuers: [spec])
    return verifier.keyReport(ofIssuer: 0)
}

@Suite("Keys of an issuer")
struct KeySetTests {
    @Test("Every algorithm with a PEM key and with a JWK Set", arguments: publicAlgorithms)
    func everyAlgorithm(algorithm: SignatureAlgorithm) throws {
        let pair = Pairs.of(algorithm)
        let set = AlgorithmSet(algorithm)
        let plain = try pair.sign(algorithm, payload())
        let named = try pair.sign(algorithm, payload(), keyID: "k1")
        for token in [plain, named] {
            #expect(try outcome(token, spec(.publicKeyPEM(pair.publicPEM), set)) == "ok ada")
            #expect(try outcome(token, spec(jwks(pair.jwk(#""kid":"k1","#)), set)) == "ok ada")
        }
        #expect(try outcome(named, spec(jwks(pair.jwk(#""kid":"k2","#)), set)) == "token_unknown_key")
        #expect(try outcome(named, spec(jwks(pair.jwk()), set)) == "token_unknown_key")
        let stranger = KeyPair(pair.type)
        #expect(try outcome(plain, spec(.publicKeyPEM(stranger.publicPEM), set)) == "token_bad_signature")
    }

    @Test(
        "J1: HS256 keyed with the public key in any form is refused",
        arguments: [SignatureAlgorithm.rs256, .es256, .edDSA])
    func confusion(algorithm: SignatureAlgorithm) throws {
        let pair = Pairs.of(algorithm)
        let der = try PublicKey(pem: pair.publicPEM.span).encoded()
        let texts = [
            pair.publicPEM, [0x20] + pair.publicPEM, Array(pair.publicPEM.dropLast()), der,
            Array(pair.jwk().utf8),
            Array((" " + pair.jwk()).utf8),
        ]
        for text in texts {
            for header in [#"{"alg":"HS256"}"#, #"{"alg":"HS256","kid":"k1"}"#] {
                let forged = try token(payload(), header: header, secret: text)
                #expect(
                    try outcome(forged, spec(.publicKeyPEM(pair.publicPEM))) == "token_algorithm_not_allowed")
                let set = spec(jwks(pair.jwk(#""kid":"k1","#)))
                #expect(try outcome(forged, set) == "token_algorithm_not_allowed")
            }
        }
    }

    @Test("J1: HMAC never mixes with public keys, and no algorithm is no issuer")
    func mixing() {
        let pem = IssuerSpec.KeySource.publicKeyPEM(Pairs.p256.publicPEM)
        #expect(fault(spec(pem, [.init(.es256), .init(.hs256)])) == .algorithmsDoNotFitKeySource)
        #expect(fault(spec(pem, .hmac)) == .algorithmsDoNotFitKeySource)
        #expect(fault(spec(.secret(secret), AlgorithmSet([.hs256, .rs256]))) == .algorithmsDoNotFitKeySource)
        #expect(fault(spec(.secret(secret), [])) == .algorithmsDoNotFitKeySource)
        #expect(fault(spec(pem, AlgorithmSet(.rs256))) == .algorithmsDoNotFitKey)
        #expect(fault(spec(.publicKeyPEM(Array("x".utf8)))) == .badKey(.malformedPEM))
        #expect(fault(spec(.publicKeyPEM(Pairs.p256.privatePEM))) == .badKey(.notAPublicKey))
        #expect(fault(spec(.pending, .hmac)) == nil, "what comes later is checked then")
    }

    @Test("J1: alg must be in the issuer's list and fit the key's type, curve and alg")
    func fit() throws {
        let rsa = Pairs.rsa
        let rs256 = try rsa.sign(.rs256, payload(), keyID: "k")
        let ps256 = try rsa.sign(.ps256, payload(), keyID: "k")
        let onlyPS = spec(jwks(rsa.jwk(#""kid":"k","alg":"PS256","#)), anyPublic)
        #expect(try outcome(ps256, onlyPS) == "ok ada")
        #expect(try outcome(rs256, onlyPS) == "token_key_does_not_fit")
        #expect(try outcome(ps256, spec(jwks(rsa.jwk(#""kid":"k","#)))) == "token_algorithm_not_allowed")
        let ec = spec(jwks(Pairs.p384.jwk(#""kid":"k","#)), anyPublic)
        #expect(try outcome(rs256, ec) == "token_key_does_not_fit")
        #expect(try outcome(Pairs.p256.sign(.es256, payload(), keyID: "k"), ec) == "token_key_does_not_fit")
        #expect(try outcome(Pairs.p256.sign(.es256, payload()), ec) == "token_key_does_not_fit")
        #expect(try outcome(Pairs.p384.sign(.es384, payload()), ec) == "ok ada")
    }

    @Test(
        "J23: keys that never verify are skipped, the rest still load",
        arguments: [
            (#""use":"enc","#, "use is not sig"), (#""use":5,"#, "use is not sig"),
            (#""key_ops":["sign"],"#, "key_ops without verify"),
            (#""key_ops":[],"#, "key_ops without verify"),
            (#""key_ops":"verify","#, "key_ops without verify"),
            (#""alg":"RS256","#, "alg contradicts kty or crv"),
            (#""alg":"ES384","#, "alg contradicts kty or crv"), (#""alg":"ECDH-ES","#, "unsupported alg"),
            (#""alg":"none","#, "unsupported alg"), (#""alg":7,"#, "unsupported alg"),
            (#""alg":"HS256","#, "alg contradicts kty or crv"), (#""kid":7,"#, "kid is not a string"),
            (#""d":"AA","#, "it holds a private key"), (#""alg":"ES512","#, "alg contradicts kty or crv"),
        ])
    func skippedMembers(members: String, reason: String) throws {
        let odd = Pairs.p256.jwk(members)
        let issuer = spec(jwks(odd, Pairs.ed25519.jwk(#""kid":"good","#)), anyPublic)
        #expect(try report(issuer)?.skipped == [SkippedKey(index: 0, reason: reason)])
        #expect(try report(issuer)?.usableKeys == 1)
        #expect(try outcome(Pairs.p256.sign(.es256, payload()), issuer) == "token_key_does_not_fit")
        #expect(try outcome(Pairs.ed25519.sign(.edDSA, payload(), keyID: "good"), issuer) == "ok ada")
        #expect(fault(spec(jwks(odd), anyPublic)) == .badKeySet(.noUsableKey))
    }

    @Test(
        "J23: unknown types and curves, bad numbers",
        arguments: [
            #"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256"}"#,
            #"{"kty":"XYZ"}"#,
            "{}", "5", "[]", "null", #"{"kty":5}"#, #"{"kty":"rsa","n":"AQ","e":"AQAB"}"#,
            #"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, #"{"kty":"RSA","e":"AQAB"}"#,
            #"{"kty":"EC","crv":"P-256"}"#,
            #"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
            #"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            #"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            #"{"kty":"OKP","crv":"Ed448","x":"AA"}"#, #"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}"#,
            #"{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
        ])
    func skippedKeys(odd: String) throws {
        let issuer = spec(jwks(odd, Pairs.ed25519.jwk()), anyPublic)
        #expect(try report(issuer)?.skipped.map(\.index) == [0])
        #expect(try report(issuer)?.usableKeys == 1)
    }

    @Test("J23: no use, use sig, key_ops with verify, and members nobody knows are fine")
    func usableMembers() throws {
        for members in [
            "", #""use":"sig","#, #""key_ops":["verify"],"#, #""key_ops":["sign","verify"],"#,
            #""x5c":["AAAA"],"x5t":"AA","ext":true,"nbf":5,"#, #""alg":"ES256","use":"sig","#,
        ] {
            #expect(try report(spec(jwks(Pairs.p256.jwk(members))))?.skipped == [])
        }
    }

    @Test("An RSA key that is too small or too large is skipped")
    func rsaSizes() throws {
        for (bytes, reason) in [
            (128, "RSA key of fewer than 2048 bits"), (1032, "RSA key of more than 8192 bits"),
        ] {
            let modulus = base64URL([0xc1] + [UInt8](repeating: 0x11, count: bytes - 1))
            let odd = #"{"kty":"RSA","n":"\#(modulus)","e":"AQAB"}"#
            let issuer = spec(jwks(odd, Pairs.ed25519.jwk()), anyPublic)
            #expect(try report(issuer)?.skipped == [SkippedKey(index: 0, reason: reason)])
        }
    }

    @Test("A key for none of the issuer's algorithms is skipped")
    func foreignAlgorithm() throws {
        let issuer = spec(jwks(Pairs.p384.jwk(), Pairs.p256.jwk()))
        #expect(
            try report(issuer)?.skipped == [
                SkippedKey(index: 0, reason: "for ES384, which is not among the issuer's algorithms")
            ])
    }

    @Test("What a set holds that nobody can use is told, though the set is refused")
    func reportOfNoUse() {
        let issuer = spec(jwks(Pairs.p384.jwk(), Pairs.p256.jwk(#""use":"enc","#)))
        #expect(fault(issuer) == .badKeySet(.noUsableKey))
        let found = KeySetReport(issuer)
        #expect(found.usableKeys == 0 && found.skipped.map(\.index) == [0, 1])
        #expect(
            found.reasons
                == "key 1: for ES384, which is not among the issuer's algorithms; key 2: use is not sig")
        #expect(KeySetReport(spec(jwks(Pairs.p256.jwk()))).usableKeys == 1)
        #expect(KeySetReport(spec(.pending)) == KeySetReport())
    }

    @Test(
        "J10, J17: texts that are no JWK Set",
        arguments: [
            "", "<html></html>", "{}", #"{"keys":{}}"#, #"{"keys":5}"#, "[]", #"{"keys":["#,
            #"{"keys":[],"keys":[]}"#,
            #"{"Keys":[]}"#,
        ])
    func malformedSets(text: String) {
        #expect(fault(spec(.jwks(Array(text.utf8)))) == .badKeySet(.malformed))
    }

    @Test("J10: 0 keys, more than 100 keys, more than 256 KiB")
    func setSizes() throws {
        let key = Pairs.ed25519.jwk()
        func set(_ count: Int, _ tail: String = "") -> IssuerSpec {
            let keys = Array(repeating: key, count: count).joined(separator: ",")
            return spec(.jwks(Array(#"{"keys":[\#(keys)]\#(tail)}"#.utf8)))
        }
        #expect(fault(set(0)) == .badKeySet(.noUsableKey))
        #expect(try report(set(100))?.usableKeys == 100)
        #expect(fault(set(101)) == .badKeySet(.tooManyKeys))
        #expect(fault(set(1, #","x":"\#(String(repeating: "a", count: 262_144))""#)) == .badKeySet(.tooLarge))
    }

    @Test("At most four keys are tried for a token that does not settle which one it means")
    func attempts() throws {
        let others = (0..<5).map { _ in KeyPair(.ed25519).jwk(#""kid":"k","#) }
        let good = Pairs.ed25519.jwk(#""kid":"k","#)
        for token in [
            try Pairs.ed25519.sign(.edDSA, payload(), keyID: "k"), try Pairs.ed25519.sign(.edDSA, payload()),
        ] {
            let fourth = spec(jwks(others[0], others[1], others[2], good))
            #expect(try outcome(token, fourth) == "ok ada")
            let fifth = spec(jwks(others[0], others[1], others[2], others[3], good))
            #expect(try outcome(token, fifth) == "token_bad_signature")
            // Keys of other algorithms do not count.
            let mixed = spec(jwks(Pairs.p256.jwk(#""kid":"k","#), others[0], others[1], others[2], good))
            #expect(try outcome(token, mixed) == "ok ada")
        }
    }

    @Test("A token without kid is refused where one is required")
    func requiredKeyID() throws {
        var issuer = spec(jwks(Pairs.ed25519.jwk(#""kid":"k","#)))
        issuer.requiresNamedKeys = true
        #expect(try outcome(Pairs.ed25519.sign(.edDSA, payload()), issuer) == "token_unknown_key")
        #expect(try outcome(Pairs.ed25519.sign(.edDSA, payload(), keyID: "k"), issuer) == "ok ada")
    }

    @Test(
        "An RSA key that does not say which algorithm is its own is left out where one is required",
        arguments: [
            ("", "keys_unavailable"), (#""alg":"RS256","#, "ok ada"),
            (#""alg":"PS256","#, "token_key_does_not_fit"),
        ])
    func requiredKeyAlgorithm(alg: String, expected: String) throws {
        let key = Pairs.rsa.jwk(#""kid":"r","# + alg)
        var issuer = spec(
            jwks(Pairs.ed25519.jwk(#""kid":"k","#), key), AlgorithmSet([.edDSA, .rs256, .ps256]))
        let token = try Pairs.rsa.sign(.rs256, payload(), keyID: "r")
        #expect(try outcome(token, issuer) == (alg.isEmpty ? "ok ada" : expected))
        issuer.requiresNamedKeys = true
        #expect(try outcome(token, issuer) == (alg.isEmpty ? "token_unknown_key" : expected))
        // Other types fit one algorithm alone.
        #expect(try outcome(Pairs.ed25519.sign(.edDSA, payload(), keyID: "k"), issuer) == "ok ada")
        issuer.algorithms = AlgorithmSet([.edDSA, .rs256])
        #expect(try outcome(token, issuer) == (alg.contains("PS") ? "token_unknown_key" : "ok ada"))
    }

    @Test("J19: a secret of fewer than 32 bytes, and one that everybody knows, is refused at load")
    func secrets() {
        #expect(fault(spec(.secret(Array(secret.prefix(31))))) == .secretTooShort)
        #expect(fault(spec(.secret(Array(secret.prefix(32))))) == nil)
        #expect(fault(spec(.secret([]))) == .secretTooShort)
        let published = Array("better-auth-secret-12345678901234567890".utf8)
        #expect(fault(spec(.secret(published))) == .secretIsPublic)
        #expect(fault(spec(.secret(Pairs.p256.publicPEM))) == .secretIsPublic)
    }

    @Test("J14 and other mistakes in a specification")
    func specifications() throws {
        var issuer = spec()
        issuer.audiences = []
        #expect(fault(issuer) == .emptyAudience)
        issuer = spec()
        issuer.subject = []
        #expect(fault(issuer) == .emptySubject)
        issuer = spec()
        issuer.leewaySeconds = -1
        #expect(fault(issuer) == .badDuration)
        issuer = spec()
        issuer.maximumLifetimeSeconds = 0
        #expect(fault(issuer) == .badDuration)
        let many = Array(repeating: spec(), count: 65)
        #expect(throws: IssuerFault(index: 64, error: .tooManyIssuers)) {
            _ = try TestVerifier(issuers: many)
        }
        var second = spec()
        second.audiences = []
        let pair = [spec(), second]
        #expect(throws: IssuerFault(index: 1, error: .emptyAudience)) { _ = try TestVerifier(issuers: pair) }
    }
}
