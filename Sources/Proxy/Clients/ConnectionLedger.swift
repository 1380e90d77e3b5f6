internal import Policy
internal import Reactor
internal import Synchronization

/// How many client connections there are, and how many each address has, in all workers together.
///
/// It is asked when a connection opens and when it closes, never for a request, so that a lock is cheap enough. It
/// holds no more entries than there are connections, which `limits.connections` bounds.
public final class ConnectionLedger: Sendable {
    /// An address without its port; of IPv6 the upper half, because one client has a whole /64.
    private struct Client: Hashable {
        let high: UInt64
        let low: UInt64

        init(_ address: IPAddress) {
            high = address.high
            low = address.isV4 ? address.low : 0
        }
    }

    private let counts = Mutex<[Client: Int]>([:])

    /// All connections, whatever their address: a part for each worker would leave some waiting while others have room,
    /// since the kernel chooses the worker.
    let all = SharedCount()

    /// A ledger without connections.
    public init() {}

    /// Counts a connection of that address; false, and nothing counted, where it has `limit` already.
    func admit(_ address: IPAddress, limit: Int) -> Bool {
        counts.withLock { counts in
            let count = counts[Client(address), default: 0]
            guard count < limit else { return false }
            counts[Client(address)] = count + 1
            return true
        }
    }

    /// Takes back what `admit` counted.
    func release(_ address: IPAddress) {
        counts.withLock { counts in
            let count = counts[Client(address), default: 0]
            counts[Client(address)] = count > 1 ? count - 1 : nil
        }
    }
}
