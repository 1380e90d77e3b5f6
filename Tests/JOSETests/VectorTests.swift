import Crypto
import Foundation
import Testing

@testable import JOSE

@Suite("Published vectors")
struct VectorTests {
    private func issuer(_ keys: IssuerSpec.KeySource, _ algorithms: AlgorithmSet) throws -> IssuerSpec {
        var spec = IssuerSpec(issuer: "joe", audiences: nil, keys: keys, algorithms: algorithms)
        spec.subject = [try #require(ClaimPath("iss"))]
        spec.leewaySeconds = 0
        return spec
    }

    private static let joe =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    private static let rsaModulus =
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"

    private static let tokens: [(SignatureAlgorithm, header: String, signature: String, key: String)] = [
        (
            .hs256, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ""
        ),
        (
            .rs256, "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            #"{"kty":"RSA","n":"\#(rsaModulus)","e":"AQAB"}"#
        ),
        (
            .es256, "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
        ),
    ]

    @Test("RFC 7515 §A.1 to §A.3: header and payload with CRLF, signature, expiry", arguments: 0..<3)
    func rfc7515(index: Int) throws {
        let vector = Self.tokens[index]
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
        let secret = [UInt8](Data(base64Encoded: Self.standard(key)) ?? Data())
        #expect(secret.count == 64)
        let source: IssuerSpec.KeySource = vector.0 == .hs256 ? .secret(secret) : jwks(vector.key)
        let spec = try issuer(source, AlgorithmSet(vector.0))
        let token = Array("\(vector.header).\(Self.joe).\(vector.signature)".utf8)
        #expect(try outcome(token, spec, now: 1_300_819_379) == "ok joe")
        #expect(try outcome(token, spec, now: 1_300_819_380) == "token_expired")
        let decoded = try #require(DecodedToken(text: token))
        #expect(
            String(decoding: decoded.payload, as: UTF8.self).contains(
                "\r\n \"http://example.com/is_root\":true"))
    }

    private static func standard(_ text: String) -> String {
        let plain = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        return plain + String(repeating: "=", count: (4 - plain.count % 4) % 4)
    }

    private func bytes(_ text: String) -> [UInt8] {
        [UInt8](Data(base64Encoded: Self.standard(text)) ?? Data())
    }

    @Test("RFC 7515 §A.4: ES512, whose numbers have a leading zero bit")
    func es512() throws {
        let x = bytes(
            "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk")
        let y = bytes(
            "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2")
        let signature = bytes(
            "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
        )
        let key = try PublicKey(curve: .p521, x: x.span, y: y.span)
        let message = Array("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA".utf8)
        let holds = key.verify(.es512, signed: message.span, signature: signature.span)
        #expect(holds)
        let other = Array("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZB".utf8)
        let holdsForOther = key.verify(.es512, signed: other.span, signature: signature.span)
        #expect(!holdsForOther)
    }

    @Test("RFC 8037 §A.4: Ed25519")
    func ed25519() throws {
        let key = try PublicKey(ed25519: bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").span)
        let message = Array("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".utf8)
        let signature = bytes(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        let holds = key.verify(.edDSA, signed: message.span, signature: signature.span)
        #expect(holds)
    }
}

@Suite("Better Auth 1.7.1")
struct BetterAuthVectorTests {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        let kind: String
        let id: String
        let token: String?
        let valid: Bool
        var testDescription: String { "\(kind)/\(id)" }
    }

    private struct Meta: Decodable {
        let now: Int64
        let secret: String
        let issuer: String
        let audience: String
        let userId: String
    }

    private struct File: Decodable {
        let meta: Meta
        let cases: [Case]
    }

    private static let text: Data = {
        let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        return (try? Data(contentsOf: url.appendingPathComponent("Vectors/better-auth.json"))) ?? Data()
    }()

    private static let file = try? JSONDecoder().decode(File.self, from: text)

    private static func cases(_ kind: String) -> [Case] { file?.cases.filter { $0.kind == kind } ?? [] }

    @Test("The file is there and has the cases")
    func complete() {
        #expect(Self.cases("bearer-jwks").count == 65)
        #expect(Self.cases("bearer-hs256").count == 15)
    }

    @Test("Tokens of the jwt plugin, and what must not pass for one", arguments: cases("bearer-jwks"))
    func bearerJWKS(vector: Case) throws {
        let meta = try #require(Self.file).meta
        let object = try JSONSerialization.jsonObject(with: Self.text) as? [String: Any]
        let keys = try JSONSerialization.data(withJSONObject: try #require(object?["jwks"]))
        let algorithms = AlgorithmSet([.edDSA, .es256, .es512, .rs256, .ps256])
        var spec = IssuerSpec(
            issuer: meta.issuer, audiences: [meta.audience], keys: .jwks([UInt8](keys)),
            algorithms: algorithms)
        spec.leewaySeconds = 0
        spec.types = ["JWT"]
        spec.requiresNamedKeys = true
        spec.refusedClaims = ["azp", "client_id", "scope", "events"]
        try check(vector, spec, meta)
    }

    @Test("Home-made tokens with the shared secret", arguments: cases("bearer-hs256"))
    func bearerHS256(vector: Case) throws {
        let meta = try #require(Self.file).meta
        var spec = IssuerSpec(issuer: nil, audiences: nil, keys: .secret(Array(meta.secret.utf8)))
        spec.leewaySeconds = 0
        spec.types = ["JWT"]
        try check(vector, spec, meta)
    }

    private func check(_ vector: Case, _ spec: IssuerSpec, _ meta: Meta) throws {
        let token = try #require(vector.token)
        let outcome = try outcome(Array(token.utf8), spec, now: meta.now)
        #expect(outcome == "ok \(meta.userId)" || !vector.valid, "\(outcome)")
        #expect(!outcome.hasPrefix("ok") || vector.valid, "\(outcome)")
        #expect(outcome != "keys_unavailable")
    }
}
