internal import Bytes

/// The networks that each listener believes.
struct TrustedProxyTable: ~Copyable {
    private var blocks: FixedArray<AddressBlock>
    private var listeners: FixedArray<ByteRange>

    init(_ specs: [ListenerPolicySpec]) throws(PolicyError) {
        blocks = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.trustedProxies.count }, 1))
        listeners = FixedArray(capacity: max(specs.count, 1))
        for (index, spec) in specs.enumerated() {
            let start = blocks.count
            for block in spec.trustedProxies {
                guard !block.isEverything else { throw .trustsEverybody(listener: index) }
                _ = blocks.append(block)
            }
            _ = listeners.append(ByteRange(from: start, to: blocks.count))
        }
    }

    /// True where the peer's forwarding headers are believed.
    func trusts(_ peer: PeerFacts) -> Bool {
        trusts(peer.address, listener: peer.listener)
    }

    /// True where that listener believes that address.
    func trusts(_ address: IPAddress, listener: Int) -> Bool {
        guard listener >= 0, listener < listeners.count else { return false }
        for index in listeners[listener].bounds where blocks[index].contains(address) {
            return true
        }
        return false
    }
}

extension PolicySnapshot {
    /// True where the peer is a proxy in front whose word about the request is taken.
    public func trusts(_ peer: PeerFacts) -> Bool { trust.trusts(peer) }
}
