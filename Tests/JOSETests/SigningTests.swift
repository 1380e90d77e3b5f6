import Bytes
import Crypto
import Testing

@testable import JOSE

@Suite("Signing and minting")
struct SigningTests {
    @Test("Every algorithm's tokens verify, and carry kid and typ", arguments: SignatureAlgorithm.allCases)
    func signer(algorithm: SignatureAlgorithm) throws {
        let pair = Pairs.of(algorithm)
        let key: CompactTokenSigner.Key = algorithm.isHMAC ? .secret(secret) : .privateKeyPEM(pair.privatePEM)
        let token = try CompactTokenSigner(algorithm: algorithm, key: key, keyID: "a\"b", type: "at+jwt")
            .sign(payload())
        let source: IssuerSpec.KeySource = algorithm.isHMAC ? .secret(secret) : .publicKeyPEM(pair.publicPEM)
        #expect(try outcome(token, spec(source, AlgorithmSet(algorithm))) == "ok ada")
        let decoded = try #require(DecodedToken(text: token))
        #expect(
            String(decoding: decoded.header, as: UTF8.self)
                == #"{"alg":"\#(algorithm.name)","typ":"at+jwt","kid":"a\"b"}"#)
        #expect(String(decoding: decoded.payload, as: UTF8.self) == payload())
        #expect(!decoded.signature.isEmpty)
    }

    @Test("Keys that do not fit, short secrets and payloads that are no JSON object are refused")
    func refused() throws {
        let pem = CompactTokenSigner.Key.privateKeyPEM(Pairs.p256.privatePEM)
        #expect(throws: SigningError.algorithmDoesNotFitKey) {
            try CompactTokenSigner(algorithm: .es384, key: pem)
        }
        #expect(throws: SigningError.algorithmDoesNotFitKey) {
            try CompactTokenSigner(algorithm: .hs256, key: pem)
        }
        #expect(throws: SigningError.algorithmDoesNotFitKey) {
            try CompactTokenSigner(algorithm: .rs256, key: .secret(secret))
        }
        #expect(throws: SigningError.secretTooShort) {
            try CompactTokenSigner(algorithm: .hs256, key: .secret([1, 2, 3]))
        }
        #expect(throws: SigningError.badKey(.malformedPEM)) {
            try CompactTokenSigner(algorithm: .es256, key: .privateKeyPEM(Pairs.p256.publicPEM))
        }
        let signer = try CompactTokenSigner(algorithm: .hs256, key: .secret(secret))
        for bad in ["", "[]", "{", #"{"a":1,"a":2}"#, "{} x"] {
            #expect(throws: SigningError.malformedPayload) { try signer.sign(bad) }
        }
    }

    @Test(
        "What is no token is not decoded",
        arguments: ["", "a", "a.b", "a.b.c", "e30.e30", "e30.e30.", "e30.W10.AA", "e30=.e30.AA"])
    func notDecoded(text: String) { #expect(DecodedToken(text: Array(text.utf8)) == nil) }

    private func minted(_ spec: MintSpec, _ subject: String) throws -> [UInt8]? {
        var minter = try TokenMinter(spec)
        let bytes = Array(subject.utf8)
        guard minter.mint(subject: bytes.span, now: now) else { return nil }
        return Array(string(minter.token).utf8)
    }

    @Test("A minted token says sub, iat, exp and the fixed claims, escaped, and verifies")
    func minter() throws {
        let claims = [
            MintSpec.Claim(name: "type", value: .string("acc\"ess\n")),
            .init(name: "n", value: .integer(.min)),
            .init(name: "b", value: .boolean(true)), .init(name: "l", value: .strings(["x", "y\\"])),
            .init(name: "iss", value: .string("https://i.example")),
            .init(name: "aud", value: .string("tasks")),
        ]
        let token = try #require(
            try minted(MintSpec(secret: secret, lifetimeSeconds: 60, claims: claims), "a\"d\\a\u{1}"))
        let decoded = try #require(DecodedToken(text: token))
        #expect(String(decoding: decoded.header, as: UTF8.self) == #"{"alg":"HS256","typ":"JWT"}"#)
        #expect(
            String(decoding: decoded.payload, as: UTF8.self)
                == #"{"sub":"a\"d\\a\u0001","iat":\#(now),"exp":\#(now + 60),"type":"acc\"ess\u000a","n":-9223372036854775808,"b":true,"l":["x","y\\"],"iss":"https://i.example","aud":"tasks"}"#
        )
        let plain = try #require(
            try minted(MintSpec(secret: secret, lifetimeSeconds: 60, claims: claims), "ada"))
        #expect(try outcome(plain, spec()) == "ok ada")
        #expect(try outcome(plain, spec(), now: now + 60) == "token_expired")
    }

    @Test("One minter, many tokens, and into a buffer")
    func reuse() throws {
        var minter = try TokenMinter(MintSpec(algorithm: .hs512, secret: secret, lifetimeSeconds: 5))
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        for subject in ["a", "bb", "ccc", "a"] {
            let bytes = Array(subject.utf8)
            let done = minter.mint(subject: bytes.span, now: now, into: &buffer)
            #expect(done)
            let token = Array(string(buffer.bytes).utf8)
            buffer.consume(buffer.count)
            let decoded = try #require(DecodedToken(text: token))
            #expect(
                String(decoding: decoded.payload, as: UTF8.self)
                    == #"{"sub":"\#(subject)","iat":\#(now),"exp":\#(now + 5)}"#)
            #expect(decoded.signature.count == 64)
        }
        buffer.detach(to: &pool)
    }

    @Test("What cannot be minted")
    func refusedMinting() throws {
        let spec = MintSpec(secret: secret, lifetimeSeconds: 60)
        #expect(try minted(spec, "") == nil)
        #expect(try minted(spec, String(repeating: "a", count: 257)) == nil)
        #expect(try minted(spec, String(repeating: "\u{1}", count: 256)) != nil)
        func error(_ change: (inout MintSpec) -> Void) -> SigningError? {
            var changed = spec
            change(&changed)
            do throws(SigningError) {
                _ = try TokenMinter(changed)
                return nil
            } catch {
                return error
            }
        }
        #expect(error { $0.lifetimeSeconds = 0 } == .badLifetime)
        #expect(error { $0.secret = [1] } == .secretTooShort)
        #expect(error { $0.algorithm = .rs256 } == .algorithmDoesNotFitKey)
        #expect(error { $0.claims = [.init(name: "exp", value: .integer(1))] } == .reservedClaim("exp"))
        let twice = MintSpec.Claim(name: "x", value: .boolean(true))
        #expect(error { $0.claims = [twice, twice] } == .reservedClaim("x"))
    }
}
