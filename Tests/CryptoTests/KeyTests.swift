import COpenSSL
import Testing

@testable import Crypto

/// Keys as PEM text, written by OpenSSL itself.
enum PEM {
    static func publicKey(_ key: OpaquePointer) -> [UInt8] { text { PEM_write_bio_PUBKEY($0, key) } }

    static func privateKey(_ key: OpaquePointer) -> [UInt8] {
        text { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    private static func text(_ write: (OpaquePointer?) -> Int32) -> [UInt8] {
        let output = BIO_new(BIO_s_mem())
        defer { BIO_free(output) }
        guard write(output) == 1 else { return [] }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        let count = BIO_read(output, &bytes, Int32(bytes.count))
        return Array(bytes.prefix(Int(max(count, 0))))
    }
}

/// Private keys for tests. RSA keys take long to make: two serve the whole run.
enum TestKeys {
    private static let rsa: [[UInt8]] = (0..<2).map { _ in
        (try? PrivateKey(generating: .rsa))?.withHandle { PEM.privateKey($0) } ?? []
    }

    static func make(_ type: KeyType, _ index: Int = 0) throws -> PrivateKey {
        type == .rsa ? try PrivateKey(pem: rsa[index]) : try PrivateKey(generating: type)
    }
}

@Suite("Keys")
struct KeyTests {
    @Test("PEM round trip", arguments: [KeyType.rsa, .p256, .p384, .p521, .ed25519])
    func pem(type: KeyType) throws {
        let made = try TestKeys.make(type)
        let privateKey = try PrivateKey(pem: made.withHandle { PEM.privateKey($0) })
        let pem = made.withHandle { PEM.publicKey($0) }
        let key = try PublicKey(pem: pem)
        #expect(key.type == type && privateKey.type == type)
        #expect(try key.encoded() == made.publicKey().encoded())
        #expect(!key.encoded().isEmpty)
        let algorithm = type.algorithms.algorithms[0]
        let signature = try privateKey.sign(algorithm, pem)
        #expect(key.verify(algorithm, signed: pem, signature: signature))
        let commented = Array("# key of the issuer\n".utf8) + pem
        #expect(try PublicKey(pem: commented).encoded() == key.encoded())
    }

    @Test("A private key, a certificate, garbage and cut text are no public key")
    func refusedPEM() throws {
        let made = try PrivateKey(generating: .p256)
        let privatePEM = made.withHandle { PEM.privateKey($0) }
        #expect(throws: KeyError.notAPublicKey) { try PublicKey(pem: privatePEM) }
        let certificate = Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8)
        #expect(throws: KeyError.notAPublicKey) { try PublicKey(pem: certificate) }
        #expect(throws: KeyError.malformedPEM) { try PublicKey(pem: [UInt8]()) }
        #expect(throws: KeyError.malformedPEM) { try PublicKey(pem: Array("hello".utf8)) }
        let pem = made.withHandle { PEM.publicKey($0) }
        #expect(throws: KeyError.malformedPEM) { try PublicKey(pem: Array(pem.prefix(60))) }
        #expect(throws: KeyError.malformedPEM) { try PrivateKey(pem: pem) }
    }

    @Test("J23: RSA of 1024 bits, unknown curves and Ed448 are refused")
    func refusedTypes() {
        #expect(throws: KeyError.modulusTooSmall) { try PrivateKey(generating: .rsa, modulusBits: 1024) }
        let others: [OpaquePointer?] = [
            usher_generate_ec_key("secp256k1"), EVP_PKEY_Q_keygen_ed448(),
            usher_generate_ec_key("prime192v1"),
        ]
        for other in others {
            guard let other else { continue }
            let pem = PEM.publicKey(other)
            EVP_PKEY_free(other)
            #expect(throws: KeyError.unsupportedKey) { try PublicKey(pem: pem) }
        }
    }

    private func EVP_PKEY_Q_keygen_ed448() -> OpaquePointer? {
        let context = EVP_PKEY_CTX_new_from_name(nil, "ED448", nil)
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        EVP_PKEY_keygen_init(context)
        EVP_PKEY_keygen(context, &key)
        return key
    }

    @Test("EC components: the point must be on the curve, the coordinates exactly as long as the field")
    func ecComponents() throws {
        // RFC 7515 §A.3.
        let x = hex("7fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445")
        let y = hex("c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ad")
        #expect(try PublicKey(curve: .p256, x: x, y: y).type == .p256)
        var off = y
        off[31] ^= 1
        #expect(throws: KeyError.pointNotOnCurve) { try PublicKey(curve: .p256, x: x, y: off) }
        let zero = [UInt8](repeating: 0, count: 32)
        #expect(throws: KeyError.pointNotOnCurve) { try PublicKey(curve: .p256, x: zero, y: zero) }
        #expect(throws: KeyError.badCoordinateSize) { try PublicKey(curve: .p384, x: x, y: y) }
        #expect(throws: KeyError.badCoordinateSize) {
            try PublicKey(curve: .p256, x: ([0] + x), y: y)
        }
        #expect(throws: KeyError.unsupportedKey) { try PublicKey(curve: .ed25519, x: x, y: y) }
        #expect(throws: KeyError.badCoordinateSize) { try PublicKey(ed25519: ([0] + x)) }
    }

