import Bytes
import Reactor

/// Which of its two address families a server is reached by.
///
/// RFC 8305 ("happy eyeballs") tries the families at every connect. Connections of a pool live long, and the servers
/// of an upstream are counted, so the question is asked where the name is looked up instead, and the workers only ever
/// see the family that works. An address of the other family is the same server once more, not another one.
enum AddressFamilies {
    /// How long the first family is ahead (RFC 8305 §5).
    private static let staggerMilliseconds: Int64 = 250
    /// How long the question may take at all.
    private static let patienceMilliseconds: Int64 = 1000

    /// One of the two.
    enum Family { case four, six }

    /// What was found.
    struct Choice: Equatable {
        var addresses: [SocketAddress]
        /// Neither family took a connection, and it was not known which one did before.
        var isGuess = false
    }

    /// The family of an address; nil for a Unix socket.
    static func family(of address: SocketAddress) -> Family? {
        switch address {
        case .ipv4: .four
        case .ipv6: .six
        default: nil
        }
    }

    /// The addresses of one family: of the only one there is; of IPv4 where that takes connections, or answers no later
    /// than 250 ms after IPv6 was tried too. Where neither does, of the one that is known: a server that is away for a moment
    /// comes back where it was. Without one IPv4 is a guess. Blocks for up to a second.
    ///
    /// IPv4 is first, other than in the RFC, for "localhost": what listens there mostly listens on 127.0.0.1, and
    /// trusts it.
    static func reachable(among addresses: [SocketAddress], known: Family? = nil) -> Choice {
        let four = addresses.filter { family(of: $0) == .four }
        let six = addresses.filter { family(of: $0) == .six }
        guard let firstFour = four.first, let firstSix = six.first else {
            return Choice(addresses: four.isEmpty ? six : four)
        }
        switch firstThatAnswers(firstFour, firstSix) ?? known {
        case .four: return Choice(addresses: four)
        case .six: return Choice(addresses: six)
        case nil: return Choice(addresses: four, isGuess: true)
        }
    }

    /// Nil where neither does, or there is no descriptor left to ask.
    private static func firstThatAnswers(_ four: SocketAddress, _ six: SocketAddress) -> Family? {
        guard var poller = try? Poller() else { return nil }
        let start = Instant.now()
        let first = Attempt(at: four, 0, poller)
        switch wait(&poller, first, nil, until: start.advanced(byMilliseconds: staggerMilliseconds)) {
        case 0: return .four
        default: break
        }
        let second = Attempt(at: six, 1, poller)
        let end = start.advanced(byMilliseconds: patienceMilliseconds)
        return switch wait(&poller, first, second, until: end) {
        case 0: .four
        case 1: .six
        default: nil
        }
    }

    /// The number of the attempt that succeeds first; nil where none does, or time is over.
    private static func wait(
        _ poller: inout Poller, _ first: Attempt, _ second: Attempt?, until end: Instant
    ) -> Int? {
        while !first.hasFailed || second.map({ !$0.hasFailed }) == true {
            let left = end.microseconds(since: .now()) / 1000
            guard left > 0 else { return nil }
            let count = poller.wait(timeoutMilliseconds: Int32(clamping: left))
            for index in 0..<count {
                let attempt = poller.token(index) == 0 ? first : second
                if attempt?.isConnected() == true { return Int(poller.token(index)) }
            }
        }
        return nil
    }

    /// One connect that is under way.
    private final class Attempt {
        private(set) var hasFailed = false
        private let socket: Socket?

        init(at address: SocketAddress, _ token: UInt64, _ poller: borrowing Poller) {
            do throws(Errno) {
                let opened = try Socket.connecting(to: address)
                try poller.add(opened.descriptor, token: token, for: [.writable, .edgeTriggered])
                socket = consume opened
            } catch {
                socket = nil
                hasFailed = true
            }
        }

        /// The poller reported something: a connection, or why there is none.
        func isConnected() -> Bool {
            guard !hasFailed else { return false }
            hasFailed = socket?.pendingError() != nil
            return !hasFailed
        }
    }
}
