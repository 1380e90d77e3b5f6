internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy
internal import Reactor

/// A client's connection.
struct Downstream: ~Copyable {
    /// What the connection is about right now.
    enum Phase {
        /// Waiting for the first bytes, which tell HTTP/1 from HTTP/2.
        case choosing
        /// The connection speaks HTTP/2: requests come on its streams, each of which is a client of its own.
        case multiplexing
        /// Waiting for the PROXY header, which says whose connection it is.
        case greeting
        /// TLS is being agreed on.
        case handshaking
        /// Waiting for a request, or reading its head.
        case reading
        /// The head of a request is read, and its token's key is not known yet. What arrives stays where it is.
        case awaitingKeys
        /// The head of a request is read, and a server is asked about its credential. What arrives stays where it is.
        case awaitingVerdict
        /// A request is under way; what arrives is its body, or the next request, which waits.
        case exchanging
        /// All is written and our direction is shut; what still arrives is thrown away until the client closes, so
        /// that the kernel does not destroy the answer with a reset (RFC 9112 §9.6).
        case lingering
    }

    var transport: Transport
    var peer: PeerFacts
    /// What the client has proven by its certificate.
    var certificate = ClientCertificate()
    /// From this second since 1970 on it has proven nothing any more.
    var certificateEnd = Int64.max
    /// What answers say of the use of TLS in the future (HSTS).
    var strictTransportSecurity = StrictTransportSecurity.none
    var phase = Phase.reading
    var parser = RequestHeadParser()
    /// The request under way, or none.
    var exchange = Handle.none
    /// The address that the ledger counts it under; none where it does not.
    var countedAddress = IPAddress.none
    /// The listener that accepted it.
    let listener: Handle
    /// The method of a request that nobody has answered yet, where `head` says nothing of it, or is about another one
    /// (forward-auth): what the answer may hold is a matter of this one.
    var askedBy: Method?
    /// When the first byte of the head that is being read arrived.
    var headStarted = Instant.never
    /// Since when the request whose head was read last has waited for keys, for a verdict or for a shared limit; never where it
    /// has not.
    var waitsSince = Instant.never
    /// No further request is read: the listener is gone, or the proxy drains.
    var isLast = false
    /// It has not carried a request yet: its first may be on its way.
    var isFresh = true
    /// The client's end of stream showed while its request was under way: it may have gone, or only half-closed.
    var halfClosedAt = Instant.never
    /// It goes on in the next turn: it has work left over from this one.
    var isLeftOver = false
    /// Bytes thrown away while lingering.
    var discarded = 0
    /// When the client must have taken an answer that the connection ends with.
    var answerDeadline = Instant.never
    /// The connection speaks HTTP/2, or has: its client sends while it reads.
    var speaksHTTP2 = false
    /// What the kernel had still to deliver when that was looked at last, in bytes, and since when it has not become less.
    var undelivered = 0
    var undeliveredSince = Instant.never
    /// Of a connection that speaks HTTP/2, and of its streams: the session.
    var multiplexer = Handle.none
    /// Of a stream.
    var stream = StreamFacts()

    init(_ socket: consuming Socket, peer: PeerFacts, listener: Handle) {
        transport = Transport(socket)
        self.peer = peer
        self.listener = listener
    }

    /// A stream of a connection that speaks HTTP/2.
    init(stream facts: StreamFacts, of multiplexer: Handle, peer: PeerFacts, listener: Handle) {
        transport = Transport()
        self.peer = peer
        self.listener = listener
        self.multiplexer = multiplexer
        stream = facts
    }

    /// What the bytes at the start of the connection are, where a PROXY header is due.
    func readProxyHeader() -> ProxyHeader.Reading { ProxyHeader.read(transport.input.bytes) }

    /// Reads the head of the next request out of what has arrived.
    mutating func parseHead(into head: inout RequestHead, limits: HeadLimits) -> HeadParseResult {
        Self.parse(&parser, transport.input, into: &head, limits)
    }

    private static func parse(
        _ parser: inout RequestHeadParser, _ input: borrowing Buffer, into head: inout RequestHead,
        _ limits: HeadLimits
    ) -> HeadParseResult {
        parser.parse(input.bytes, into: &head, limits: limits)
    }

    /// Keeps of a malformed head whether its answer may have content (RFC 9110 §9.3.2). It says so itself: what was
    /// parsed last may be somebody else's.
    mutating func noteHeadMethod() {
        if Self.asksForHead(transport.input) { askedBy = .head }
    }

    private static func asksForHead(_ input: borrowing Buffer) -> Bool {
        input.count >= 5 && ASCII.equals(input.bytes.extracting(first: 5), "HEAD ")
    }
}

/// A listener of this worker, and its place in the policy.
struct BoundListener: ~Copyable {
    let listener: Listener
    var name: String
    /// Its place in `ProxySettings.listeners`.
    var index: Int
    /// Every connection begins with a PROXY header.
    var expectsProxyHeader: Bool
    var isAccepting = false

    init(_ listener: consuming Listener, name: String, index: Int, expectsProxyHeader: Bool) {
        self.listener = listener
        self.name = name
        self.index = index
        self.expectsProxyHeader = expectsProxyHeader
    }
}
