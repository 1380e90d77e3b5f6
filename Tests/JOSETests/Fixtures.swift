import Bytes
import COpenSSL
import Crypto
import Testing

@testable import JOSE

/// 2026-01-25T00:00:00Z: the clock of every test.
let now: Int64 = 1_769_299_200

let secret = Array("a-test-secret-of-more-than-32-bytes!".utf8)

extension DecodedToken {
    init?(text: [UInt8]) { self.init(text.span) }
}

extension CompactTokenSigner {
    func sign(_ payload: String) throws -> [UInt8] { try sign(payload: Array(payload.utf8).span) }

    func sign(header: String, _ payload: String) throws -> [UInt8] {
        try sign(header: Array(header.utf8).span, payload: Array(payload.utf8).span)
    }
}

/// A token of any two texts, signed by the test's secret.
func token(_ payload: String, header: String = #"{"alg":"HS256","typ":"JWT"}"#, secret: [UInt8] = secret)
    throws
    -> [UInt8]
{
    try CompactTokenSigner(algorithm: .hs256, key: .secret(secret)).sign(header: header, payload)
}

/// A good payload, with more members behind it.
func payload(_ more: String = "", sub: String = #""ada""#, exp: String = "\(now + 900)") -> String {
    #"{"sub":\#(sub),"iss":"https://i.example","aud":"tasks","iat":\#(now - 10),"exp":\#(exp)\#(more)}"#
}

/// The issuer of `payload`.
func spec(_ keys: IssuerSpec.KeySource = .secret(secret), _ algorithms: AlgorithmSet? = nil) -> IssuerSpec {
    var spec = IssuerSpec(
        issuer: "https://i.example", audiences: ["tasks", "notes"], keys: keys, algorithms: algorithms)
    spec.leewaySeconds = 0
    return spec
}

/// A verifier as an object: what is not copyable cannot pass through `#expect`.
final class TestVerifier {
    private var verifier: TokenVerifier

    init(issuers: [IssuerSpec], tokenLimitBytes: Int = TokenVerifier.defaultTokenLimitBytes)
        throws(IssuerFault)
    {
        verifier = try TokenVerifier(issuers: issuers, tokenLimitBytes: tokenLimitBytes)
    }

    var chosenIssuer: Int? { verifier.chosenIssuer }

    /// The subject behind "ok ", or the reason of the refusal.
    func outcome(
        _ token: [UInt8], _ accepted: IssuerSet = .init(index: 0), of route: IssuerSet = [],
        now clock: Int64 = now
    ) -> String {
        switch verifier.verify(token.span, acceptedBy: accepted, of: route, now: clock) {
        case .verified(let verified):
            let subject = Self.subject(verified)
            verifier.recycle(verified)
            return "ok \(subject)"
        case .refused(let refusal): return "\(refusal.code)"
        case .bound: return "bound"
        case .keysUnavailable: return "keys_unavailable"
        }
    }

    private static func subject(_ token: borrowing VerifiedToken) -> String { string(token.subject) }

    /// The key of a good token.
    func key(_ token: [UInt8]) -> KeyIdentity? {
        switch verifier.verify(token.span, acceptedBy: .init(index: 0), now: now) {
        case .verified(let verified): verified.key
        case .bound(let verified): verified.key
        case .refused: nil
        case .keysUnavailable: nil
        }
    }

    func replaceKeys(ofIssuer index: Int, with source: IssuerSpec.KeySource) throws(IssuerError) {
        try verifier.replaceKeys(ofIssuer: index, with: source)
    }

    func removeKeys(ofIssuer index: Int) { verifier.removeKeys(ofIssuer: index) }

    func contains(_ key: KeyIdentity, ofIssuer index: Int) -> Bool { verifier.contains(key, ofIssuer: index) }

    func keyReport(ofIssuer index: Int) -> KeySetReport? { verifier.keyReport(ofIssuer: index) }
}

func string(_ span: Span<UInt8>) -> String {
    var bytes: [UInt8] = []
    for index in 0..<span.count { bytes.append(span[index]) }
    return String(decoding: bytes, as: UTF8.self)
}

func outcome(_ token: [UInt8], _ spec: IssuerSpec, now clock: Int64 = now) throws -> String {
    try TestVerifier(issuers: [spec]).outcome(token, now: clock)
}

/// A key pair of the test run, in every form that tests want.
struct KeyPair {
    let type: KeyType
    let privatePEM: [UInt8]
    let publicPEM: [UInt8]
    /// The public members of the JWK, from `"kty"` on, without braces.
    let members: String

    init(_ type: KeyType) {
        self.type = type
        let key: OpaquePointer? =
            switch type {
            case .rsa: usher_generate_rsa_key(2048)
            case .p256: usher_generate_ec_key("prime256v1")
            case .p384: usher_generate_ec_key("secp384r1")
            case .p521: usher_generate_ec_key("secp521r1")
            case .ed25519: usher_generate_ed25519_key()
            }
        defer { EVP_PKEY_free(key) }
        privatePEM = Self.text { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
        publicPEM = Self.text { PEM_write_bio_PUBKEY($0, key) }
        members = Self.members(type, key)
    }

    /// The JWK with these members in front.
    func jwk(_ more: String = "") -> String { "{\(more)\(members)}" }

    func sign(_ algorithm: SignatureAlgorithm, _ payload: String, keyID: String? = nil) throws -> [UInt8] {
        try CompactTokenSigner(algorithm: algorithm, key: .privateKeyPEM(privatePEM), keyID: keyID).sign(
            payload)
    }

    private static func text(_ write: (OpaquePointer?) -> Int32) -> [UInt8] {
        let output = BIO_new(BIO_s_mem())
        defer { BIO_free(output) }
        guard write(output) == 1 else { return [] }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        let count = BIO_read(output, &bytes, Int32(bytes.count))
        return Array(bytes.prefix(Int(max(count, 0))))
    }

    private static func members(_ type: KeyType, _ key: OpaquePointer?) -> String {
        switch type {
        case .rsa:
            return #""kty":"RSA","n":"\#(number(key, "n"))","e":"\#(number(key, "e"))""#
        case .ed25519:
            var bytes = [UInt8](repeating: 0, count: 32)
            var count = 32
            EVP_PKEY_get_raw_public_key(key, &bytes, &count)
            return #""kty":"OKP","crv":"Ed25519","x":"\#(base64URL(bytes))""#
        case .p256, .p384, .p521:
            let (name, size) = type == .p256 ? ("P-256", 32) : type == .p384 ? ("P-384", 48) : ("P-521", 66)
            let (x, y) = (number(key, "qx", size), number(key, "qy", size))
            return #""kty":"EC","crv":"\#(name)","x":"\#(x)","y":"\#(y)""#
        }
    }

    private static func number(_ key: OpaquePointer?, _ name: String, _ size: Int? = nil) -> String {
        var number: OpaquePointer?
        guard EVP_PKEY_get_bn_param(key, name, &number) == 1 else { return "" }
        defer { BN_free(number) }
        let count = size ?? Int((BN_num_bits(number) + 7) / 8)
        var bytes = [UInt8](repeating: 0, count: count)
        BN_bn2binpad(number, &bytes, Int32(count))
        return base64URL(bytes)
    }
}

func base64URL(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    text.append(base64URL: bytes.span)
    return String(decoding: text, as: UTF8.self)
}

func jwks(_ keys: String...) -> IssuerSpec.KeySource {
    .jwks(Array(#"{"keys":[\#(keys.joined(separator: ","))]}"#.utf8))
}
