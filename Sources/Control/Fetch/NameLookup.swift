import Reactor

/// What a look-up of a host name came to.
struct LookupAnswer: Sendable {
    /// Which look-up it was.
    let identifier: UInt32
    /// The addresses in the resolver's order; none where the name has none.
    let addresses: [SocketAddress]
    /// It has both families, and which of them takes connections is not known.
    var isGuess = false
}

/// One look-up of a host name, on a thread of its own: the resolver may block for many seconds, and a slow name must
/// not hold up another.
final class NameLookup {
    private var thread: Thread?

    /// Starts to look up; the answer comes into `inbox`. Throws where the system has no thread left.
    /// `oneFamily`: where the name has IPv4 and IPv6 addresses, only those of the family that takes connections, or of the
    /// `known` one that did.
    init(
        _ host: String, port: UInt16, identifier: UInt32, oneFamily: Bool = false,
        known: AddressFamilies.Family? = nil, answerTo inbox: Inbox<LookupAnswer>
    ) throws(Errno) {
        thread = try Thread(name: "usher-lookup") {
            let found = SocketAddress.resolve(host, port: port)
            let choice =
                oneFamily
                ? AddressFamilies.reachable(among: found, known: known) : .init(addresses: found)
            inbox.send(
                LookupAnswer(identifier: identifier, addresses: choice.addresses, isGuess: choice.isGuess))
        }
    }

    /// Ends the thread, whose answer has come.
    func finish() {
        thread.take()?.join()
    }
}
