import Bytes
import HTTP

/// What the admin listener's pages show, and do.
struct AdminState {
    /// Why new requests are not welcome now; nil while they are.
    var notReadyReason: String?
    /// Who may ask for what.
    var access = AdminAccess()
    /// Revokes what a text names: nil where nothing can be revoked, false where the text is not understood.
    var revoke: ([UInt8]) -> Bool? = { _ in nil }
    /// Reads the configuration again, or does so once the start is over.
    var reload: () -> ReloadOutcome = { .failed("not running") }
    /// The text of /config and of /routes, and the object of /status.json, made when they are asked for.
    var configuration: () -> String = { "{}\n" }
    var routes: () -> String = { "" }
    var status: () -> String = { "{}\n" }
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
    /// The methods, where the request's was none of them.
    var allow: String?
    /// A token is needed.
    var challenge = false
    /// Further field lines.
    var fields = ""

    /// The answer to a request; `bytes` are those of its head, and of its body behind it.
    ///
    /// Rule F9: a browser must not be led to this port by somebody's page; see `AdminAccess`.
    static func make(_ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ state: AdminState) -> AdminAnswer
    {
        if let reason = state.access.refusal(head, bytes) {
            return AdminAnswer(status: 403, body: reason + "\n")
        }
        let path = AdminAccess.text(bytes, head.path)
        if path == "/revocations" || path == "/reload" {
            guard head.method == .post else {
                return AdminAnswer(status: 405, body: "only POST\n", allow: "POST")
            }
            if let refusal = state.access.changeRefusal(head, bytes) { return refusal }
            let body = ByteRange(from: head.byteCount, to: bytes.count).bounds.map { bytes[$0] }
            return path == "/reload" ? reloading(state) : revocation(body, state)
        }
        guard head.method == .get || head.method == .head else {
            return AdminAnswer(status: 405, body: "only GET and HEAD\n", allow: "GET, HEAD")
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
        head += "Cross-Origin-Resource-Policy: same-origin\r\n" + fields
        if let allow { head += "Allow: \(allow)\r\n" }
        if challenge { head += "WWW-Authenticate: Bearer\r\n" }
        return Array((head + "\r\n" + (sendsBody ? body : "")).utf8)
    }

    private static func revocation(_ body: [UInt8], _ state: AdminState) -> AdminAnswer {
        switch state.revoke(body) {
        case nil: AdminAnswer(status: 404, body: "nothing can be revoked without [revocation] or [shared]\n")
        case true?: AdminAnswer(status: 200, body: "revoked\n")
        case false?:
            AdminAnswer(
                status: 400, body: "not a list such as {\"jti\": [\"a\"], \"sub\": {\"user\": 1769299200}}\n")
        }
    }

    /// 409: the request is well-formed, and the file is not.
    private static func reloading(_ state: AdminState) -> AdminAnswer {
        switch state.reload() {
        case .done: AdminAnswer(status: 200, body: "reloaded\n")
        case .waits: AdminAnswer(status: 202, body: "the reload waits for the start\n")
        case .failed(let reason): AdminAnswer(status: 409, body: "configuration not changed\n\(reason)\n")
        }
    }

    private static func page(_ path: String, _ state: AdminState) -> AdminAnswer {
        switch path {
        case "/":
            return AdminAnswer(
                status: 200, contentType: "text/html; charset=utf-8", body: StatusPage.document,
                fields: StatusPage.fields)
        case "/livez": return AdminAnswer(status: 200, body: "ok\n")
        case "/readyz":
            return AdminAnswer(
                status: state.notReadyReason == nil ? 200 : 503,
                body: (state.notReadyReason ?? "ready") + "\n")
        case "/metrics":
            return AdminAnswer(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: state.metrics())
        case "/version":
            return json("{\"version\":\"\(Version.usher)\",\"swift\":\"\(Version.swift)\"}\n")
        case "/config": return json(state.configuration())
        case "/status.json": return json(state.status())
        case "/routes": return AdminAnswer(status: 200, body: state.routes())
        default: return AdminAnswer(status: 404, body: "no such page\n")
        }
    }

    private static func json(_ text: String) -> AdminAnswer {
        AdminAnswer(status: 200, contentType: "application/json", body: text)
    }
}
