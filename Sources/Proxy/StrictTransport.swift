internal import Bytes
internal import HTTP
internal import HTTP1

// HSTS (RFC 6797): answers over TLS tell browsers to use nothing else from now on.

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
