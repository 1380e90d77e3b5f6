public import Bytes
public import HTTP

extension PolicySnapshot {
    /// Adds the address of whoever sent the request, where the peer is a trusted proxy and says that it is another's.
    /// Nothing is added where it is the peer's own, as far as anybody knows. `bytes` are those of the head.
    public func appendForwardedClient(
        of head: borrowing RequestHead, bytes: Span<UInt8>, peer: PeerFacts, to buffer: inout Buffer
    ) {
        guard trust.trusts(peer) else { return }
        let address = clientAddress(head, bytes, peer)
        guard address != peer.address else { return }
        let facts = PeerFacts(address: address, listener: peer.listener, isSecure: false)
        // A text that does not fit is left out.
        _ = buffer.append(facts.addressText)
    }

    /// The address of whoever sent the request, as far as it is known for certain: the peer's own, or what a trusted proxy
    /// says.
    func clientAddress(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: PeerFacts
    ) -> IPAddress {
        toldOrigin(head, bytes, peer)?.address ?? peer.address
    }
}
