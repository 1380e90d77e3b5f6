@testable import Crypto

// Spans cannot pass through `#expect`: the same calls with arrays.

extension HMACKey {
    convenience init?(algorithm: SignatureAlgorithm, secret: [UInt8]) {
        self.init(algorithm: algorithm, secret: secret.span)
    }

    func isValid(_ code: [UInt8], for message: [UInt8]) -> Bool { isValid(code.span, for: message.span) }
}

extension PublicKey {
    convenience init(pem: [UInt8]) throws(KeyError) { try self.init(pem: pem.span) }

    convenience init(modulus: [UInt8], exponent: [UInt8]) throws(KeyError) {
        try self.init(modulus: modulus.span, exponent: exponent.span)
    }

    convenience init(curve: KeyType, x: [UInt8], y: [UInt8]) throws(KeyError) {
        try self.init(curve: curve, x: x.span, y: y.span)
    }

    convenience init(ed25519 x: [UInt8]) throws(KeyError) { try self.init(ed25519: x.span) }

    func verify(_ algorithm: SignatureAlgorithm, signed: [UInt8], signature: [UInt8]) -> Bool {
        verify(algorithm, signed: signed.span, signature: signature.span)
    }
}

extension PrivateKey {
    convenience init(pem: [UInt8]) throws(KeyError) { try self.init(pem: pem.span) }

    func sign(_ algorithm: SignatureAlgorithm, _ message: [UInt8]) throws(KeyError) -> [UInt8] {
        try sign(algorithm, message.span)
    }
}

extension ConstantTime {
    static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool { equal(a.span, b.span) }
}

extension Random {
    static func bytes(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        return fill(&span) ? bytes : nil
    }
}
