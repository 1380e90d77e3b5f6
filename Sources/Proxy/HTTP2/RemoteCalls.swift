internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy
internal import Reactor

// gRPC: its clients read no status of HTTP, but `grpc-status` in trailers. Where the proxy itself answers, an answer
// without content has them in its head ("Trailers-Only", https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

extension Worker {
    /// Notes a call of gRPC, and how long its client waits.
    mutating func noteRemoteCall(_ exchange: UInt32, _ client: UInt32) {
        guard Self.isRemoteCall(head, &clients[client].transport.input) else { return }
        exchanges[exchange].isGRPC = true
        guard let patience = Self.patience(head, &clients[client].transport.input) else { return }
        exchanges[exchange].deadline = exchanges[exchange].started.advanced(byMilliseconds: patience)
    }

    private static func isRemoteCall(_ head: borrowing RequestHead, _ input: inout Buffer) -> Bool {
        let bytes = input.bytes
        for index in 0..<head.fields.count where head.fields[index].name == .contentType {
            return isType(bytes.slice(head.fields[index].valueRange))
        }
        return false
    }

    private static func isType(_ value: Span<UInt8>) -> Bool {
        let prefix = 16
        guard value.count >= prefix,
            ASCII.equalsIgnoringCase(value.extracting(first: prefix), "application/grpc")
        else { return false }
        // `application/grpc-web` is another protocol, which reads the status of HTTP.
        return value.count == prefix || value[prefix] == 0x2B || value[prefix] == 0x3B
    }

    /// `grpc-timeout`, in milliseconds, rounded up: at most eight digits and a unit.
    private static func patience(_ head: borrowing RequestHead, _ input: inout Buffer) -> Int64? {
        let bytes = input.bytes
        for index in 0..<head.fields.count where head.fields[index].name == .other {
            guard ASCII.equalsIgnoringCase(bytes.slice(head.fields[index].nameRange), "grpc-timeout") else {
                continue
            }
            return RemoteCallTimeout.milliseconds(bytes.slice(head.fields[index].valueRange))
        }
        return nil
    }

    /// Notes whether the answer, whose head is being taken, ends in trailers that have the call's status. Without them it
    /// is not complete, so that they may stand for a part that is missing; but not where a length was announced, which an answer
    /// that is cut off would not have (RFC 9113 §8.1.1).
    mutating func noteAnswerOfCall(_ exchange: UInt32) {
        let server = exchanges[exchange].server.index
        exchanges[exchange].answersCall =
            responseHead.contentLength == nil && exchanges[exchange].version == .http2
            && Self.isOfCall(responseHead, &servers[server].transport.input)
    }

    private static func isOfCall(_ head: borrowing ResponseHead, _ input: inout Buffer) -> Bool {
        let bytes = input.bytes
        for index in 0..<head.fields.count where head.fields[index].name == .contentType {
            return isType(bytes.slice(head.fields[index].valueRange))
        }
        return false
    }

    /// Ends a call whose answer has begun with the status that says why, as a server does: a reset would be CANCELLED or
    /// INTERNAL, which tell its client nothing of what to do. False where the stream has to be reset.
    ///
    /// What the client has not taken yet is thrown away: it may be half a message.
    mutating func endCall(_ exchange: UInt32, _ code: ReasonCode) -> Bool {
        let client = exchanges[exchange].client.index
        let multiplexer = clients[client].multiplexer
        guard exchanges[exchange].serverReset == nil, code != .clientClosed,
            !exchanges[exchange].responseBody.isComplete, multiplexers.contains(multiplexer)
        else { return false }
        clients[client].transport.output.detach(to: &pool)
        var text = Buffer()
        text.attach(from: &pool)
        let fits =
            text.append("grpc-status: ") && text.appendDecimal(RemoteCallStatus.of(code).rawValue)
            && text.append("\r\ngrpc-message: ") && text.append(message(exchange, code))
            && text.append("\r\n")
        if fits {
            Self.setTrailers(text, clients[client].stream.slot, &multiplexers[multiplexer.index].session)
        }
        text.detach(to: &pool)
        return fits
    }

    private func message(_ exchange: UInt32, _ code: ReasonCode) -> StaticString {
        switch code {
        case exchanges[exchange].tokenEnd.code: exchanges[exchange].tokenEnd.text
        case .upstreamTruncated: "the backend broke off"
        case .shutDown: "the proxy ends"
        default: code.title
        }
    }

    /// Writes the head that says why there is no answer; false where it does not fit.
    mutating func appendRemoteCallReply(
        _ exchange: UInt32, _ client: UInt32, _ code: ReasonCode, _ rejection: Rejection?
    ) -> Bool {
        clients[client].transport.output.appendStatusLine(200)
            && clients[client].transport.output.append("Content-Type: application/grpc\r\nGrpc-Status: ")
            && clients[client].transport.output.appendDecimal(RemoteCallStatus.of(code).rawValue)
            && clients[client].transport.output.append("\r\nGrpc-Message: ")
            && clients[client].transport.output.append(code.title)
            && clients[client].transport.output.append("\r\n")
            && appendChallenge(client, rejection)
            && appendRetryAfter(client, code, rejection)
            && appendAddedFields(exchange, client)
            && exchanges[exchange].appendOwnFields(
                date: dateField, clients[client].strictTransportSecurity,
                to: &clients[client].transport.output)
            && clients[client].transport.output.append("\r\n")
    }
}

/// The status codes of gRPC that the proxy gives.
enum RemoteCallStatus: UInt64 {
    case unknown = 2
    case deadlineExceeded = 4
    case permissionDenied = 7
    case resourceExhausted = 8
    case unimplemented = 12
    case internalError = 13
    case unavailable = 14
    case unauthenticated = 16

    /// What a client of gRPC is told where others get this code. With `denied = 404`, what must not be known to exist is
    /// the same as what does not.
    static func of(_ code: ReasonCode) -> RemoteCallStatus {
        if code == .upstreamTruncated || code == .shutDown { return .unavailable }
        return switch code.status {
        case 400: .internalError
        case 401: .unauthenticated
        case 403: .permissionDenied
        case 404, 405, 501: .unimplemented
        case 408, 504: .deadlineExceeded
        case 413, 414, 429, 431: .resourceExhausted
        case 500: .internalError
        case 502, 503: .unavailable
        default: .unknown
        }
    }
}

/// The value of `grpc-timeout`.
enum RemoteCallTimeout {
    /// In milliseconds, rounded up; nil for what is none.
    static func milliseconds(_ text: Span<UInt8>) -> Int64? {
        guard text.count >= 2, text.count <= 9 else { return nil }
        var amount: Int64 = 0
        for index in 0..<text.count - 1 {
            guard text[index] >= 0x30, text[index] <= 0x39 else { return nil }
            amount = amount * 10 + Int64(text[index] - 0x30)
        }
        switch text[text.count - 1] {
        case UInt8(ascii: "H"): return amount * 3_600_000
        case UInt8(ascii: "M"): return amount * 60_000
        case UInt8(ascii: "S"): return amount * 1000
        case UInt8(ascii: "m"): return amount
        case UInt8(ascii: "u"): return (amount + 999) / 1000
        case UInt8(ascii: "n"): return (amount + 999_999) / 1_000_000
        default: return nil
        }
    }
}
