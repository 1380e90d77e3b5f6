internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy
internal import Reactor
internal import Upstream

// How the heads of an exchange are written: the request's for the upstream, the answer's for the client.
//
// Much comes `inout` though it is only read: `&clients[i]` is an access to one property of the worker, whereas reading
// `clients[i]` counts as one to the whole worker, which would exclude writing to an exchange. The policy and the heads
// would be copied for the length of the call, byte by byte: 2.5 KB a request.

extension Exchange {
    /// Writes the head that goes upstream; false where it does not fit.
    mutating func appendRequestHead(
        _ head: inout RequestHead, of client: inout Downstream, _ permit: borrowing Permit,
        _ policy: inout PolicySnapshot, _ upstream: inout UpstreamPool
    ) -> Bool {
        let bytes = client.transport.input.bytes
        bindsServer = policy.bindsConnection(head, bytes, permit)
        return request.append(bytes.extracting(head.methodRange.bounds))
            && request.append(" ")
            && permit.appendTarget(bytes, to: &request)
            && request.append(" HTTP/1.1\r\n")
            && Self.appendFields(
                head, of: client, permit, policy, upstream, notes, keepsTraceState: !dropsTraceState,
                to: &request)
            && appendRequestFraming(head)
    }

    private static func appendFields(
        _ head: borrowing RequestHead, of client: borrowing Downstream, _ permit: borrowing Permit,
        _ policy: borrowing PolicySnapshot, _ upstream: borrowing UpstreamPool,
        _ notes: borrowing ExchangeNotes, keepsTraceState: Bool, to request: inout Buffer
    ) -> Bool {
        policy.appendUpstreamFields(
            of: head, bytes: client.transport.input.bytes, permit: permit, peer: client.peer,
            certificate: client.certificate,
            requestID: notes.text(notes.requestID), serverAuthority: upstream.authority(ofServer: 0),
            trace: notes.text(notes.traceParent), keepsTraceState: keepsTraceState, to: &request)
    }

