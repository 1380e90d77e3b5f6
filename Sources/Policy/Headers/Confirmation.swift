public import Bytes

extension PolicySnapshot {
    /// Adds what a proxy in front passes on after a yes: the identity headers, and `Authorization` where the upstream
    /// gets one that is not the client's. False where it does not fit.
    public func appendConfirmation(of permit: borrowing Permit, to buffer: inout Buffer) -> Bool {
        buffer.append(identityLines(of: permit))
            && buffer.append(credentials(authorizations.mode(permit.upstream), permit))
    }

    /// The length of these lines in bytes.
    public func confirmationByteCount(of permit: borrowing Permit) -> Int {
        identityLines(of: permit).count + credentials(authorizations.mode(permit.upstream), permit).count
    }
}
