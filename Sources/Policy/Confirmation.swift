public import Bytes

extension PolicySnapshot {
    /// True where the peer is a proxy in front whose word about the request is taken.
    public func trusts(_ peer: PeerFacts) -> Bool { trust.trusts(peer) }

    /// Adds what a proxy in front passes on after a yes: the identity headers, and `Authorization` where the upstream
    /// gets one that is not the client's. False where it does not fit.
    public func appendConfirmation(of permit: borrowing Permit, to buffer: inout Buffer) -> Bool {
        buffer.append(identityLines(of: permit))
            && buffer.append(credentials(authorizations.mode(permit.upstream), permit))
    }
}