    @Test(
        "EC points of the larger curves: on the curve, or refused, from components and from PEM",
        arguments: [
            (
                KeyType.p384, "3076301006072a8648ce3d020106052b8104002203620004",
                "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
                "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
            ),
            (
                KeyType.p521, "30819b301006072a8648ce3d020106052b810400230381860004",
                "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de"
                    + "3348b3c1856a429bf97e7e31c2e5bd66",
                "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761"
                    + "353c7086a272c24088be94769fd16650"
            ),
        ])
    func largerCurves(type: KeyType, prefix: String, x: String, y: String) throws {
        func pem(_ point: [UInt8]) -> [UInt8] {
            let bytes = hex(prefix) + point
            var base64 = [UInt8](repeating: 0, count: 4 * ((bytes.count + 2) / 3) + 1)
            let count = EVP_EncodeBlock(&base64, bytes, Int32(bytes.count))
            let text = String(decoding: base64.prefix(Int(count)), as: UTF8.self)
            return Array("-----BEGIN PUBLIC KEY-----\n\(text)\n-----END PUBLIC KEY-----\n".utf8)
        }
        let (x, y) = (hex(x), hex(y))
        #expect(try PublicKey(curve: type, x: x, y: y).type == type)
        #expect(try PublicKey(pem: pem(x + y).span).type == type)
        var off = y
        off[off.count - 1] ^= 1
        let large = [UInt8](repeating: 0xff, count: x.count)
        for (x, y) in [(x, off), (large, y), (y, x)] {
            #expect(throws: KeyError.pointNotOnCurve) { try PublicKey(curve: type, x: x, y: y) }
            #expect(throws: KeyError.self) { try PublicKey(pem: pem(x + y).span) }
        }
    }

    @Test("RSA components: sizes and exponents")
    func rsaComponents() throws {
        let modulus = [0xc0] + [UInt8](repeating: 0x11, count: 255)
        #expect(try PublicKey(modulus: modulus, exponent: [1, 0, 1]).type == .rsa)
        #expect(try PublicKey(modulus: ([0] + modulus), exponent: [3]).type == .rsa)
        for exponent in [[], [0], [1], [2], [1, 0, 0], [UInt8](repeating: 1, count: 9)] as [[UInt8]] {
            #expect(throws: KeyError.badExponent) {
                try PublicKey(modulus: modulus, exponent: exponent)
            }
        }
        #expect(throws: KeyError.modulusTooSmall) {
            try PublicKey(modulus: Array(modulus.prefix(255)), exponent: [3])
        }
        let small: [UInt8] = [0x7f] + [UInt8](repeating: 0x11, count: 255)
        #expect(throws: KeyError.modulusTooSmall) { try PublicKey(modulus: small, exponent: [3]) }
        let large: [UInt8] = [0xc1] + [UInt8](repeating: 0x11, count: 1024)
        #expect(throws: KeyError.modulusTooLarge) { try PublicKey(modulus: large, exponent: [3]) }
        let huge = [UInt8](repeating: 0x11, count: 2000)
        #expect(throws: KeyError.modulusTooLarge) { try PublicKey(modulus: huge, exponent: [3]) }
    }
}
