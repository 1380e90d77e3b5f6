internal import Bytes
internal import HTTP
internal import Reactor
internal import Upstream

// Servers at a Unix socket where as many connections wait to be accepted as it takes. Over TCP the kernel tries such a connect
// again by itself; here it says so at once, and whoever sends more at a time than that would be refused in the very moment when
// a server has just started.

extension Worker {
    /// When such a connect is tried again, if no connection has come free before. Whoever accepts at all does so sooner.
    private static var crowdedMilliseconds: Int64 { 10 }

    /// A request finds no place in the queue of a server, which has done nothing wrong: another one may have one; else it waits
    /// for this one like for any connection, and tries again soon. One that `hasWaited` keeps its place.
    mutating func crowdedOut(_ exchange: UInt32, server: Int, hasWaited: Bool) {
        let upstream = exchanges[exchange].pool
        if exchanges[exchange].retriesLeft > 0, pools[upstream.index].serverCount > 1 {
            return tryElsewhere(exchange, after: server)
        }
        if !crowded.contains(upstream) { crowded.append(upstream) }
        lookForRoomAt = min(lookForRoomAt, now.advanced(byMilliseconds: Self.crowdedMilliseconds))
        guard !hasWaited else { return }
        guard case .wait = pools[upstream.index].waitOrRefuse() else { return reply(exchange, .overloaded) }
        awaitConnection(exchange, upstream)
    }
}
