internal import Bytes
internal import HTTP
internal import Policy
internal import Reactor
internal import Telemetry
internal import Upstream

// Which trace a request belongs to, and, of those that are recorded, what is told of it: one span for the exchange with
// the client, and one for each attempt at a server (OpenTelemetry's conventions for HTTP).
//
// Never told: the query, any header but Host, credentials. What is not recorded costs the header for the backend alone.

/// What is known so far of a request that is recorded.
struct RequestTrace {
    /// The trace, and the span of the exchange with the client.
    let context: TraceParent
    /// The span that the request came from; 0: none.
    let parent: UInt64
    let state: [UInt8]
    let method: [UInt8]
    let route: [UInt8]
    let host: [UInt8]
    let path: [UInt8]
    /// The span that the header for the backend names, before there is a first attempt.
    let firstAttempt: UInt64
    var attempts = 0
    var attempt: Attempt?

    /// An attempt at a server that has not ended.
    struct Attempt {
        let span: UInt64
        let started: Instant
        let upstream: [UInt8]
        let server: [UInt8]
    }
}

extension Worker {
    /// Decides which trace a request belongs to, and whether it is recorded.
    mutating func beginTrace(
        _ exchange: UInt32, _ client: UInt32, _ route: Int?, _ settings: TracingSettings
    ) {
        let told = Self.told(head, &clients[client])
        let isTrusted = told != nil && policy.trusts(clients[client].peer)
        let continued = settings.continuesFrom.includes(isTrusted) ? told : nil
        let isSampled =
            continued.flatMap { settings.sampledBy.includes(isTrusted) ? $0.isSampled : nil }
            ?? settings.takes(requestIDs.number())
        var context = TraceParent(
            traceHigh: continued?.traceHigh ?? requestIDs.number(),
            traceLow: continued?.traceLow ?? requestIDs.number(), span: requestIDs.number(),
            isSampled: isSampled)
        exchanges[exchange].notes.note(context)
        exchanges[exchange].dropsTraceState = continued == nil
        guard isSampled else { return }
        let attempt = context.span
        context.span = requestIDs.number()
        exchanges[exchange].isTraced = true
        traces[exchange] = Self.trace(
            head, &clients[client], context, attempt: attempt, continuing: continued,
            route: route.map { routeNames[$0] } ?? [], tellsPath: settings.tellsPath)
    }

    private static func told(_ head: borrowing RequestHead, _ client: inout Downstream) -> TraceParent? {
        TraceParent.told(by: head, client.transport.input.bytes)
    }

    private static func trace(
        _ head: borrowing RequestHead, _ client: inout Downstream, _ context: TraceParent, attempt: UInt64,
        continuing: TraceParent?, route: [UInt8], tellsPath: Bool
    ) -> RequestTrace {
        let bytes = client.transport.input.bytes
        let method = head.method == .other ? "_OTHER" : "\(head.method.text)"
        return RequestTrace(
            context: context, parent: continuing?.span ?? 0,
            state: continuing == nil ? [] : state(head, bytes), method: Array(method.utf8), route: route,
            host: copy(bytes.slice(head.host), limit: 255),
            path: tellsPath ? copy(bytes.slice(head.path), limit: 1024) : [], firstAttempt: attempt)
    }

