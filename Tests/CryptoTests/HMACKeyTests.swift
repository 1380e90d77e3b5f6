import Testing

@testable import Crypto

func hex(_ text: String) -> [UInt8] {
    let digits = Array(text.utf8.filter { $0 != 0x20 && $0 != 0x0a })
    return stride(from: 0, to: digits.count, by: 2).compactMap {
        UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
    }
}

@Suite("HMAC, digests, random, comparison")
struct HMACKeyTests {
    private func code(_ key: HMACKey, _ message: [UInt8], room: Int = 64) -> [UInt8]? {
        var output = [UInt8](repeating: 0, count: room)
        var span = output.mutableSpan
        guard let count = key.authenticate(message.span, into: &span) else { return nil }
        return Array(output.prefix(count))
    }

    @Test(
        "RFC 4231 test case 2",
        arguments: [
            (
                SignatureAlgorithm.hs256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                .hs384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
            ),
            (
                .hs512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
            ),
        ])
    func vectors(algorithm: SignatureAlgorithm, expected: String) throws {
        let secret = Array("Jefe".utf8)
        let key = try #require(HMACKey(algorithm: algorithm, secret: secret))
        let message = Array("what do ya want for nothing?".utf8)
        #expect(code(key, message) == hex(expected))
        #expect(code(key, message) == hex(expected), "the context is used again")
        #expect(key.isValid(hex(expected), for: message))
    }

    @Test("RFC 4231 test case 6: a key longer than the block")
    func longKey() throws {
        let secret = [UInt8](repeating: 0xaa, count: 131)
        let key = try #require(HMACKey(algorithm: .hs256, secret: secret))
        let message = Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)
        #expect(code(key, message) == hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"))
    }

    @Test("J19: every flipped bit, a shorter and a longer code are refused")
    func refused() throws {
        let secret = [UInt8](repeating: 7, count: 32)
        let key = try #require(HMACKey(algorithm: .hs256, secret: secret))
        let message: [UInt8] = [1, 2, 3]
        let good = try #require(code(key, message))
        for bit in 0..<256 {
            var bad = good
            bad[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!key.isValid(bad, for: message))
        }
        #expect(!key.isValid(Array(good.dropLast()), for: message))
        #expect(!key.isValid((good + [0]), for: message))
        #expect(!key.isValid([UInt8](), for: message))
        #expect(key.isValid(good, for: message))
    }

    @Test("Empty secrets, other algorithms and too little room are refused")
    func misuse() throws {
        let secret = [UInt8](repeating: 7, count: 32)
        #expect(HMACKey(algorithm: .hs256, secret: [UInt8]()) == nil)
        #expect(HMACKey(algorithm: .rs256, secret: secret) == nil)
        let key = try #require(HMACKey(algorithm: .hs256, secret: secret))
        #expect(code(key, [], room: 31) == nil)
        #expect(code(key, [])?.count == 32)
    }

    @Test("SHA-256 of FIPS 180-4, twice with one context")
    func sha256() {
        var function = SHA256()
        let abc = Array("abc".utf8)
        for _ in 0..<2 {
            let digest = function.hash(abc.span)
            let bytes = [digest.words.0, digest.words.1, digest.words.2, digest.words.3].flatMap { word in
                (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
            }
            #expect(bytes == hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        }
        let ofABC = function.hash(abc.span)
        let ofNothing = function.hash([UInt8]().span)
        #expect(ofABC != ofNothing)
    }

    @Test("J19: comparison in constant time says what == says")
    func constantTime() {
        let a: [UInt8] = [1, 2, 3]
        #expect(ConstantTime.equal(a, [1, 2, 3]))
        #expect(!ConstantTime.equal(a, [1, 2, 4]))
        #expect(!ConstantTime.equal(a, [1, 2]))
        #expect(ConstantTime.equal([UInt8](), [UInt8]()))
    }

    @Test("Random bytes differ")
    func random() throws {
        let a = try #require(Random.bytes(32))
        #expect(a != Random.bytes(32))
        #expect(Random.bytes(0) == [])
        #expect(Random.uint64() != Random.uint64())
    }

    @Test("J2: only exact names are algorithms")
    func names() {
        for algorithm in SignatureAlgorithm.allCases {
            #expect(SignatureAlgorithm("\(algorithm.name)") == algorithm)
        }
        for name in [
            "none", "None", "nOnE", "", "hs256", "HS257", "HS2560", "Ed25519", "EDDSA", "XS256", "ES256K",
        ] {
            #expect(SignatureAlgorithm(name) == nil)
        }
        #expect(AlgorithmSet([.rs256, .edDSA]).algorithms == [.rs256, .edDSA])
        #expect(!AlgorithmSet([.rs256]).contains(.ps256))
    }
}
