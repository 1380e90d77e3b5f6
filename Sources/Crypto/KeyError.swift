/// Why key material cannot be used.
public enum KeyError: Error, Equatable, Sendable {
    /// Neither a `PUBLIC KEY` nor a key that OpenSSL could read.
    case malformedPEM
    /// A private key or a certificate where a public key belongs.
    case notAPublicKey
    /// A key type, curve or parameter set that no accepted algorithm uses.
    case unsupportedKey
    /// An RSA modulus of fewer than 2048 bits (RFC 7518 §3.3).
    case modulusTooSmall
    /// An RSA modulus of more than 8192 bits: verification would cost too much.
    case modulusTooLarge
    /// An RSA exponent that is even, below 3 or above 64 bits.
    case badExponent
    /// A coordinate that has not exactly the size of the field (RFC 7518 §6.2.1.2).
    case badCoordinateSize
    /// A point that is not on its curve.
    case pointNotOnCurve
    /// An Ed25519 point with which anybody can sign, or that is not written in its one form (RFC 8032 §5.1.3).
    case weakPoint
    /// The algorithm and the key do not belong together.
    case algorithmDoesNotFit
    /// OpenSSL refused an operation that should have worked.
    case operationFailed

    /// The reason as a short phrase for a log or a diagnostic.
    public var reason: StaticString {
        switch self {
        case .malformedPEM: "not a readable PEM key"
        case .notAPublicKey: "not a PEM PUBLIC KEY"
        case .unsupportedKey: "unsupported key type or curve"
        case .modulusTooSmall: "RSA key of fewer than 2048 bits"
        case .modulusTooLarge: "RSA key of more than 8192 bits"
        case .badExponent: "unusable RSA exponent"
        case .badCoordinateSize: "coordinate of the wrong size"
        case .pointNotOnCurve: "point not on the curve"
        case .weakPoint: "Ed25519 point of small order, or not in its one form"
        case .algorithmDoesNotFit: "the algorithm does not fit the key"
        case .operationFailed: "OpenSSL refused the operation"
        }
    }
}
