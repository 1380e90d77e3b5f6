import Crypto
import Foundation
import Testing

/// What is known to go wrong with Ed25519: points of small order, points in other forms, signatures in other forms.
@Suite("Ed25519")
struct Ed25519Tests {
    private static func bytes(_ hex: String) -> [UInt8] {
        stride(from: 0, to: hex.count, by: 2).compactMap { place in
            let start = hex.index(hex.startIndex, offsetBy: place)
            return UInt8(hex[start..<hex.index(start, offsetBy: 2)], radix: 16)
        }
    }

    // RFC 8032 §7.1, TEST 2 and TEST 3.
    private static let good = [
        (
            key: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", message: "72",
            signature:
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
        (
            key: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", message: "af82",
            signature:
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ]
    /// The order of the group, least significant byte first.
    private static let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")

    private func holds(_ key: PublicKey, _ message: [UInt8], _ signature: [UInt8]) -> Bool {
        key.verify(.edDSA, signed: message.span, signature: signature.span)
    }

    @Test(
        "RFC 8032 §7.1: signatures hold, and in no other form: S + L, S + 2L, S with its high bits",
        arguments: 0..<2)
    func malleability(index: Int) throws {
        let vector = Self.good[index]
        let key = try PublicKey(ed25519: Self.bytes(vector.key).span)
        let (message, signature) = (Self.bytes(vector.message), Self.bytes(vector.signature))
        #expect(holds(key, message, signature))
        var other = signature
        for _ in 0..<2 {
            var carry = 0
            for place in 0..<32 {
                carry += Int(other[32 + place]) + Int(Self.order[place])
                other[32 + place] = UInt8(truncatingIfNeeded: carry)
                carry >>= 8
            }
            #expect(!holds(key, message, other))
        }
        for bit: UInt8 in [0x20, 0x40, 0x80] {
            other = signature
            other[63] |= bit
            #expect(!holds(key, message, other))
        }
    }

    private static let weak = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ]

    @Test("All eight points of small order are no keys", arguments: weak)
    func smallOrder(point: String) {
        #expect(throws: KeyError.weakPoint) { try PublicKey(ed25519: Self.bytes(point).span) }
    }

    @Test("Neither is one in a PEM text, where a signature of nothing would hold for every message")
    func smallOrderInPEM() {
        let der = Self.bytes("302a300506032b6570032100" + Self.weak[0])
        let text = Data(der).base64EncodedString()
        #expect(throws: KeyError.weakPoint) {
            try PublicKey(
                pem: Array("-----BEGIN PUBLIC KEY-----\n\(text)\n-----END PUBLIC KEY-----\n".utf8).span)
        }
    }

    @Test(
        "Points that are not in their one form are no keys: y from 2^255 - 19 on, and an x of zero with a sign",
        arguments: [
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "f1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ])
    func otherForms(point: String) {
        #expect(throws: KeyError.weakPoint) { try PublicKey(ed25519: Self.bytes(point).span) }
    }

    @Test("The largest y is still one, as far as its form goes")
    func largest() throws {
        _ = try PublicKey(
            ed25519: Self.bytes("ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f").span)
    }

    @Test("A point R of small order, and S = 0, sign nothing for a good key", arguments: weak)
    func forgery(point: String) throws {
        for vector in Self.good {
            let key = try PublicKey(ed25519: Self.bytes(vector.key).span)
            let signature = Self.bytes(point) + [UInt8](repeating: 0, count: 32)
            for message in [[], Self.bytes(vector.message), Array("eyJhbGciOiJFZERTQSJ9.e30".utf8)] {
                #expect(!holds(key, message, signature))
            }
        }
    }
}
