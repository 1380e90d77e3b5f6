internal import Bytes
internal import HTTP
internal import HTTP1

// HSTS (RFC 6797): answers over TLS tell browsers to use nothing else from now on.

/// What answers over TLS say of its use in the future: `Strict-Transport-Security` (RFC 6797 §6.1).
public struct StrictTransportSecurity: Sendable, Equatable, BitwiseCopyable {
    /// For how long browsers are to use nothing but TLS, in seconds; negative: nothing is said.
    public var maximumAgeSeconds: Int64
    /// For the hosts below this one too.
    public var includesSubdomains: Bool
    /// The site may be put into the lists that browsers come with.
    public var preloads: Bool

    /// That much is said.
    public init(maximumAgeSeconds: Int64, includesSubdomains: Bool = false, preloads: Bool = false) {
        self.maximumAgeSeconds = maximumAgeSeconds
        self.includesSubdomains = includesSubdomains
        self.preloads = preloads
    }

    /// Nothing is said.
    public static let none = StrictTransportSecurity(maximumAgeSeconds: -1)
}

extension StrictTransportSecurity {
    /// Adds the field line; false where it does not fit.
    func append(to output: inout Buffer) -> Bool {
        output.append("Strict-Transport-Security: max-age=")
            && output.appendDecimal(UInt64(clamping: maximumAgeSeconds))
            && (!includesSubdomains || output.append("; includeSubDomains"))
            && (!preloads || output.append("; preload"))
            && output.append("\r\n")
    }
}

extension ResponseHead {
    /// True where the backend says it itself: then its word counts, as browsers look at the first one only.
    borrowing func hasTransportSecurity(_ bytes: Span<UInt8>) -> Bool {
        for index in 0..<fields.count where fields[index].name == .other {
            if ASCII.equalsIgnoringCase(bytes.slice(fields[index].nameRange), "strict-transport-security") {
                return true
            }
        }
        return false
    }
}
