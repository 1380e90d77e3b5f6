/// A signature algorithm of JSON Web Algorithms (RFC 7518 §3.1, RFC 8037 §3.1), without `none`.
public enum SignatureAlgorithm: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    /// HMAC with SHA-256, SHA-384 or SHA-512.
    case hs256, hs384, hs512
    /// RSASSA-PKCS1-v1_5 with SHA-256, SHA-384 or SHA-512.
    case rs256, rs384, rs512
    /// RSASSA-PSS, the salt as long as the digest and MGF1 over the same digest.
    case ps256, ps384, ps512
    /// ECDSA on P-256, P-384 or P-521, each with the digest of its size.
    case es256, es384, es512
    /// Ed25519; Ed448 has the same name in JOSE and is not accepted.
    case edDSA

    /// The name in a token's header.
    public var name: StaticString {
        switch self {
        case .hs256: "HS256"
        case .hs384: "HS384"
        case .hs512: "HS512"
        case .rs256: "RS256"
        case .rs384: "RS384"
        case .rs512: "RS512"
        case .ps256: "PS256"
        case .ps384: "PS384"
        case .ps512: "PS512"
        case .es256: "ES256"
        case .es384: "ES384"
        case .es512: "ES512"
        case .edDSA: "EdDSA"
        }
    }

    /// The algorithm of that name, compared byte for byte: `none`, `hs256` and `Ed25519` are nobody's name.
    public init?(name: Span<UInt8>) {
        guard name.count == 5 else { return nil }
        if name[0] == 0x45 && name[1] == 0x64 {  // Ed
            guard name[2] == 0x44, name[3] == 0x53, name[4] == 0x41 else { return nil }  // DSA
            self = .edDSA
            return
        }
        let family: UInt8
        switch (name[0], name[1]) {
        case (0x48, 0x53): family = 0  // HS
        case (0x52, 0x53): family = 3  // RS
        case (0x50, 0x53): family = 6  // PS
        case (0x45, 0x53): family = 9  // ES
        default: return nil
        }
        switch (name[2], name[3], name[4]) {
        case (0x32, 0x35, 0x36): self.init(rawValue: family)
        case (0x33, 0x38, 0x34): self.init(rawValue: family + 1)
        case (0x35, 0x31, 0x32): self.init(rawValue: family + 2)
        default: return nil
        }
    }

    /// The algorithm of that name.
    public init?(_ name: String) {
        let bytes = Array(name.utf8)
        self.init(name: bytes.span)
    }

    /// True for HMAC, whose key is a secret of both sides.
    public var isHMAC: Bool { rawValue <= SignatureAlgorithm.hs512.rawValue }

    /// The digest that is signed; for Ed25519, which hashes by itself, the one inside it.
    var digest: DigestKind {
        switch self {
        case .hs256, .rs256, .ps256, .es256: .sha256
        case .hs384, .rs384, .ps384, .es384: .sha384
        case .hs512, .rs512, .ps512, .es512, .edDSA: .sha512
        }
    }

    var isPSS: Bool { self == .ps256 || self == .ps384 || self == .ps512 }
}

/// A set of signature algorithms.
public struct AlgorithmSet: OptionSet, Sendable, Hashable {
    /// One bit for each `SignatureAlgorithm.rawValue`.
    public let rawValue: UInt16

    /// The set of these bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The set of one algorithm.
    public init(_ algorithm: SignatureAlgorithm) { rawValue = 1 << UInt16(algorithm.rawValue) }

    /// The set of these algorithms.
    public init(_ algorithms: [SignatureAlgorithm]) {
        rawValue = algorithms.reduce(0) { $0 | 1 << UInt16($1.rawValue) }
    }

    /// True where the algorithm is in the set.
    @inlinable
    public func contains(_ algorithm: SignatureAlgorithm) -> Bool {
        rawValue & 1 << UInt16(algorithm.rawValue) != 0
    }

    /// The algorithms of the set, in the order of their raw values.
    public var algorithms: [SignatureAlgorithm] { SignatureAlgorithm.allCases.filter { contains($0) } }

    /// HS256, HS384 and HS512.
    public static var hmac: AlgorithmSet { [.init(.hs256), .init(.hs384), .init(.hs512)] }
}
