import Bytes
import HTTP

/// A header section while it is being received (RFC 9113 §8.2, §8.3), and how it becomes text.
///
/// nghttp2 has checked the rules of HTTP/2 already: pseudo-header fields first and once, names in lower case, no
/// connection-specific fields, TE with nothing but trailers. What is checked here again is what the text rests on, so
/// that no byte of a value can end a line of it (rule F5).
struct FieldSection: ~Copyable {
    enum Kind {
        /// None is being received.
        case none
        case request
        /// The head of a backend's answer.
        case answer
        case trailers
    }

    /// What became of a field.
    enum Verdict {
        /// It is taken, or dropped as it should be.
        case taken
        /// It is beyond the limits: the request is refused, what follows is thrown away.
        case beyondLimit
        /// It breaks a rule of HTTP/2.
        case malformed
    }

    private(set) var kind = Kind.none
    private(set) var slot: Int32 = -1
    /// The rule that refuses the request with an answer.
    private(set) var fault: MessageFault?

    private var pseudo = ByteArray()
    private var method = ByteRange.empty
    private var path = ByteRange.empty
    private var authority = ByteRange.empty
    private var protocolName = ByteRange.empty
    private var status = ByteRange.empty
    private var hasLength = false
    private var lines = ByteArray()
    private var cookies = ByteArray()
    private var fieldsLeft = 0
    private var bytesLeft = 0
    private var targetBytes = 0

    /// Starts a section.
    mutating func begin(_ kind: Kind, slot: Int32, _ limits: HTTP2Limits) {
        self.kind = kind
        self.slot = slot
        fault = nil
        pseudo.removeAll()
        lines.removeAll()
        cookies.removeAll()
        (method, path, authority, protocolName) = (.empty, .empty, .empty, .empty)
        status = .empty
        hasLength = false
        let isOfTrailers = kind == .trailers
        bytesLeft = isOfTrailers ? HeadLimits.trailerBytes : limits.head.headBytes
        fieldsLeft = isOfTrailers ? HeadLimits.trailerCount : limits.head.fieldCount
        targetBytes = limits.head.targetBytes
    }

    /// Forgets the section.
    mutating func end() { kind = .none }

    /// Extended CONNECT for WebSocket (RFC 8441 §4).
    var isWebSocket: Bool {
        !protocolName.isEmpty && ASCII.equals(pseudo.span(protocolName), "websocket")
            && ASCII.equals(pseudo.span(method), "CONNECT")
    }

    /// The request is HEAD, as far as it was read.
    var isHead: Bool { ASCII.equals(pseudo.span(method), "HEAD") }

    /// Takes one field.
    mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Verdict {
        bytesLeft -= name.count + value.count + 4
        guard fault == nil, bytesLeft >= 0 else {
            noteMethod(name, value)
            return refuse(.headTooLarge)
        }
        if name.count > 0, name[0] == 0x3A { return addPseudo(name, value) }
        fieldsLeft -= 1
        guard fieldsLeft >= 0 else { return refuse(.tooManyFields) }
        guard ASCII.endOfToken(name, from: 0) == name.count, name.count > 0, Self.isFieldValue(value) else {
            return .malformed
        }
        return addField(name, value)
    }

    /// The method says whether the answer to a section beyond the limits may have content.
    private mutating func noteMethod(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard kind == .request, method.isEmpty, value.count <= HeadLimits.methodBytes else { return }
        if name.count == 7, ASCII.equals(name, ":method") { method = keep(value) }
    }

    private mutating func refuse(_ fault: MessageFault) -> Verdict {
        self.fault = self.fault ?? fault
        return .beyondLimit
    }

    /// No control character, and no whitespace at the ends (RFC 9113 §8.2.1).
    private static func isFieldValue(_ value: Span<UInt8>) -> Bool {
        guard value.count > 0 else { return true }
        return ASCII.isFieldValue(value) && !ASCII.isWhitespace(value[0])
            && !ASCII.isWhitespace(value[value.count - 1])
    }

