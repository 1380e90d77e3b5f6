internal import Bytes
internal import Crypto

/// A key of an issuer, with all that decides whether it may verify a token.
struct VerificationKey {
    enum Material {
        case secret(HMACKey)
        case publicKey(PublicKey)
    }

    let identity: KeyIdentity
    /// The `kid`; nil for a key that has none.
    let keyID: [UInt8]?
    /// The algorithms that fit the key's type, its curve, its `alg` and the issuer's list (rule J1).
    let algorithms: AlgorithmSet
    let material: Material

    func verify(_ algorithm: SignatureAlgorithm, signed: Span<UInt8>, signature: Span<UInt8>) -> Bool {
        guard algorithms.contains(algorithm) else { return false }
        switch material {
        case .secret(let key): return key.algorithm == algorithm && key.isValid(signature, for: signed)
        case .publicKey(let key): return key.verify(algorithm, signed: signed, signature: signature)
        }
    }
}

extension KeyIdentity {
    /// The identity of key material with its `kid` and algorithms.
    init(issuer: Int, keyID: [UInt8]?, algorithms: AlgorithmSet, material: [UInt8]) {
        var input: [UInt8] = [UInt8(truncatingIfNeeded: issuer), keyID == nil ? 0 : 1]
        let kid = keyID ?? []
        for shift in [0, 8, 16, 24] { input.append(UInt8(truncatingIfNeeded: kid.count >> shift)) }
        input += kid
        input.append(UInt8(truncatingIfNeeded: algorithms.rawValue))
        input.append(UInt8(truncatingIfNeeded: algorithms.rawValue >> 8))
        input += material
        var function = SHA256()
        let digest = function.hash(input.span)
        self.init(high: digest.words.0, low: digest.words.1)
    }
}
