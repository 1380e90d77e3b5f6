internal import Bytes
internal import HTTP

/// Rules for header names that a configuration may speak of.
enum HeaderNames {
    /// RFC 9110, 5.6.2: token.
    static func isToken(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy(ASCII.isToken)
    }

    /// What a backend may take for the same name (H1, H2): lower case, every other byte a `-`.
    static func folded(_ name: String) -> String {
        var folded = ""
        for byte in name.utf8 {
            let isPlain = ASCIISet.alphanumeric.contains(byte)
            folded.unicodeScalars.append(isPlain ? Unicode.Scalar(ASCII.lowercased(byte)) : "-")
        }
        return folded
    }

    /// Whether a header of this name may carry a claim: a token whose meaning is not the message's or the proxy's.
    static func mayCarryIdentity(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard isToken(name), !reserved.contains(folded(name)) else { return false }
        let known = FieldName.lookUp(bytes.span, ByteRange(start: 0, count: bytes.count))
        return known.flags.isDisjoint(with: [.hopByHop, .framing, .neverForwarded, .singleton])
    }

    /// Names whose meaning is the message's or the proxy's own, folded: none can carry an identity.
    static let reserved: Set<String> = [
        "host", "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
        "proxy", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "content-type",
        "content-encoding", "expect", "authorization", "cookie", "set-cookie", "via", "forwarded",
        "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip",
        "x-request-id", "traceparent", "tracestate", "date", "range", "http2-settings",
        "x-http-method-override", "x-http-method", "x-method-override", "sec-websocket-key",
        "sec-websocket-accept", "sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions",
    ]

    /// Names without which a message cannot be framed or routed, folded.
    static let indispensable: Set<String> = [
        "host", "connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
    ]
}
