internal import Bytes

/// What the verified certificate of a client says, for the identity headers of everything that comes over its
/// connection: one for each connection, empty where none was shown.
public struct ClientCertificate: ~Copyable {
    /// What of a certificate can stand in an identity header.
    enum Part: CaseIterable {
        /// `tls.subject`, by RFC 4514.
        case subject
        /// `tls.san`, such as `DNS:a.example,URI:spiffe://example/a`.
        case alternativeNames
        /// `tls.fingerprint`: the SHA-256 of the certificate as 64 hexadecimal digits in lower case.
        case fingerprint

        /// The part that the configuration means by that name; nil where it means a claim.
        init?(source: String) {
            switch source {
            case "tls.subject": self = .subject
            case "tls.san": self = .alternativeNames
            case "tls.fingerprint": self = .fingerprint
            default: return nil
            }
        }
    }

    /// True where an identity header with that source says something of the client's certificate.
    public static func isPart(_ source: String) -> Bool { Part(source: source) != nil }

    /// The largest subject or list of names that becomes a header, in bytes; a larger one is left out.
    public static let largestPartByteCount = 4096

    private var text = ByteArray()
    private var subject = ByteRange.empty
    private var alternativeNames = ByteRange.empty
    private var fingerprint = ByteRange.empty

    /// None.
    public init() {}

    /// A certificate that was verified; the texts are visible ASCII with spaces only in between, or are left out.
    public init(subject: [UInt8], alternativeNames: [UInt8], sha256: InlineArray<32, UInt8>) {
        self.subject = Self.add(subject, to: &text)
        self.alternativeNames = Self.add(alternativeNames, to: &text)
        let start = text.count
        for index in 0..<32 {
            for digit in [sha256[index] >> 4, sha256[index] & 15] {
                text.append(digit < 10 ? 48 + digit : 87 + digit)
            }
        }
        fingerprint = text.range(since: start)
    }

    /// Another one that says the same: each stream of an HTTP/2 connection has its own.
    public func copy() -> ClientCertificate {
        var copy = ClientCertificate()
        copy.text.append(text.span)
        (copy.subject, copy.alternativeNames, copy.fingerprint) = (subject, alternativeNames, fingerprint)
        return copy
    }

    /// True where there is none.
    public var isNone: Bool { fingerprint.isEmpty }

    /// What all parts take, in bytes.
    var byteCount: Int { text.count }

    @_lifetime(borrow self)
    func value(_ part: Part) -> Span<UInt8> {
        switch part {
        case .subject: text.span(subject)
        case .alternativeNames: text.span(alternativeNames)
        case .fingerprint: text.span(fingerprint)
        }
    }

    private static func add(_ part: [UInt8], to text: inout ByteArray) -> ByteRange {
        let space = UInt8(ascii: " ")
        guard part.count <= largestPartByteCount, part.first != space, part.last != space,
            part.allSatisfy({ ASCII.isVisible($0) || $0 == space })
        else { return .empty }
        let start = text.count
        text.append(part.span)
        return text.range(since: start)
    }
}
