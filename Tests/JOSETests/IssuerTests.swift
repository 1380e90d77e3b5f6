import Crypto
import Testing

@testable import JOSE

private func named(_ issuer: String?, _ keys: IssuerSpec.KeySource, _ algorithms: AlgorithmSet? = nil)
    -> IssuerSpec
{
    var spec = spec(keys, algorithms)
    spec.issuer = issuer
    return spec
}

private func payload(iss: String) -> String {
    #"{"sub":"ada","iss":"\#(iss)","aud":"tasks","exp":\#(now + 9)}"#
}

private let both: IssuerSet = [.init(index: 0), .init(index: 1)]

@Suite("Several issuers")
struct IssuerTests {
    private let a = KeyPair(.ed25519)
    private let b = KeyPair(.ed25519)

    @Test("J4: a key of one issuer never signs for another, with the same kid, warm both ways")
    func keysBelongToOneIssuer() throws {
        let verifier = try TestVerifier(issuers: [
            named("https://a", jwks(a.jwk(#""kid":"k","#))), named("https://b", jwks(b.jwk(#""kid":"k","#))),
        ])
        let goodA = try a.sign(.edDSA, payload(iss: "https://a"), keyID: "k")
        let goodB = try b.sign(.edDSA, payload(iss: "https://b"), keyID: "k")
        let badA = try b.sign(.edDSA, payload(iss: "https://a"), keyID: "k")
        let badB = try a.sign(.edDSA, payload(iss: "https://b"), keyID: "k")
        for _ in 0..<2 {
            #expect(verifier.outcome(goodA, both) == "ok ada")
            #expect(verifier.outcome(goodB, both) == "ok ada")
            #expect(verifier.outcome(badA, both) == "token_bad_signature")
            #expect(verifier.outcome(badB, both) == "token_bad_signature")
        }
    }

    @Test("J4: an issuer that the route does not accept serves no token there")
    func acceptedSet() throws {
        let verifier = try TestVerifier(issuers: [
            named("https://a", jwks(a.jwk())), named("https://b", jwks(b.jwk())),
        ])
        let goodB = try b.sign(.edDSA, payload(iss: "https://b"))
        #expect(verifier.outcome(goodB, .init(index: 0)) == "token_wrong_issuer")
        let none = verifier.chosenIssuer
        #expect(none == nil)
        #expect(verifier.outcome(goodB, .init(index: 1)) == "ok ada")
        let chosen = verifier.chosenIssuer
        #expect(chosen == 1)
        #expect(verifier.outcome(goodB, []) == "token_wrong_issuer")
    }

    @Test("Two issuers with one iss are told apart by alg; the same key text counts for one alone")
    func sameIssuer() throws {
        let specs = [named("https://a", .secret(secret)), named("https://a", jwks(a.jwk()))]
        #expect(specs[0].isDistinct(from: specs[1]))
        let verifier = try TestVerifier(issuers: specs)
        #expect(verifier.outcome(try token(payload(iss: "https://a")), both) == "ok ada")
        #expect(verifier.chosenIssuer.map { $0 == 0 } ?? false)
        #expect(verifier.outcome(try a.sign(.edDSA, payload(iss: "https://a")), both) == "ok ada")
        #expect(verifier.chosenIssuer.map { $0 == 1 } ?? false)
        #expect(
            verifier.outcome(try Pairs.p384.sign(.es384, payload(iss: "https://a")), both)
                == "token_algorithm_not_allowed")
    }

    @Test("Never by trying: two issuers that a token cannot tell apart are both refused")
    func ambiguous() throws {
        let specs = [named("https://a", jwks(a.jwk())), named("https://a", jwks(b.jwk()))]
        #expect(!specs[0].isDistinct(from: specs[1]))
        let verifier = try TestVerifier(issuers: specs)
        #expect(
            verifier.outcome(try a.sign(.edDSA, payload(iss: "https://a")), both) == "token_ambiguous_issuer")
        #expect(verifier.outcome(try a.sign(.edDSA, payload(iss: "https://a")), .init(index: 0)) == "ok ada")
    }

    @Test("An issuer that is not checked serves where none has the token's iss")
    func unchecked() throws {
        let verifier = try TestVerifier(issuers: [
            named(nil, jwks(a.jwk())), named("https://b", jwks(b.jwk())), named(nil, jwks(b.jwk())),
        ])
        #expect(verifier.outcome(try b.sign(.edDSA, payload(iss: "https://b")), both) == "ok ada")
        #expect(
            verifier.outcome(try a.sign(.edDSA, payload(iss: "https://b")), both) == "token_bad_signature")
        #expect(verifier.outcome(try a.sign(.edDSA, payload(iss: "https://x")), both) == "ok ada")
        let all: IssuerSet = [both, .init(index: 2)]
        #expect(
            verifier.outcome(try a.sign(.edDSA, payload(iss: "https://x")), all) == "token_ambiguous_issuer")
        #expect(verifier.outcome(try b.sign(.edDSA, payload(iss: "https://b")), all) == "ok ada")
    }

    @Test(
        "J4: who has the key of an issuer that is not checked cannot speak for one that is named, by another alg"
    )
    func uncheckedForNamed() throws {
        let verifier = try TestVerifier(issuers: [
            named(nil, .secret(secret)), named("https://b", jwks(b.jwk())),
        ])
        #expect(verifier.outcome(try token(payload(iss: "https://x")), both) == "ok ada")
        #expect(verifier.outcome(try token(payload(iss: "https://b")), both) == "token_algorithm_not_allowed")
        #expect(verifier.outcome(try b.sign(.edDSA, payload(iss: "https://b")), both) == "ok ada")
        // Nor where the named one does not look, whoever has its key.
        let unchecked = IssuerSet(index: 0)
        let forged = try token(payload(iss: "https://b"))
        #expect(verifier.outcome(forged, unchecked, of: both) == "token_wrong_issuer")
        #expect(verifier.outcome(forged, unchecked) == "ok ada")
        #expect(verifier.outcome(try token(payload(iss: "https://x")), unchecked, of: both) == "ok ada")
    }

    @Test("Keys that were never loaded are not the client's fault, and only for its own issuer")
    func pending() throws {
        let verifier = try TestVerifier(issuers: [
            named("https://a", .pending), named("https://b", jwks(b.jwk())),
        ])
        let token = try a.sign(.edDSA, payload(iss: "https://a"))
        #expect(verifier.outcome(token, both) == "keys_unavailable")
        #expect(verifier.keyReport(ofIssuer: 0) == nil)
        #expect(verifier.outcome(try b.sign(.edDSA, payload(iss: "https://b")), both) == "ok ada")
        #expect(verifier.outcome(try b.sign(.edDSA, payload(iss: "https://c")), both) == "token_wrong_issuer")
        try verifier.replaceKeys(ofIssuer: 0, with: jwks(a.jwk()))
        #expect(verifier.outcome(token, both) == "ok ada")
        verifier.removeKeys(ofIssuer: 0)
        #expect(verifier.outcome(token, both) == "keys_unavailable")
    }

    @Test(
        "J7, J22: an exchange replaces the whole set; a key that stays keeps its identity, one that left is gone"
    )
    func exchange() throws {
        let (keyA, keyB) = (a.jwk(#""kid":"a","#), b.jwk(#""kid":"b","#))
        let verifier = try TestVerifier(issuers: [named("https://a", jwks(keyA, keyB))])
        let tokenA = try a.sign(.edDSA, payload(iss: "https://a"), keyID: "a")
        let tokenB = try b.sign(.edDSA, payload(iss: "https://a"), keyID: "b")
        let identityA = try #require(verifier.key(tokenA))
        let identityB = try #require(verifier.key(tokenB))
        #expect(identityA != identityB)
        #expect(verifier.contains(identityA, ofIssuer: 0) && verifier.contains(identityB, ofIssuer: 0))
        try verifier.replaceKeys(ofIssuer: 0, with: jwks(keyB))
        #expect(!verifier.contains(identityA, ofIssuer: 0) && verifier.contains(identityB, ofIssuer: 0))
        #expect(verifier.outcome(tokenA) == "token_unknown_key")
        #expect(verifier.outcome(tokenB) == "ok ada")
        // The same kid with another key is another key.
        try verifier.replaceKeys(ofIssuer: 0, with: jwks(a.jwk(#""kid":"b","#)))
        #expect(!verifier.contains(identityB, ofIssuer: 0))
    }

    @Test(
        "J7: a set that cannot be used changes nothing",
        arguments: ["<html>", #"{"keys":[]}"#, "", #"{"keys":[{"kty":"oct","k":"AA"}]}"#])
    func failedExchange(text: String) throws {
        let verifier = try TestVerifier(issuers: [named("https://a", jwks(a.jwk()))])
        var refused = false
        do throws(IssuerError) {
            try verifier.replaceKeys(ofIssuer: 0, with: .jwks(Array(text.utf8)))
        } catch {
            refused = true
        }
        #expect(refused)
        #expect(verifier.outcome(try a.sign(.edDSA, payload(iss: "https://a"))) == "ok ada")
    }

    @Test("J18: good tokens right after bad ones, of every kind, in one verifier")
    func errorQueue() throws {
        let algorithms: [SignatureAlgorithm] = [.rs256, .ps256, .es256, .es384, .es512, .edDSA]
        let verifier = try TestVerifier(
            issuers: algorithms.map { algorithm in
                named("\(algorithm.name)", jwks(Pairs.of(algorithm).jwk()), AlgorithmSet(algorithm))
            })
        let all = IssuerSet(rawValue: 0b11_1111)
        for _ in 0..<3 {
            for algorithm in algorithms {
                let good = try Pairs.of(algorithm).sign(algorithm, payload(iss: "\(algorithm.name)"))
                var bad = good
                bad[bad.count - 20] = bad[bad.count - 20] == 0x41 ? 0x42 : 0x41
                #expect(verifier.outcome(bad, all) == "token_bad_signature")
                #expect(verifier.outcome(good, all) == "ok ada")
            }
        }
    }
}
