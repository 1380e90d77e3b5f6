import Testing

@testable import Crypto

@Suite("Key derivation and AES-256-CBC with HMAC-SHA512")
struct EncryptionKeyTests {
    @Test("RFC 5869 §A.1 and §A.2")
    func derivation() {
        let first = HKDF.derive(
            secret: [UInt8](repeating: 0x0b, count: 22), salt: Array(0x00...0x0c), info: Array(0xf0...0xf9),
            byteCount: 42)
        #expect(
            first
                == hex(
                    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
        let second = HKDF.derive(
            secret: Array(0x00...0x4f), salt: Array(0x60...0xaf), info: Array(0xb0...0xff), byteCount: 82)
        #expect(
            second
                == hex(
                    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                        + "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"))
        #expect(HKDF.derive(secret: [], salt: [1], info: [], byteCount: 1) == nil)
        #expect(HKDF.derive(secret: [1], salt: [], info: [], byteCount: 1) == nil)
    }

    /// RFC 7518 §B.3.
    private struct Vector {
        let key = Array(0x00...0x3f) as [UInt8]
        let plaintext = hex(
            "41206369706865722073797374656d206d757374206e6f7420626520726571756972656420746f206265207365637265"
                + "742c20616e64206974206d7573742062652061626c6520746f2066616c6c20696e746f207468652068616e6473206f66"
                + "2074686520656e656d7920776974686f757420696e636f6e76656e69656e6365")
        var vector = hex("1af38c2dc2b96ffdd86694092341bc04")
        var associated = hex(
            "546865207365636f6e64207072696e6369706c65206f662041756775737465204b6572636b686f666673")
        var ciphertext = hex(
            "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2"
                + "e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3"
                + "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6"
        )
        var tag = hex("4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5")

        func open(room: Int = 256) -> [UInt8]? {
            guard let key = EncryptionKey(key.span) else { return nil }
            var output = [UInt8](repeating: 0, count: room)
            var span = output.mutableSpan
            let count = key.open(
                ciphertext.span, vector: vector.span, tag: tag.span, associatedData: associated.span,
                into: &span)
            return count.map { Array(output.prefix($0)) }
        }
    }

    @Test("RFC 7518 §B.3")
    func opens() { #expect(Vector().open() == Vector().plaintext) }

    @Test("One bit anywhere, or a byte less, and nothing is opened")
    func refuses() {
        let places: [WritableKeyPath<Vector, [UInt8]>] = [\.vector, \.associated, \.ciphertext, \.tag]
        for place in places {
            var flipped = Vector()
            flipped[keyPath: place][0] ^= 1
            #expect(flipped.open() == nil)
            var cut = Vector()
            cut[keyPath: place].removeLast()
            #expect(cut.open() == nil)
            var empty = Vector()
            empty[keyPath: place] = []
            #expect(empty.open() == nil)
        }
        #expect(Vector().open(room: 143) == nil)
        #expect(EncryptionKey([UInt8](repeating: 1, count: 63).span) == nil)
    }
}
