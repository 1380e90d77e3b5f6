internal import Bytes
public import HTTP

extension PolicySnapshot {
    /// True where the backend may take everything on the connection for the sender's of this request: the request carries
    /// credentials of its own, which nobody has looked at here, of a scheme that authenticates connections.
    public func bindsConnection(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ permit: borrowing Permit
    ) -> Bool {
        // Whoever is known here came with a bearer token, or with none in this field (J15).
        guard permit.isAnonymous, head.authorizationCount > 0,
            authorizations.mode(permit.upstream).isForward
        else { return false }
        return ConnectionCredentials.matches(
            bytes.slice(head.fields[Int(head.authorizationIndex)].valueRange))
    }
}

/// The schemes of Windows that authenticate a connection, and not a request as HTTP has it (RFC 4559 §6).
enum ConnectionCredentials {
    /// True for `NTLM`, `Negotiate` and its relatives (`Nego2`), and `Kerberos`, in any case.
    static func matches(_ credentials: Span<UInt8>) -> Bool {
        guard credentials.count >= 4 else { return false }
        let start = credentials.extracting(0..<4)
        return ASCII.equalsIgnoringCase(start, "ntlm") || ASCII.equalsIgnoringCase(start, "nego")
            || ASCII.equalsIgnoringCase(start, "kerb")
    }
}
