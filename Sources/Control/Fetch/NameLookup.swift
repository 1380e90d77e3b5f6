import Reactor

/// What a look-up of a host name came to.
struct LookupAnswer: Sendable {
    /// Which look-up it was.
    let identifier: UInt32
    /// The addresses in the resolver's order; none where the name has none.
    let addresses: [SocketAddress]
}

/// One look-up of a host name, on a thread of its own: the resolver may block for many seconds, and a slow name must
/// not hold up another.
final class NameLookup {
    private var thread: Thread?

    /// Starts to look up; the answer comes into `inbox`. Throws where the system has no thread left.
    /// `oneFamily`: where the name has IPv4 and IPv6 addresses, only those of the family that takes connections.
    init(
        _ host: String, port: UInt16, identifier: UInt32, oneFamily: Bool = false,
        answerTo inbox: Inbox<LookupAnswer>
    ) throws(Errno) {
        thread = try Thread(name: "usher-lookup") {
            let found = SocketAddress.resolve(host, port: port)
            let addresses = oneFamily ? AddressFamilies.reachable(among: found) : found
            inbox.send(LookupAnswer(identifier: identifier, addresses: addresses))
        }
    }

    /// Ends the thread, whose answer has come.
    func finish() {
        thread.take()?.join()
    }
}
