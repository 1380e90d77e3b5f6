import COpenSSL
import Testing

@testable import Crypto

private let message = Array("eyJhbGciOiJFUzI1NiJ9.e30".utf8)

@Suite("Signatures")
struct SignatureTests {
    static let pairs: [(KeyType, SignatureAlgorithm)] = [
        (.rsa, .rs256), (.rsa, .rs384), (.rsa, .rs512), (.rsa, .ps256), (.rsa, .ps384), (.rsa, .ps512),
        (.p256, .es256), (.p384, .es384), (.p521, .es512), (.ed25519, .edDSA),
    ]

    @Test(
        "Sign and verify, again and again with one key; one flipped bit of message or signature is refused",
        arguments: pairs)
    func roundTrip(type: KeyType, algorithm: SignatureAlgorithm) throws {
        let privateKey = try TestKeys.make(type)
        let key = try privateKey.publicKey()
        #expect(key.type == type)
        for _ in 0..<3 {
            let signature = try privateKey.sign(algorithm, message)
            #expect(key.verify(algorithm, signed: message, signature: signature))
            for index in [0, signature.count / 2, signature.count - 1] {
                var bad = signature
                bad[index] ^= 1
                #expect(!key.verify(algorithm, signed: message, signature: bad))
            }
            var other = message
            other[3] ^= 1
            #expect(!key.verify(algorithm, signed: other, signature: signature))
            #expect(!key.verify(algorithm, signed: message, signature: Array(signature.dropLast())))
            #expect(!key.verify(algorithm, signed: message, signature: (signature + [0])))
            #expect(!key.verify(algorithm, signed: message, signature: ([0] + signature)))
            #expect(!key.verify(algorithm, signed: message, signature: [UInt8]()))
        }
        let stranger = try TestKeys.make(type, 1).sign(algorithm, message)
        #expect(!key.verify(algorithm, signed: message, signature: stranger))
    }

    @Test("J1: a key verifies only what fits its type and curve", arguments: pairs)
    func fit(type: KeyType, algorithm: SignatureAlgorithm) throws {
        let privateKey = try TestKeys.make(type)
        let key = try privateKey.publicKey()
        let signature = try privateKey.sign(algorithm, message)
        for other in SignatureAlgorithm.allCases where other != algorithm {
            #expect(!key.verify(other, signed: message, signature: signature))
        }
        for other in SignatureAlgorithm.allCases where !type.algorithms.contains(other) {
            #expect(throws: KeyError.algorithmDoesNotFit) { try privateKey.sign(other, message) }
        }
    }

