internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor

/// One request and its answer, from the end of the request's head to the last byte of the answer.
struct Exchange: ~Copyable {
    enum Phase {
        /// No connection to the upstream was free: it waits in the pool's queue.
        case waiting
        /// The connection is being opened.
        case connecting
        /// The request is being sent, or its answer is awaited or relayed.
        case relaying
        /// The backend has switched protocols: bytes pass in both directions.
        case tunnelling
        /// The proxy's own answer is being written.
        case replying
    }

    let client: Handle
    var phase = Phase.waiting
    /// The connection to the upstream, or none.
    var server = Handle.none
    /// The pool that the route names.
    var pool = Handle.none
    /// The server's number in the pool, once one is chosen.
    var serverNumber = 0

    // The request.
    let method: Method
    let version: HTTPVersion
    /// The head for the upstream and, where it fitted, the body that came with it.
    var request = Buffer()
    /// The server whose name stands in Host, or -1 where the client's does.
    var hostServer = -1
    /// How much of `request` is sent.
    var sentBytes = 0
    var requestBody: BodyRelay
    /// The backend may take whoever uses the connection next for the sender of this request: nobody does.
    var bindsServer = false
    /// Every byte of the request is in `request`, so it can be sent again.
    var isReplayable = false
    var retriesLeft = 0
    /// Further addresses of the same name that were tried, because no connection to the ones before came about.
    var addressesTried = 0
    /// Whose request it is, as a number, where that decides on the server.
    var user: UInt64 = 0
    /// The server took no more of the request; its answer may still come.
    var isRequestAbandoned = false
    /// The call is one of gRPC.
    var isGRPC = false
    /// So is its answer, whose trailers say how the call ended.
    var answersCall = false
    /// The server speaks HTTP/2: framing is the session's business.
    var usesHTTP2 = false
    /// What is sent of the body is kept in `request`, too: a stream may be refused in the middle of it.
    var keepsBody = false
    /// How the server has reset the stream of the request.
    var serverReset: HTTP2ErrorCode?
    /// The client asks for WebSocket.
    var wantsWebSocket = false

    // The answer.
    var status: UInt16 = 0
    /// What it says to pages of other origins; the lines are in `notes`.
    var crossOrigin = CrossOriginAnswer.none
    /// The size of the request's head, in bytes.
    var headBytes = 0
    /// True where the answer ends with its head, though it may announce a body: HEAD (RFC 9110 §9.3.2).
    var omitsBody: Bool
    /// The size of the body of the proxy's own answer, in bytes.
    var replyBytes = 0
    var responseBody = BodyRelay(.none, as: .identity)
    var hasResponseHead = false
    /// How many 1xx came before it.
    var interimAnswers = 0
    /// The upstream connection may carry another request.
    var isServerReusable = false
    /// The client offered its token as the subprotocol `bearer`: where the backend chooses none, that one is chosen.
    var offersBearerSubprotocol = false
    /// The worker has fields that the answer gets besides its own.
    var hasAddedFields = false
    /// The client's connection may carry another request.
    var keepsClient: Bool
    /// Of a tunnel: the end of the client's bytes was passed on, and that of the server's.
    var isRequestShut = false
    var isResponseShut = false
    /// Of a tunnel to a stream: the server has broken off, and what it had said is still to be framed.
    var isResponseCut = false

    // For the log, for the counts, and for timeouts.
    /// Where its route's requests are counted.
    var routeRow: UInt16 = 0
    /// The worker's `traces` have an entry for it.
    var isTraced = false
    /// It does not go on with the client's trace, so that the client's `tracestate` is not passed on.
    var dropsTraceState = false
    var notes = ExchangeNotes()
    /// When the request came, waits for keys and verdicts about it included.
    let started: Instant
    /// When those waits were over.
    let opened: Instant
    var sentAt = Instant.never
    var answeredAt = Instant.never
    /// The end of the whole exchange.
    var deadline = Instant.never
    /// When the token that permits the request expires, where its answer must end with it.
    var tokenDeadline = Instant.never
    /// An answer that has begun may go on when the token has ended.
    var outlivesToken = false
    /// Why the token ends at that moment.
    var tokenEnd = TokenEnd.expired
    /// What the policy remembers of the token, where the exchange must not outlive it.
    var verdict = Handle.none
    /// The key that the verdict is by, or what stands for the credential that a server may say no to.
    var tokenKey: PermittingKey?
    /// Which of the worker's policies gave the verdict.
    var policyNumber: UInt32 = 0
    /// When what is waited for right now must have come: the earlier end of the two pauses, or a connection.
    var stallDeadline = Instant.never
    /// That of the request's body.
    var requestPause = Pause()
    /// That of the answer's.
    var responsePause = Pause()
    var code = ReasonCode.ok
    private let inPlace = InPlace()

    init(
        client: Handle, method: Method, version: HTTPVersion, keepsClient: Bool, requestBody: BodyRelay,
        started: Instant, opened: Instant
    ) {
        self.client = client
        self.method = method
        omitsBody = method == .head
        self.version = version
        self.keepsClient = keepsClient
        self.requestBody = requestBody
        self.started = started
        self.opened = opened
    }

    /// Moves what is here of the body behind the head; the code of the refusal where it breaks a rule already.
    mutating func takeBody(from input: inout Buffer) -> ReasonCode? {
        switch requestBody.stage(from: &input, to: &request) {
        case .malformed: .badRequest
        case .tooLarge: .tooLarge
        case .needsInput, .sinkFull, .atTrailers, .complete: nil
        }
    }

    /// The answer has begun: from here on the end of the token ends nothing.
    mutating func leaveToken() {
        tokenDeadline = .never
        verdict = .none
    }

    /// The bytes of the request's head and of its body, framing not counted.
    var requestBytes: Int { headBytes + Int(clamping: requestBody.decoder.received) }

    /// The bytes of the answer's body, whoever made it.
    var responseBytes: Int { replyBytes + Int(clamping: responseBody.decoder.received) }

    /// From the request's last byte to the answer's head, in microseconds; where the server answered early, from when the
    /// request was ready to go: what was waited for before is none of the server's time.
    var upstreamMicroseconds: Int64 {
        answeredAt.microseconds(since: sentAt == .never || answeredAt < sentAt ? opened : sentAt)
    }
}

extension Exchange {
    /// Nothing but the connection's end tells the client where the answer's body ends, and it is not there yet.
    var endsWithConnection: Bool {
        guard version == .http10, hasResponseHead, !responseBody.isComplete else { return false }
        return switch responseBody.decoder.framing {
        case .chunked, .untilClose: true
        case .none, .length: false
        }
    }
}
