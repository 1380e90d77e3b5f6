internal import Bytes
internal import HTTP
internal import HTTP1
internal import Reactor

/// A connection to a server of an upstream.
struct UpstreamConnection: ~Copyable {
    enum Phase {
        /// The connect is not decided yet.
        case connecting
        /// TLS is being agreed on.
        case handshaking
        /// In the pool. Anything that arrives is unasked for, and ends it.
        case idle
        /// A request is on it.
        case busy
        /// Of a stream: its answer was passed on whole, and the server has not ended it yet.
        case ending
        /// It speaks HTTP/2: requests are on its streams, each of which is an entry of its own.
        case carrying
    }

    var transport: Transport
    var phase = Phase.connecting
    /// The pool it belongs to, and the number of its server there.
    let pool: Handle
    let server: Int
    /// The request on it, or none.
    var exchange = Handle.none
    var parser = ResponseHeadParser()
    /// When the connect began.
    var openedAt = Instant.never
    /// How many requests it has carried before this one.
    var requestsServed = 0
    /// The turn in which it was taken out of the pool without asking the kernel whether it is quiet, or 0.
    var reusedInTurn: UInt64 = 0

    /// Of a connection that speaks HTTP/2, and of its streams.
    var carrier = Handle.none
    /// Of a stream.
    var stream = StreamFacts()
    /// The stream ended before its answer was complete, with that code of HTTP/2; or its connection did.
    var isLost = false
    var lossCode: UInt32 = 0
    var isCutOff = false

    /// A stream for a request.
    init(streamOn carrier: Handle, pool: Handle, server: Int, exchange: Handle) {
        transport = Transport()
        self.pool = pool
        self.server = server
        self.exchange = exchange
        self.carrier = carrier
    }

    init(_ socket: consuming Socket, pool: Handle, server: Int, exchange: Handle) {
        transport = Transport(socket)
        transport.isWritable = false
        self.pool = pool
        self.server = server
        self.exchange = exchange
    }

    /// Reads the head of the answer out of what has arrived.
    mutating func parseHead(
        into head: inout ResponseHead, requestMethod: Method, limits: HeadLimits
    ) -> HeadParseResult {
        Self.parse(&parser, transport.input, into: &head, requestMethod, limits)
    }

    private static func parse(
        _ parser: inout ResponseHeadParser, _ input: borrowing Buffer, into head: inout ResponseHead,
        _ requestMethod: Method, _ limits: HeadLimits
    ) -> HeadParseResult {
        parser.parse(input.bytes, into: &head, requestMethod: requestMethod, limits: limits)
    }
}
