import Config
import Reactor
import TLS

/// One GET of a small document on the control loop: connects, speaks TLS, follows redirects of the same origin.
///
/// Nothing here blocks. The owner calls `start`, then `advance` whenever the poller reports something under `token`,
/// until there is an outcome; the deadline is the owner's too.
final class DocumentFetch {
    /// What it came to.
    enum Outcome: Equatable {
        /// The document, and for how many seconds its server allows it to be used, where it says so.
        case document([UInt8], maximumAge: Int64?)
        /// Why there is none, as words for the log.
        case failed(String)
    }

    /// From the first to the last byte, redirects and looking up the name included (rule J10).
    static let deadlineMilliseconds: Int64 = 5000
    /// For a connect, where the name has more addresses: one that swallows everything must not use up all the time.
    private static let connectMilliseconds: Int64 = 1500
    /// The largest body (rule J10).
    static let largestBodyBytes = 262_144
    private static let largestRedirectCount = 3

    /// What the poller's events carry; another one for each connection, 0 before the first.
    private(set) var token: UInt64 = 0
    private(set) var url: RemoteURL
    private let lastDeadline: Instant
    private var connectDeadline = Instant.never
    private let trust: () throws(TLSError) -> TLSContext
    private var addresses: [SocketAddress] = []
    private var connection: FetchConnection?
    /// The address that was tried last, as long as it has given no answer.
    private(set) var silent: SocketAddress?
    private var lastFailure = "no address"
    private var redirectCount = 0
    /// The server has answered, whatever it was.
    private(set) var hasAnswer = false
    /// How far this machine's clock was ahead of the server's when it answered last, in seconds; nil: it has not said.
    private(set) var secondsAhead: Int64?

    /// A fetch of `url`; `trust` says whom to trust, for each connection.
    init(_ url: RemoteURL, trusting trust: @escaping () throws(TLSError) -> TLSContext, now: Instant) {
        self.url = url
        self.trust = trust
        lastDeadline = now.advanced(byMilliseconds: Self.deadlineMilliseconds)
    }

    /// When `expire` is to be called.
    var deadline: Instant {
        connection?.isConnecting == true ? min(lastDeadline, connectDeadline) : lastDeadline
    }

    /// The time of an address, or of everything, is over; nil where another address is tried.
    func expire(_ poller: borrowing Poller, _ tokens: inout TokenSource, now: Instant) -> Outcome? {
        guard lastDeadline > now, connection?.isConnecting == true else {
            return .failed("no answer in time")
        }
        lastFailure = "no connection in time"
        return connect(poller, &tokens)
    }

    /// Connects to the first of the addresses that can be tried; nil while it is under way.
    func start(_ addresses: [SocketAddress], _ poller: borrowing Poller, _ tokens: inout TokenSource)
        -> Outcome?
    {
        self.addresses = addresses
        return connect(poller, &tokens)
    }

    private func connect(_ poller: borrowing Poller, _ tokens: inout TokenSource) -> Outcome? {
        connection = nil
        while !addresses.isEmpty {
            let address = addresses.removeFirst()
            silent = address
            do throws(FetchFailure) {
                token = tokens.next()
                connectDeadline =
                    addresses.isEmpty
                    ? .never : Instant.now().advanced(byMilliseconds: Self.connectMilliseconds)
                connection = try FetchConnection(
                    to: address, url, trusting: trust(), sending: FetchConnection.request(url), poller,
                    token)
                return nil
            } catch {
                lastFailure = error.reason
                if !error.mayHelpToTryAnother { break }
            }
        }
        return .failed(lastFailure)
    }

    /// Goes on as far as the connection is ready; the outcome, or nil while it is under way.
    func advance(_ poller: borrowing Poller, _ tokens: inout TokenSource) -> Outcome? {
        guard let connection else { return nil }
        do throws(FetchFailure) {
            guard let answer = try connection.advance() else { return nil }
            hasAnswer = true
            silent = nil
            secondsAhead = answer.dateSeconds.map { wallClockMicroseconds() / 1_000_000 - $0 }
            return try conclude(answer, poller, &tokens)
        } catch {
            lastFailure = error.reason
            let mayTryAnother = error.mayHelpToTryAnother || connection.isBeforeRequest
            return mayTryAnother ? connect(poller, &tokens) : .failed(error.reason)
        }
    }

    private func conclude(
        _ answer: FetchAnswer, _ poller: borrowing Poller, _ tokens: inout TokenSource
    ) throws(FetchFailure) -> Outcome? {
        switch answer.status {
        case 200: return .document(answer.body, maximumAge: answer.maximumAge)
        case 301, 302, 303, 307, 308:
            url = try redirected(answer)
            redirectCount += 1
            guard let address = connection?.address else { return nil }
            addresses = [address]
            return connect(poller, &tokens)
        default: throw FetchFailure("the answer has status \(answer.status)")
        }
    }

    private func redirected(_ answer: FetchAnswer) throws(FetchFailure) -> RemoteURL {
        guard let location = answer.location, let target = url.following(location) else {
            throw FetchFailure("a redirect to nowhere")
        }
        guard target.hasSameOrigin(as: url) else {
            throw FetchFailure("a redirect to another origin is not followed (J10)")
        }
        guard redirectCount < Self.largestRedirectCount else { throw FetchFailure("too many redirects") }
        return target
    }
}
