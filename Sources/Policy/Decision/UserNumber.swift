internal import Bytes
public import HTTP

extension PolicySnapshot {
    /// Whose request it is, as a number that is the same in every worker and every process: made of the verified
    /// subject, or of the client's address (of IPv6 its /64) where nobody was authenticated. `bytes` are those of the
    /// head.
    ///
    /// For choosing a server, and nothing else: different users may have the same number.
    public func userNumber(
        of permit: borrowing Permit, _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: PeerFacts
    ) -> UInt64 {
        // A fixed seed: every proxy sends the same user to the same server.
        let hash = KeyedHash(seed: (0x9ae1_6a3b_2f90_404f, 0xc949_d7c7_509e_6557))
        guard permit.isAnonymous else { return hash(cache.subject(permit.identity)) }
        let address = clientAddress(head, bytes, peer)
        return hash(address.high, address.isV4 ? address.low : 0, 0)
    }
}