    @Test(
        "J18: a failure leaves nothing on the error queue, and a poisoned queue harms no good signature",
        arguments: pairs)
    func errorQueue(type: KeyType, algorithm: SignatureAlgorithm) throws {
        let privateKey = try TestKeys.make(type)
        let key = try privateKey.publicKey()
        let signature = try privateKey.sign(algorithm, message)
        var bad = signature
        bad[bad.count / 2] ^= 0x55
        #expect(!key.verify(algorithm, signed: message, signature: bad))
        #expect(ERR_peek_error() == 0)
        #expect(EVP_MD_fetch(nil, "no such digest", nil) == nil)
        #expect(ERR_peek_error() != 0)
        #expect(key.verify(algorithm, signed: message, signature: signature))
        #expect(ERR_peek_error() == 0)
        #expect(throws: KeyError.self) {
            try PublicKey(pem: Array("-----BEGIN PUBLIC KEY-----\nAAAA\n".utf8))
        }
        #expect(ERR_peek_error() == 0)
    }

    @Test(
        "J11: r and s must be above 0 and below n, in exactly two field elements",
        arguments: [KeyType.p256, .p384, .p521])
    func ecdsaRange(type: KeyType) throws {
        let privateKey = try TestKeys.make(type)
        let key = try privateKey.publicKey()
        let algorithm = type.algorithms.algorithms[0]
        let good = try privateKey.sign(algorithm, message)
        let size = good.count / 2
        #expect(size == [.p256: 32, .p384: 48, .p521: 66][type])
        let (r, s) = (Array(good.prefix(size)), Array(good.suffix(size)))
        let zero = [UInt8](repeating: 0, count: size)
        let ones = [UInt8](repeating: 0xff, count: size)
        var above = type.order
        above[size - 1] += 1
        for bad in [zero, type.order, above, ones] {
            #expect(!key.verify(algorithm, signed: message, signature: (bad + s)))
            #expect(!key.verify(algorithm, signed: message, signature: (r + bad)))
            #expect(encodes(bad + s, type) == nil)
            #expect(encodes(r + bad, type) == nil)
        }
        #expect(!key.verify(algorithm, signed: message, signature: (zero + zero)))
        var below = type.order
        below[size - 1] -= 1
        #expect(encodes(below + below, type) != nil)
        for count in [0, 1, size, 2 * size - 1, 2 * size + 1, 2 * size + 2, 4096] {
            let bytes = Array((good + [UInt8](repeating: 1, count: 4096)).prefix(count))
            #expect(!key.verify(algorithm, signed: message, signature: bytes))
        }
    }

    @Test("J11: the DER form is refused, and is what OpenSSL reads", arguments: [KeyType.p256, .p384, .p521])
    func ecdsaDER(type: KeyType) throws {
        let privateKey = try TestKeys.make(type)
        let key = try privateKey.publicKey()
        let algorithm = type.algorithms.algorithms[0]
        for _ in 0..<20 {
            let raw = try privateKey.sign(algorithm, message)
            let der = try #require(encodes(raw, type))
            #expect(!key.verify(algorithm, signed: message, signature: der))
            #expect(key.verify(algorithm, signed: message, signature: raw))
        }
        let size = type.fieldByteCount
        let small = [UInt8](repeating: 0, count: size - 1) + [1]
        let high = [UInt8](repeating: 0, count: size - 1) + [0x80]
        #expect(encodes(small + high, type) == [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80])
    }

    private func encodes(_ raw: [UInt8], _ type: KeyType) -> [UInt8]? {
        var output = [UInt8](repeating: 0, count: ECDSASignature.largestDERByteCount)
        let count = output.withUnsafeMutableBytes { room in
            raw.withUnsafeBytes { ECDSASignature.encode($0, for: type, into: room) }
        }
        return count.map { Array(output.prefix($0)) }
    }

    @Test("PSS: the salt must be as long as the digest, and RSA paddings do not stand for each other")
    func rsaPadding() throws {
        let privateKey = try TestKeys.make(.rsa)
        let key = try privateKey.publicKey()
        let pkcs1 = try privateKey.sign(.rs256, message)
        let pss = try privateKey.sign(.ps256, message)
        #expect(!key.verify(.ps256, signed: message, signature: pkcs1))
        #expect(!key.verify(.rs256, signed: message, signature: pss))
        for salt in [0, 20, 31, 33, 64] {
            let signature = try #require(privateKey.signPSS(message, saltByteCount: Int32(salt)))
            #expect(!key.verify(.ps256, signed: message, signature: signature))
        }
        let signature = try #require(privateKey.signPSS(message, saltByteCount: 32))
        #expect(key.verify(.ps256, signed: message, signature: signature))
        #expect(!key.verify(.rs256, signed: message, signature: [UInt8](repeating: 0, count: 256)))
        #expect(
            !key.verify(.rs256, signed: message, signature: [UInt8](repeating: 0xff, count: 256)))
    }

    @Test("Ed25519: S + L is refused, so that a signature has one spelling")
    func ed25519Malleability() throws {
        let privateKey = try PrivateKey(generating: .ed25519)
        let key = try privateKey.publicKey()
        let good = try privateKey.sign(.edDSA, message)
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        var bad = good
        var carry = 0
        for index in 0..<32 {
            let sum = Int(good[32 + index]) + Int(order[index]) + carry
            bad[32 + index] = UInt8(truncatingIfNeeded: sum)
            carry = sum >> 8
        }
        #expect(!key.verify(.edDSA, signed: message, signature: bad))
        #expect(key.verify(.edDSA, signed: message, signature: good))
    }
}

extension PrivateKey {
    /// A PSS signature with a salt of any length, by OpenSSL's command-line-like interface alone.
    func signPSS(_ message: [UInt8], saltByteCount: Int32) -> [UInt8]? {
        withHandle { key in
            let context = EVP_MD_CTX_new()
            defer { EVP_MD_CTX_free(context) }
            var parameters: OpaquePointer?
            guard EVP_DigestSignInit(context, &parameters, EVP_sha256(), nil, key) == 1,
                EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1,
                EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, saltByteCount) == 1
            else { return nil }
            var output = [UInt8](repeating: 0, count: 256)
            var count = output.count
            guard EVP_DigestSign(context, &output, &count, message, message.count) == 1 else { return nil }
            return Array(output.prefix(count))
        }
    }
}
