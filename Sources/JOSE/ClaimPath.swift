/// The place of a claim: a name, or names joined by dots for a member of an object in a claim.
///
/// A claim whose literal name is the whole text, dots included, wins over the nested one. Names are case-sensitive
/// (rule J13).
public struct ClaimPath: Sendable, Hashable {
    /// A path has at most as many bytes: no claim name comes near it.
    public static let largestByteCount = 256

    let name: [UInt8]
    /// The names between the dots; one alone where there is no dot.
    let steps: [[UInt8]]

    /// The path of that text; nil where it is empty, longer than 256 bytes, or has an empty name between dots.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty, bytes.count <= Self.largestByteCount else { return nil }
        let parts = bytes.split(separator: 0x2e, omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        name = bytes
        steps = parts.map { Array($0) }
    }

    /// The path as it was written.
    public var text: String { String(decoding: name, as: UTF8.self) }

    /// The registered claim `sub` (RFC 7519 §4.1.2).
    public static var subject: ClaimPath { ClaimPath(literal: "sub") }

    /// The registered claim `jti` (RFC 7519 §4.1.7).
    public static let tokenID = ClaimPath(literal: "jti")

    private init(literal: String) {
        name = Array(literal.utf8)
        steps = [name]
    }
}

/// The JSON type of a claim's value.
public enum ClaimKind: UInt8, Sendable, BitwiseCopyable {
    /// A JSON value of that type (RFC 8259 §3).
    case null, boolean, number, string, array, object
}

/// A value inside a token's payload: means something only to the token that gave it out.
public struct ClaimValue: Sendable, BitwiseCopyable, Equatable {
    /// The JSON type.
    public let kind: ClaimKind
    /// The index of the value's node on the payload's tape.
    let node: Int32

    init(kind: ClaimKind, node: Int) {
        self.kind = kind
        self.node = Int32(truncatingIfNeeded: node)
    }
}