    private mutating func addPseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Verdict {
        guard kind != .trailers, ASCII.endOfVisible(value, from: 0) == value.count else { return .malformed }
        guard kind == .request else { return addStatus(name, value) }
        switch name.count {
        case 5 where ASCII.equals(name, ":path"):
            path = keep(value)
            if value.count > targetBytes { return refuse(.targetTooLong) }
            // RFC 9113 §8.3.1: never the absolute form, which would name another authority.
            guard value.count > 0, value[0] == 0x2F || ASCII.equals(value, "*") else { return .malformed }
        case 7 where ASCII.equals(name, ":method"):
            method = keep(value)
            if value.count > HeadLimits.methodBytes { return refuse(.methodTooLong) }
            guard value.count > 0, ASCII.endOfToken(value, from: 0) == value.count else { return .malformed }
        case 7 where ASCII.equals(name, ":scheme"):
            // A gateway has no other, and decides nothing by it (rule H8).
            let isKnown =
                ASCII.equalsIgnoringCase(value, "http") || ASCII.equalsIgnoringCase(value, "https")
            guard isKnown else { return .malformed }
        case 9 where ASCII.equals(name, ":protocol"):
            protocolName = keep(value)
        case 10 where ASCII.equals(name, ":authority"):
            authority = keep(value)
            fieldsLeft -= 1
        default:
            return .malformed
        }
        return .taken
    }

    private mutating func keep(_ value: Span<UInt8>) -> ByteRange {
        let start = pseudo.count
        pseudo.append(value)
        return pseudo.range(since: start)
    }

    /// Three digits; 101 has no place in HTTP/2 (RFC 9113 §8.6).
    private mutating func addStatus(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Verdict {
        guard ASCII.equals(name, ":status"), value.count == 3, !ASCII.equals(value, "101") else {
            return .malformed
        }
        for index in 0..<3 where value[index] < 0x30 || value[index] > 0x39 { return .malformed }
        status = keep(value)
        return .taken
    }

    private mutating func addField(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Verdict {
        guard kind == .request else {
            if ASCII.equals(name, "content-length") { hasLength = true }
            // HTTP/2 has no key that it could be the answer to (RFC 8441 §5).
            if kind == .answer, ASCII.equals(name, "sec-websocket-accept") { return .taken }
            appendLine(name, value)
            return .taken
        }
        switch name.count {
        case 4 where ASCII.equals(name, "host") && !authority.isEmpty:
            // Two names for one server must be one (RFC 9113 §8.3.1, rule F5).
            return ASCII.equalsIgnoringCase(value, pseudo.span(authority)) ? .taken : .malformed
        case 6 where ASCII.equals(name, "cookie"):
            // Crumbs of one field (RFC 9113 §8.2.3).
            if cookies.count > 0 { cookies.append("; ") }
            cookies.append(value)
        case 17 where ASCII.equals(name, "sec-websocket-key") && !protocolName.isEmpty:
            // HTTP/2 has none (RFC 8441 §5); the backend gets one of this proxy.
            break
        default:
            appendLine(name, value)
        }
        return .taken
    }

    private mutating func appendLine(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        lines.appendLine(name, ": ", value)
    }

    /// Adds the text of a request's section, which `RequestSection` reads.
    func appendRequest(to text: inout ByteArray) {
        // RFC 8441 §5: what is CONNECT here is GET in HTTP/1.1, and the same rules decide about both.
        if isWebSocket {
            text.appendLine(Span(), "GET ", pseudo.span(path))
        } else {
            text.appendLine(pseudo.span(method), " ", pseudo.span(path))
        }
        if !authority.isEmpty { text.appendLine(Span(), "host: ", pseudo.span(authority)) }
        text.append(lines.span)
        if cookies.count > 0 { text.appendLine(Span(), "cookie: ", cookies.span) }
        text.append("\r\n")
    }

    /// The section of an answer is one of 1xx: another follows.
    var isInterim: Bool { !status.isEmpty && pseudo.span(status)[0] == 0x31 }

    /// Adds the text of an answer's head, as HTTP/1.1 has it.
    func appendAnswer(to text: inout ByteArray, isWhole: Bool) {
        text.append("HTTP/1.1 ")
        text.append(pseudo.span(status))
        text.append(" \r\n")
        text.append(lines.span)
        // In HTTP/1.1 the end has to be said in so many words, but where there can be no content (RFC 9110 §8.6).
        let isBodiless = ASCII.equals(pseudo.span(status), "204") || ASCII.equals(pseudo.span(status), "304")
        if isWhole, !hasLength, !isBodiless { text.append("content-length: 0\r\n") }
        text.append("\r\n")
    }

    /// Adds the lines of a trailer section.
    func appendTrailers(to text: inout ByteArray) { text.append(lines.span) }
}
