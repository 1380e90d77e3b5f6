internal import Bytes
internal import HTTP
internal import HTTP1
internal import HTTP2
internal import Policy
internal import Reactor

// Plain requests are sent to the secure listener: a route says so, or the whole listener.

extension Worker {
    /// Answers a request of a listener that sends everybody to the secure one.
    mutating func redirect(_ client: UInt32, toPort port: UInt16) {
        refuse(client, Self.redirection(&policy, head, &clients[client], port))
    }

    private static func redirection(
        _ policy: inout PolicySnapshot, _ head: borrowing RequestHead, _ client: inout Downstream,
        _ port: UInt16
    ) -> Rejection {
        policy.redirect(head: head, bytes: client.transport.input.bytes, port: Int32(port))
    }

    /// Sends the client to the same place over TLS. 308 keeps the method and the body (RFC 9110 §15.4.9), may be kept by
    /// caches, and is followed for a page of another origin only where it says that this may read it.
    mutating func send(
        _ client: UInt32, to redirection: Redirection, _ route: Int?, _ crossOrigin: CrossOriginAnswer
    ) {
        let exchange = openExchange(client, requestBody: BodyRelay(head.framing, as: .identity))
        noteRequest(exchange, client, route: route)
        if crossOrigin.isRuled { note(exchange, crossOrigin) }
        noteForLog(exchange, client, route: route)
        exchanges[exchange].phase = .replying
        exchanges[exchange].status = 308
        let fits =
            makeRoom(Self.ownAnswerBytes + head.byteCount, client)
            && clients[client].transport.output.appendStatusLine(308)
            && clients[client].appendLocation(redirection, &policy)
        clients[client].transport.input.consume(head.byteCount)
        dropBody(exchange, client)
        if !exchanges[exchange].requestBody.isComplete || clients[client].isLast || isDraining {
            exchanges[exchange].keepsClient = false
        }
        guard fits, clients[client].transport.output.append("Content-Length: 0\r\n"),
            exchanges[exchange].appendOwnFields(
                date: dateField, clients[client].strictTransportSecurity,
                to: &clients[client].transport.output),
            clients[client].transport.output.append("\r\n")
        else { return abandon(exchange, .internalError) }
        if clients[client].transport.isStream { submitHead(client, .final(endsStream: true)) }
        advanceReply(exchange)
    }
}

extension Downstream {
    /// Writes the `Location` line; false where it does not fit.
    mutating func appendLocation(_ redirection: Redirection, _ policy: inout PolicySnapshot) -> Bool {
        Self.append(redirection, policy, transport.input, to: &transport.output)
    }

    private static func append(
        _ redirection: Redirection, _ policy: borrowing PolicySnapshot, _ input: borrowing Buffer,
        to output: inout Buffer
    ) -> Bool {
        policy.appendLocation(redirection, bytes: input.bytes, to: &output)
    }
}
