internal import Bytes
internal import HTTP
internal import Policy
internal import Upstream

/// What the log and the answer need of a request after its head is gone: texts, copied into one small block.
struct ExchangeNotes: ~Copyable {
    var memory = Buffer()
    private(set) var method = ByteRange.empty
    private(set) var path = ByteRange.empty
    private(set) var user = ByteRange.empty
    private(set) var route = ByteRange.empty
    private(set) var upstream = ByteRange.empty
    private(set) var requestID = ByteRange.empty
    /// The value of `traceparent` for the upstream, where requests are traced.
    private(set) var traceParent = ByteRange.empty
    /// The client's address, where a trusted proxy speaks for another than itself.
    private(set) var client = ByteRange.empty
    /// What exactly is wrong with the token, where that is why the request was refused.
    private(set) var refusal = ByteRange.empty
    /// The lines for a page of another origin that may read the answer.
    private(set) var crossOrigin = ByteRange.empty
    /// The path that a browser comes back to after it has signed in.
    private(set) var returnPath = ByteRange.empty
    /// What the client says of itself, where the log wants it.
    private(set) var referer = ByteRange.empty
    private(set) var userAgent = ByteRange.empty
    /// The key of a WebSocket handshake of HTTP/1.1, where the server speaks HTTP/2 and so proves nothing of it.
    private(set) var webSocketKey = ByteRange.empty

    // What an answer says, and who it was, is kept whole or not at all: half of a line is another line, and half of a name
    // another user. It is noted first; the client chooses how long some of the rest is, which gets what is left.

    /// The most of what the client says of itself.
    private static let agentBytes = 256
    /// The most of one text for the log.
    private static let textBytes = 448
    /// The most of a path: a target may have 8 KiB, and nobody reads that in a log.
    private static let pathBytes = 1024
    /// Left for what comes after the head is gone: the server's name, and what goes wrong with it.
    private static let laterBytes = 512

    /// Keeps what the log says of a request, after everything else.
    mutating func noteForLog(_ head: borrowing RequestHead, in input: inout Buffer) {
        let bytes = input.bytes
        method = keepBeginning(bytes.extracting(head.methodRange.bounds))
        path = keepBeginning(bytes.extracting(head.path.bounds), limit: Self.pathBytes)
    }

    mutating func note(route text: [UInt8]) { route = keepBeginning(text.span) }

    /// Keeps where the client comes from, without the query, which may bear a secret, and what it says that it is: the first
    /// line of each.
    mutating func noteAgent(_ head: borrowing RequestHead, in input: inout Buffer) {
        let bytes = input.bytes
        for index in 0..<head.fields.count {
            let value = head.fields[index].valueRange
            switch head.fields[index].name {
            case .userAgent where userAgent.isEmpty:
                userAgent = keepBeginning(bytes.extracting(value.bounds), limit: Self.agentBytes)
            case .referer where referer.isEmpty:
                let text = bytes.extracting(value.bounds)
                var end = 0
                while end < text.count, text[end] != 0x3f, text[end] != 0x23 { end += 1 }
                referer = keepBeginning(text.extracting(first: end), limit: Self.agentBytes)
            default: break
            }
        }
    }

    /// Keeps the request's name: the client's X-Request-Id where it is harmless, else `fresh`.
    mutating func nameRequest(
        _ head: borrowing RequestHead, in input: inout Buffer, fresh: RequestID
    ) {
        let bytes = input.bytes
        if let range = RequestIdentifier.accepted(of: head, bytes: bytes) {
            requestID = keepWhole(bytes.extracting(range.bounds))
        } else {
            note(requestID: fresh)
        }
    }

    mutating func note(
        clientOf head: borrowing RequestHead, in input: inout Buffer, _ peer: PeerFacts,
        _ policy: borrowing PolicySnapshot
    ) {
        let start = memory.count
        policy.appendForwardedClient(of: head, bytes: input.bytes, peer: peer, to: &memory)
        client = ByteRange(from: start, to: memory.count)
    }

    mutating func note(webSocketKey range: ByteRange, in input: inout Buffer) {
        webSocketKey = keepWhole(input.bytes.slice(range))
    }

    mutating func note(_ trace: TraceParent) {
        let start = memory.count
        if trace.append(to: &memory) { traceParent = ByteRange(from: start, to: memory.count) }
    }

    /// The name of the trace, or empty.
    var traceID: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            let text = text(traceParent)
            return text.isEmpty ? text : text.extracting(TraceParent.traceRange)
        }
    }

    mutating func note(requestID fresh: RequestID) {
        let start = memory.count
        if fresh.append(to: &memory) { requestID = ByteRange(from: start, to: memory.count) }
    }

    mutating func note(userOf permit: borrowing Permit, _ policy: borrowing PolicySnapshot) {
        user = keepWhole(policy.subject(of: permit))
    }

    /// Whoever was refused with a token that is good, but not for this request.
    mutating func note(userOf rejection: Rejection, _ policy: borrowing PolicySnapshot) {
        user = keepWhole(policy.subject(of: rejection))
    }

    mutating func note(server: Int, of upstream: inout UpstreamPool) {
        self.upstream = keepWhole(upstream.name(ofServer: server))
    }

    /// The policy may be another one when the answer comes, so its lines are copied.
    mutating func note(_ answer: CrossOriginAnswer, _ policy: borrowing PolicySnapshot) {
        crossOrigin = keepWhole(policy.crossOriginLines(answer))
    }

    mutating func note(_ path: ReturnPath, in input: inout Buffer) {
        let start = memory.count
        if path.append(input.bytes, to: &memory) { returnPath = ByteRange(from: start, to: memory.count) }
    }

    mutating func note(refusal text: StaticString) {
        let start = memory.count
        if memory.append(text) { refusal = ByteRange(start: start, count: text.utf8CodeUnitCount) }
    }

    /// As above, where nothing closer to the cause is known.
    mutating func noteUnlessKnown(refusal text: StaticString) {
        if refusal.isEmpty { note(refusal: text) }
    }

    /// A text that was kept.
    @_lifetime(borrow self)
    func text(_ range: ByteRange) -> Span<UInt8> {
        memory.bytes.extracting(range.bounds)
    }

    private mutating func keepWhole(_ text: Span<UInt8>) -> ByteRange {
        let start = memory.count
        return memory.append(text) ? ByteRange(start: start, count: text.count) : .empty
    }

    private mutating func keepBeginning(_ text: Span<UInt8>, limit: Int = textBytes) -> ByteRange {
        keepWhole(text.extracting(first: max(0, min(text.count, limit, memory.room - Self.laterBytes))))
    }
}
