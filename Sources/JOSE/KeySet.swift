internal import Bytes
internal import Crypto

/// Why a JWK Set as a whole cannot be used.
public enum KeySetError: Error, Equatable, Sendable {
    /// More than 256 KiB (rule J10).
    case tooLarge
    /// Not a strict JSON object with an array `keys` (RFC 7517 §5).
    case malformed
    /// More than 100 keys (rule J10).
    case tooManyKeys
    /// Not one key that could verify a signature for this issuer.
    case noUsableKey
}

/// A key of a JWK Set that was left out, for the log.
public struct SkippedKey: Sendable, Equatable {
    /// The place in the set, from 0.
    public let index: Int
    /// The reason as a short phrase.
    public let reason: String
}

/// What became of a JWK Set.
public struct KeySetReport: Sendable, Equatable {
    /// The number of keys that can verify signatures for the issuer.
    public var usableKeys = 0
    /// The keys that were left out (rule J23).
    public var skipped: [SkippedKey] = []

    /// A report of nothing.
    public init() {}

    /// What would become of the issuer's JWK Set, also of one that holds no usable key; of nothing where there is no such set.
    public init(_ spec: IssuerSpec) {
        guard case .jwks(let text) = spec.keys else { return }
        self = KeySet.report(
            on: text, algorithms: spec.effectiveAlgorithms, requiresKeyAlgorithm: spec.requiresNamedKeys)
    }

    /// The first reasons for which keys were left out, for a message; empty where there was no key.
    public var reasons: String {
        let most = 4
        let shown = skipped.prefix(most).map { "key \($0.index + 1): \($0.reason)" }.joined(separator: "; ")
        return skipped.count > most ? "\(shown); \(skipped.count - most) more" : shown
    }
}

/// A key that verified a token: equal as long as the issuer, the `kid`, the algorithms and the key material are.
public struct KeyIdentity: Hashable, Sendable, BitwiseCopyable {
    let high: UInt64
    let low: UInt64
}

/// The keys of one issuer: made as a whole, exchanged as a whole (rules J7, J22).
struct KeySet {
    /// Rule J10.
    static let largestJWKSBytes = 262_144
    /// Rule J10.
    static let largestKeyCount = 100
    /// How many keys are tried where the token's `kid` does not settle it: each costs a signature.
    static let largestAttemptCount = 4
    /// Rule J19.
    static let smallestSecretBytes = 32

    private(set) var keys: [VerificationKey] = []
    private(set) var report = KeySetReport()
    /// False for keys of a JWK Set, which a token's `kid` must name; a lone key without `kid` serves any.
    private var acceptsAnyKeyID = false

    /// The keys of that source for the issuer at `issuer`, as far as they fit its algorithms.
    ///
    /// - Parameter requiresKeyAlgorithm: keys that fit several of these by their type alone are left out.
    init(
        _ source: IssuerSpec.KeySource, issuer: Int, algorithms: AlgorithmSet, requiresKeyAlgorithm: Bool
    ) throws(IssuerError) {
        switch source {
        case .secret(let secret):
            try addSecret(secret, issuer, algorithms)
        case .publicKeyPEM(let pem):
            try addPublicKey(pem, issuer, algorithms)
        case .jwks(let text):
            do throws(KeySetError) {
                try addKeySet(text, issuer, algorithms, requiresKeyAlgorithm)
            } catch {
                throw .badKeySet(error)
            }
        case .pending:
            break
        }
        report.usableKeys = keys.count
    }

    private init() {}

    /// What would become of a JWK Set, whether or not it holds a usable key.
    fileprivate static func report(
        on text: [UInt8], algorithms: AlgorithmSet, requiresKeyAlgorithm: Bool
    ) -> KeySetReport {
        var set = KeySet()
        // Why the whole cannot be used has been said.
        try? set.addKeySet(text, 0, algorithms, requiresKeyAlgorithm)
        set.report.usableKeys = set.keys.count
        return set.report
    }

    /// The first key among those that the token may mean, which made its signature. `keyID` is the node of `kid`
    /// in the header, or nil where it has none.
    func find(
        _ algorithm: SignatureAlgorithm, keyID: Int?, in header: borrowing JSONDocument, signed: Span<UInt8>,
        signature: Span<UInt8>
    ) -> Search {
        var isNamed = keyID == nil || acceptsAnyKeyID
        var attempts = 0
        for key in keys {
            if let keyID, !acceptsAnyKeyID {
                guard let own = key.keyID, header.equal(keyID, own.span) else { continue }
                isNamed = true
            }
            guard key.algorithms.contains(algorithm) else { continue }
            guard attempts < Self.largestAttemptCount else { break }
            attempts += 1
            if key.verify(algorithm, signed: signed, signature: signature) { return .found(key.identity) }
        }
        if attempts > 0 { return .refused(.badSignature) }
        return .refused(isNamed ? .keyDoesNotFit : .unknownKey)
    }

