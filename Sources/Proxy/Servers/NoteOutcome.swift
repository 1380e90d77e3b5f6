internal import Bytes
internal import HTTP
internal import Reactor
internal import Upstream

// What an exchange says about its server, for passive ejection.

extension Worker {
    /// Tells the pool how the server did. A failure is: no answer in time, none at all, one that broke off or breaks the
    /// rules, and 500, 502, 503 and 504. (That no connection came about is told where it happens.)
    ///
    /// A connection that the server had closed before it could see the request, and a client that left, say nothing.
    mutating func noteOutcome(_ exchange: UInt32) {
        let upstream = exchanges[exchange].pool
        guard !upstream.isNone else { return }
        if exchanges[exchange].answeredAt != .never, pools.contains(upstream) {
            pools[upstream.index].noteAnswer(
                status: Int(exchanges[exchange].status),
                microseconds: exchanges[exchange].upstreamMicroseconds)
        }
        switch exchanges[exchange].code {
        case .upstreamInvalidResponse, .upstreamTimeout, .upstreamTruncated:
            noteFailure(exchange)
        default:
            guard exchanges[exchange].answeredAt != .never else { return }
            switch exchanges[exchange].status {
            case 500, 502, 503, 504: noteFailure(exchange)
            default:
                guard pools.contains(upstream) else { return }
                pools[upstream.index].noteSuccess(server: exchanges[exchange].serverNumber)
            }
        }
    }

    private mutating func noteFailure(_ exchange: UInt32) {
        noteFailure(at: exchanges[exchange].pool, server: exchanges[exchange].serverNumber)
    }

    /// Tells the pool that a server failed.
    mutating func noteFailure(at upstream: Handle, server: Int) {
        guard pools.contains(upstream) else { return }
        pools[upstream.index].noteFailure(server: server, at: now)
    }
}