    /// What others have noted of the trace, as one list; what is longer than everybody must keep is left out whole (W3C
    /// Trace Context, 3.3.1.5).
    private static func state(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> [UInt8] {
        var state: [UInt8] = []
        for index in 0..<head.fields.count
        where head.fields[index].name == .other && head.fields[index].isTraceState(bytes) {
            if !state.isEmpty { state.append(0x2C) }
            state += copy(bytes.slice(head.fields[index].valueRange), limit: 513)
        }
        return state.count <= 512 && state.allSatisfy { $0 >= 0x20 && $0 < 0x7F } ? state : []
    }

    private static func copy(_ text: Span<UInt8>, limit: Int) -> [UInt8] {
        text.extracting(first: limit).indices.map { text[$0] }
    }

    // MARK: Attempts

    /// A request that is recorded goes to a server; an attempt before has failed.
    mutating func beginAttempt(_ exchange: UInt32, server: Int) {
        guard var trace = traces[exchange] else { return }
        let upstream = exchanges[exchange].pool.index
        var span = trace.firstAttempt
        if let failed = trace.attempt {
            let isConnected = exchanges[exchange].phase == .relaying
            finish(
                failed, of: trace, status: 0, error: isConnected ? "connection_closed" : "connection_failed")
            span = requestIDs.number()
            exchanges[exchange].nameSpan(span, &pool)
        }
        trace.attempts += 1
        trace.attempt = RequestTrace.Attempt(
            span: span, started: now, upstream: Array(pools[upstream].settings.name.utf8),
            server: Self.name(of: server, &pools[upstream]))
        traces[exchange] = trace
    }

    private static func name(of server: Int, _ pool: inout UpstreamPool) -> [UInt8] {
        copy(pool.authority(ofServer: server), limit: 255)
    }

    private func finish(
        _ attempt: RequestTrace.Attempt, of trace: RequestTrace, status: Int, error: String?
    ) {
        var span = TraceSpan(
            traceHigh: trace.context.traceHigh, traceLow: trace.context.traceLow, identifier: attempt.span,
            parent: trace.context.span, kind: .client, name: trace.method)
        span.state = trace.state
        span.start = nanoseconds(at: attempt.started)
        span.end = nanoseconds(at: now)
        span.isError = error != nil || status >= 400
        span.set("http.request.method", trace.method)
        span.setAuthority(attempt.server)
        if trace.attempts > 1 { span.set("http.request.resend_count", trace.attempts - 1) }
        if status > 0 { span.set("http.response.status_code", status) }
        if let error {
            span.set("error.type", error)
        } else if status >= 400 {
            span.set("error.type", "\(status)")
        }
        span.set("usher.upstream", attempt.upstream)
        spans.append(span.encoded)
    }

    /// When the clock showed that instant, in nanoseconds since 1970.
    private func nanoseconds(at instant: Instant) -> UInt64 {
        let microseconds = wallMicroseconds &- now.microseconds(since: instant)
        return UInt64(clamping: microseconds) &* 1000
    }

    // MARK: The end

    /// The exchange is over: its spans go out.
    mutating func endTrace(_ exchange: UInt32) {
        guard let trace = traces.removeValue(forKey: exchange) else { return }
        let code = exchanges[exchange].code
        let isFault = code.status >= 500 || code == .upstreamTruncated
        if let attempt = trace.attempt {
            let isAnswered = exchanges[exchange].answeredAt != .never
            finish(
                attempt, of: trace, status: isAnswered ? Int(exchanges[exchange].status) : 0,
                error: isFault || (!isAnswered && code != .ok) ? "\(code.text)" : nil)
        }
        let peer = clients[exchanges[exchange].client.index].peer
        spans.append(serverSpan(of: trace, exchanges[exchange], peer, isFault: isFault).encoded)
    }

    private func serverSpan(
        of trace: RequestTrace, _ exchange: borrowing Exchange, _ peer: PeerFacts, isFault: Bool
    ) -> TraceSpan {
        let name = trace.route.isEmpty ? trace.method : trace.method + [0x20] + trace.route
        var span = TraceSpan(
            traceHigh: trace.context.traceHigh, traceLow: trace.context.traceLow,
            identifier: trace.context.span, parent: trace.parent, kind: .server, name: name)
        span.hasRemoteParent = trace.parent != 0
        span.state = trace.state
        span.start = nanoseconds(at: exchange.started)
        span.end = nanoseconds(at: now)
        span.isError = isFault || exchange.status >= 500
        span.set("http.request.method", trace.method)
        span.set("url.scheme", peer.isSecure ? "https" : "http")
        span.set("http.route", trace.route)
        span.setAuthority(trace.host)
        span.set("url.path", trace.path)
        if exchange.status > 0 { span.set("http.response.status_code", Int(exchange.status)) }
        switch exchange.version {
        case .http10: span.set("network.protocol.version", "1.0")
        case .http11: span.set("network.protocol.version", "1.1")
        case .http2: span.set("network.protocol.version", "2")
        }
        if isFault {
            span.set("error.type", "\(exchange.code.text)")
        } else if exchange.status >= 500 {
            span.set("error.type", "\(exchange.status)")
        }
        span.set("usher.reason", "\(exchange.code.text)")
        span.set("usher.listener", listenerNames[peer.listener])
        if tracing?.tellsUser == true {
            span.set("enduser.id", Self.text(exchange.notes, exchange.notes.user))
        }
        if tracing?.tellsClient == true {
            let forwarded = Self.text(exchange.notes, exchange.notes.client)
            span.set("client.address", forwarded.isEmpty ? Self.copy(peer.addressText, limit: 64) : forwarded)
        }
        return span
    }

    private static func text(_ notes: borrowing ExchangeNotes, _ range: ByteRange) -> [UInt8] {
        copy(notes.text(range), limit: 448)
    }
}

extension TraceSpan {
    /// Says which server was meant: `host`, `host:port`, `[address]:port`.
    fileprivate mutating func setAuthority(_ authority: [UInt8]) {
        var host = authority[...]
        var port: Int?
        if let colon = authority.lastIndex(of: 0x3A), authority.last != 0x5D {
            port = Self.number(authority[(colon + 1)...])
            if port != nil { host = authority[..<colon] }
        }
        if host.first == 0x5B, host.last == 0x5D { host = host.dropFirst().dropLast() }
        set("server.address", host)
        if let port { set("server.port", port) }
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        guard (1...5).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}

extension Exchange {
    /// Names another span in the `traceparent` of a request that is sent once more. The line is this side's own: the
    /// client's was left out.
    mutating func nameSpan(_ span: UInt64, _ pool: inout BlockPool) {
        guard let place = Self.placeOfSpan(request), let size = BlockPool.SizeClass.holding(request.count)
        else { return }
        var renamed = Buffer()
        renamed.attach(from: &pool, size)
        let fits = Self.append(request, span: span, at: place, to: &renamed)
        precondition(fits, "the block is as large as the one before")
        swap(&request, &renamed)
        renamed.detach(to: &pool)
    }

    private static func append(
        _ request: borrowing Buffer, span: UInt64, at place: Int, to buffer: inout Buffer
    ) -> Bool {
        buffer.append(request.bytes.extracting(first: place)) && buffer.append(hexadecimal: span)
            && buffer.append(request.bytes.extracting(droppingFirst: place + 16))
    }

    /// Where the span stands: in the first line of that name, which no body behind the head can come before.
    private static func placeOfSpan(_ request: borrowing Buffer) -> Int? {
        let bytes = request.bytes
        let line: StaticString = "traceparent: 00-"
        let length = line.utf8CodeUnitCount
        var start = 0
        while start + length + TraceParent.byteCount < bytes.count {
            if ASCII.equalsIgnoringCase(bytes.extracting(start..<start + length), line) {
                return start + length - 3 + TraceParent.spanRange.lowerBound
            }
            let next = ASCII.firstIndex(of: 0x0A, in: bytes, from: start, to: bytes.count) + 1
            // The empty line ends the head.
            guard next < bytes.count, bytes[next] != 0x0D else { return nil }
            start = next
        }
        return nil
    }
}