    enum Search {
        case found(KeyIdentity)
        case refused(TokenRefusal)
    }

    private mutating func addSecret(
        _ secret: [UInt8], _ issuer: Int, _ algorithms: AlgorithmSet
    ) throws(IssuerError) {
        guard algorithms.isSubset(of: .hmac) else { throw .algorithmsDoNotFitKeySource }
        guard secret.count >= Self.smallestSecretBytes else { throw .secretTooShort }
        guard !Self.isPublic(secret) else { throw .secretIsPublic }
        acceptsAnyKeyID = true
        for algorithm in algorithms.algorithms {
            guard let key = HMACKey(algorithm: algorithm, secret: secret.span) else {
                throw .badKey(.operationFailed)
            }
            let set = AlgorithmSet(algorithm)
            let identity = KeyIdentity(issuer: issuer, keyID: nil, algorithms: set, material: secret)
            keys.append(
                VerificationKey(identity: identity, keyID: nil, algorithms: set, material: .secret(key)))
        }
    }

    private mutating func addPublicKey(
        _ pem: [UInt8], _ issuer: Int, _ algorithms: AlgorithmSet
    ) throws(IssuerError) {
        let key: PublicKey
        do throws(KeyError) { key = try PublicKey(pem: pem.span) } catch { throw .badKey(error) }
        acceptsAnyKeyID = true
        guard add(key, nil, key.type.algorithms, issuer, algorithms) else { throw .algorithmsDoNotFitKey }
    }

    private mutating func addKeySet(
        _ text: [UInt8], _ issuer: Int, _ algorithms: AlgorithmSet, _ requiresKeyAlgorithm: Bool
    ) throws(KeySetError) {
        guard text.count <= Self.largestJWKSBytes else { throw .tooLarge }
        var document = JSONDocument(capacity: text.count, limits: .keySet)
        guard document.load(text.span), let list = document.member(Array("keys".utf8).span, of: 0),
            document.node(list).kind == .array
        else { throw .malformed }
        guard document.node(list).count <= Self.largestKeyCount else { throw .tooManyKeys }
        var parser = JWKParser()
        var next = document.firstChild(of: list)
        var index = 0
        while let node = next {
            do throws(JWKParser.Refusal) {
                let parsed = try parser.parse(document, node)
                if requiresKeyAlgorithm, parsed.algorithms.intersection(algorithms).algorithms.count > 1 {
                    throw JWKParser.Refusal("no alg, and it fits several")
                }
                if !add(parsed.key, parsed.keyID, parsed.algorithms, issuer, algorithms) {
                    let own = parsed.algorithms.algorithms.map { "\($0.name)" }.joined(separator: ", ")
                    report.skipped.append(
                        SkippedKey(
                            index: index, reason: "for \(own), which is not among the issuer's algorithms"))
                }
            } catch {
                report.skipped.append(SkippedKey(index: index, reason: error.reason))
            }
            next = document.sibling(after: node, in: list)
            index += 1
        }
        guard !keys.isEmpty else { throw .noUsableKey }
    }

    /// Adds a key as far as its own algorithms are also the issuer's; false where none is.
    private mutating func add(
        _ key: PublicKey, _ keyID: [UInt8]?, _ own: AlgorithmSet, _ issuer: Int, _ accepted: AlgorithmSet
    ) -> Bool {
        let algorithms = own.intersection(accepted).subtracting(.hmac)
        guard !algorithms.isEmpty else { return false }
        key.prepare(for: algorithms)
        let identity = KeyIdentity(
            issuer: issuer, keyID: keyID, algorithms: algorithms, material: key.encoded())
        keys.append(
            VerificationKey(
                identity: identity, keyID: keyID, algorithms: algorithms, material: .publicKey(key)))
        return true
    }

    /// Secrets that are none: a PEM text, and the default that Better Auth publishes.
    static func isPublic(_ secret: [UInt8]) -> Bool {
        secret.starts(with: Array("-----BEGIN ".utf8))
            || secret == Array("better-auth-secret-12345678901234567890".utf8)
    }
}