    private mutating func appendRequestFraming(_ head: borrowing RequestHead) -> Bool {
        switch head.framing {
        case _ where wantsWebSocket && usesHTTP2:
            return request.append("\r\n")
        case _ where wantsWebSocket:
            return (version != .http2 || WebSocketKey.appendLine(to: &request))
                && request.append("Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        case .none:
            // A method that mostly has a body says that there is none (RFC 9110 §8.6).
            let announcesNone = method == .post || method == .put || method == .patch
            return request.append(announcesNone ? "Content-Length: 0\r\n\r\n" : "\r\n")
        case .length(let length):
            return request.append("Content-Length: ") && request.appendDecimal(length)
                && request.append("\r\n\r\n")
        case .chunked where usesHTTP2, .untilClose where usesHTTP2:
            return request.append("\r\n")
        case .chunked, .untilClose:
            return request.append("Transfer-Encoding: chunked\r\n\r\n")
        }
    }

    /// Makes Host name the server that was chosen, where the client's Host is not preserved; false where it has no room, and
    /// the request may go to none but the server that it names.
    mutating func nameServer(_ server: Int, of upstream: inout UpstreamPool, _ pool: inout BlockPool) -> Bool
    {
        guard hostServer >= 0, hostServer != server else { return true }
        let line = Self.hostLine(request)
        let authority = upstream.authority(ofServer: server)
        let byteCount = request.count - Int(line.count) + Self.hostLineBytes + authority.count
        guard let size = BlockPool.SizeClass.holding(byteCount) else { return false }
        hostServer = server
        var renamed = Buffer()
        renamed.attach(from: &pool, size)
        let fits = Self.append(request, line, host: authority, to: &renamed)
        precondition(fits, "the block was chosen for it")
        swap(&request, &renamed)
        renamed.detach(to: &pool)
        return true
    }

    /// What stands around the name in the line, without its LF, in bytes.
    private static var hostLineBytes: Int { "Host: \r".utf8.count }
    /// The longest name of a server, its port included, and what framing in chunks may add to a body, in bytes.
    private static var renamingBytes: Int { 512 }

    /// True where so many bytes of the client's may stand behind the head: a larger block takes the name of another server,
    /// but behind the largest there is none.
    func leavesRoomForName(behind byteCount: Int) -> Bool {
        hostServer < 0 || request.room >= byteCount + Self.renamingBytes
            || request.count + request.room < BlockPool.SizeClass.large.byteCount
    }

    /// Where Host stands, without its LF: it is the first field, behind the request line.
    private static func hostLine(_ request: borrowing Buffer) -> ByteRange {
        let head = request.bytes
        let start = ASCII.firstIndex(of: 0x0A, in: head, from: 0, to: head.count) + 1
        return ByteRange(
            from: start, to: ASCII.firstIndex(of: 0x0A, in: head, from: start, to: head.count))
    }

    private static func append(
        _ request: borrowing Buffer, _ line: ByteRange, host: Span<UInt8>, to buffer: inout Buffer
    ) -> Bool {
        let head = request.bytes
        return buffer.append(head.extracting(first: Int(line.start))) && buffer.append("Host: ")
            && buffer.append(host)
            && buffer.append("\r") && buffer.append(head.extracting(droppingFirst: line.end))
    }

    /// Sends what is left of the head, and of the body that lies behind it.
    mutating func sendRequest(on transport: inout Transport) -> IOResult {
        let result = Self.send(request, from: sentBytes, on: &transport)
        if case .bytes(let count) = result { sentBytes += count }
        return result
    }

    private static func send(
        _ request: borrowing Buffer, from offset: Int, on transport: inout Transport
    ) -> IOResult {
        transport.send(request.bytes.extracting(droppingFirst: offset))
    }

    /// Writes a 1xx head for the client; false where it does not fit.
    mutating func appendInterimHead(
        _ head: borrowing ResponseHead, in input: inout Buffer, to output: inout Buffer
    ) -> Bool {
        let bytes = input.bytes
        return output.appendStatusLine(bytes, status: head.status, reason: head.reason)
            && ResponseFields.append(
                of: head, bytes: bytes, requestID: notes.text(notes.requestID), to: &output)
            && output.append("\r\n")
    }

    /// Writes the head of a 101 for the client, but for the empty line at its end; false where it does not fit.
    mutating func appendSwitchingHead(
        _ head: borrowing ResponseHead, in input: inout Buffer, to output: inout Buffer
    ) -> Bool {
        // What a server answers an extended CONNECT with is 200, and its client may speak HTTP/1.1.
        output.append("HTTP/1.1 101 Switching Protocols\r\n")
            && ResponseFields.append(
                of: head, bytes: input.bytes, requestID: notes.text(notes.requestID), to: &output)
            && appendSubprotocol(head, to: &output)
            && (version == .http2 || appendUpgrade(to: &output))
    }

    private func appendUpgrade(to output: inout Buffer) -> Bool {
        output.append("Connection: upgrade\r\nUpgrade: websocket\r\n")
            && (!usesHTTP2 || WebSocketKey.appendProof(of: notes.text(notes.webSocketKey), to: &output))
    }

    /// A client that offered subprotocols gives up where none is chosen (RFC 6455 §4.1), and the backend saw nothing of
    /// `bearer`.
    private func appendSubprotocol(
        _ head: borrowing ResponseHead, to output: inout Buffer
    ) -> Bool {
        guard offersBearerSubprotocol else { return true }
        for index in 0..<head.fields.count {
            if head.fields[index].name == .secWebSocketProtocol { return true }
        }
        return output.append("Sec-WebSocket-Protocol: bearer\r\n")
    }

    /// Writes the answer's head for the client, but for the empty line at its end; false where it does not fit. One that
    /// `isPersonal` gets cookies besides: no cache may keep it.
    mutating func appendResponseHead(
        _ head: inout ResponseHead, in input: inout Buffer, date: inout DateField,
        _ security: StrictTransportSecurity, isPersonal: Bool, to output: inout Buffer
    ) -> Bool {
        let bytes = input.bytes
        return output.appendStatusLine(bytes, status: head.status, reason: head.reason)
            && ResponseFields.append(
                of: head, bytes: bytes, requestID: notes.text(notes.requestID), crossOrigin: crossOrigin,
                crossOriginLines: notes.text(notes.crossOrigin), isPersonal: isPersonal, to: &output)
            && appendResponseFraming(head, to: &output)
            && (Self.hasDate(head) || date.append(to: &output))
            && (security == .none || head.hasTransportSecurity(bytes) || security.append(to: &output))
            && appendConnection(to: &output)
    }

    private func appendResponseFraming(_ head: borrowing ResponseHead, to output: inout Buffer) -> Bool {
        if responseBody.coding == .chunked { return output.append("Transfer-Encoding: chunked\r\n") }
        guard let length = head.contentLength else { return true }
        return output.append("Content-Length: ") && output.appendDecimal(length) && output.append("\r\n")
    }

    /// A message without Date gets one from whoever passes it on (RFC 9110 §6.6.1).
    private static func hasDate(_ head: borrowing ResponseHead) -> Bool {
        for index in 0..<head.fields.count where head.fields[index].name == .date { return true }
        return false
    }

    /// The fields that every answer of the proxy's own ends with.
    mutating func appendOwnFields(
        date: DateField, _ security: StrictTransportSecurity, to output: inout Buffer
    ) -> Bool {
        date.append(to: &output)
            && (security == .none || security.append(to: &output))
            && output.append("X-Request-Id: ") && output.append(notes.text(notes.requestID))
            && output.append("\r\n")
            && output.append(notes.text(notes.crossOrigin))
            && (!crossOrigin.variesByOrigin || output.append("Vary: Origin\r\n"))
            && appendConnection(to: &output)
    }

    /// What becomes of the connection (RFC 9112 §9.3).
    private func appendConnection(to output: inout Buffer) -> Bool {
        if version == .http2 { return true }
        if !keepsClient { return output.append("Connection: close\r\n") }
        return version == .http10 ? output.append("Connection: keep-alive\r\n") : true
    }
}
