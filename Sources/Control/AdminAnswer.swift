import Bytes
import HTTP

/// What the admin listener's pages show.
struct AdminState {
    /// Why new requests are not welcome now; nil while they are.
    var notReadyReason: String?
    /// Revokes what a text names: nil where nothing can be revoked, false where the text is not understood.
    var revoke: ([UInt8]) -> Bool? = { _ in nil }
    /// The text of /metrics, made when it is asked for.
    var metrics: () -> String
}

/// The answer to a request on the admin listener.
struct AdminAnswer: Equatable {
    var status: UInt16
    var contentType = "text/plain; charset=utf-8"
    var body: String
    /// False for HEAD: the length is told, the body not sent.
    var sendsBody = true

    /// The answer to a request; `bytes` are those of its head, and of its body behind it.
    ///
    /// Rule F9: a browser must not be led to this port by somebody's page. Browsers send Origin with what a page
    /// posts or fetches across origins, and Sec-Fetch-* with everything; no scraper and no probe sends either.
    static func make(_ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ state: AdminState) -> AdminAnswer
    {
        if isFromBrowser(head, bytes) {
            return AdminAnswer(status: 403, body: "not for browsers\n")
        }
        let path = text(bytes, head.path)
        if path == "/revocations", head.method == .post {
            return revocation(
                ByteRange(from: head.byteCount, to: bytes.count).bounds.map { bytes[$0] }, state)
        }
        guard head.method == .get || head.method == .head else {
            return AdminAnswer(status: 405, body: "only GET and HEAD\n")
        }
        var answer = page(path, state)
        answer.sendsBody = head.method == .get
        return answer
    }

    /// The answer to what is no request.
    static func refusal(status: UInt16) -> AdminAnswer {
        AdminAnswer(status: status, body: "bad request\n")
    }

    /// The whole response message, after which the connection closes.
    func message() -> [UInt8] {
        var head = "HTTP/1.1 \(status) \(ReasonCode.phrase(for: status))\r\n"
        head += "Content-Type: \(contentType)\r\nContent-Length: \(body.utf8.count)\r\n"
        head += "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
        if status == 405 { head += "Allow: GET, HEAD\r\n" }
        return Array((head + "\r\n" + (sendsBody ? body : "")).utf8)
    }

    private static func revocation(_ body: [UInt8], _ state: AdminState) -> AdminAnswer {
        switch state.revoke(body) {
        case nil: AdminAnswer(status: 404, body: "nothing can be revoked without [revocation]\n")
        case true?: AdminAnswer(status: 200, body: "revoked\n")
        case false?:
            AdminAnswer(
                status: 400, body: "not a list such as {\"jti\": [\"a\"], \"sub\": {\"user\": 1769299200}}\n")
        }
    }

    private static func page(_ path: String, _ state: AdminState) -> AdminAnswer {
        switch path {
        case "/livez": AdminAnswer(status: 200, body: "ok\n")
        case "/readyz":
            if let reason = state.notReadyReason {
                AdminAnswer(status: 503, body: reason + "\n")
            } else {
                AdminAnswer(status: 200, body: "ready\n")
            }
        case "/metrics":
            AdminAnswer(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: state.metrics())
        case "/version":
            AdminAnswer(
                status: 200, contentType: "application/json",
                body: "{\"version\":\"\(Version.usher)\",\"swift\":\"\(Version.swift)\"}\n")
        default: AdminAnswer(status: 404, body: "no such page\n")
        }
    }

    private static func isFromBrowser(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Bool {
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            switch text(bytes, line.nameRange).lowercased() {
            case "origin", "sec-fetch-mode": return true
            case "sec-fetch-site":
                let site = text(bytes, line.valueRange)
                if site != "none" && site != "same-origin" { return true }
            default: break
            }
        }
        return false
    }

    private static func text(_ bytes: Span<UInt8>, _ range: ByteRange) -> String {
        String(decoding: range.bounds.map { bytes[$0] }, as: UTF8.self)
    }
}
