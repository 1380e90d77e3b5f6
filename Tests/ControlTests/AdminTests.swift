import Bytes
import Config
import HTTP
import HTTP1
import Testing

@testable import Control

private func answer(
    _ request: String, notReady: String? = nil, access: AdminAccess = AdminAccess(),
    reload: ReloadOutcome = .failed("usher.toml:1:1: error: no")
) -> AdminAnswer {
    let bytes = Array(request.replacing("\n", with: "\r\n").utf8)
    var head = RequestHead(fieldCapacity: 100)
    var parser = RequestHeadParser()
    guard parser.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete else {
        return AdminAnswer.refusal(status: 400)
    }
    var state = AdminState(notReadyReason: notReady) { "usher_workers 2\n" }
    state.access = access
    state.reload = { reload }
    return AdminAnswer.make(head, bytes.span, state)
}

@Suite("Admin pages")
struct AdminTests {
    @Test(
        "F9: what a browser sends is refused on every page",
        arguments: ["/livez", "/readyz", "/metrics", "/version", "/nothing"],
        [
            "Origin: https://evil.example", "Origin: null", "origin: http://127.0.0.1:9901",
            "Sec-Fetch-Mode: cors",
            "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Mode: navigate", "SEC-FETCH-MODE: websocket",
            "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site:",
            "Accept: a\nSec-Fetch-Site: none\nSec-Fetch-Site: cross-site", "Origin:",
        ])
    func fromBrowser(page: String, field: String) {
        let got = answer("GET \(page) HTTP/1.1\nHost: 127.0.0.1:9901\n\(field)\n\n")
        #expect(got.status == 403)
        #expect(!got.body.contains("usher_"))
    }

    @Test(
        "F9: a host name that somebody else may own is refused, whatever it leads to",
        arguments: [
            ("h", 200), ("127.0.0.1:9901", 200), ("[::1]", 200), ("Ours.internal.:80", 200),
            ("localhost", 200),
            ("evil.example", 403), ("1.2.3.4.evil.example", 403), ("ours.internal.evil", 403),
        ])
    func rebinding(host: String, status: UInt16) {
        let access = AdminAccess(names: ["ours.internal"])
        #expect(answer("GET /metrics HTTP/1.1\nHost: \(host)\n\n", access: access).status == status)
        let local = AdminAccess(isReachedByBrowsers: false)
        #expect(answer("GET /metrics HTTP/1.1\nHost: \(host)\n\n", access: local).status == 200)
    }

    @Test("changes need POST, and the token where others can reach the listener")
    func changes() {
        let post = "POST /reload HTTP/1.1\nHost: h\nContent-Length: 0\n"
        #expect(answer(post + "\n").status == 409)
        #expect(answer("GET /reload HTTP/1.1\nHost: h\n\n").allow == "POST")
        #expect(answer(post + "Sec-Fetch-Site: none\n\n").status == 403)
        #expect(answer(post + "\n", access: AdminAccess(changes: .refused)).status == 403)
        let guarded = AdminAccess(changes: .token(Secret(bytes: Array("right".utf8))))
        #expect(answer(post + "\n", access: guarded).status == 401)
        #expect(answer(post + "Authorization: Bearer wrong\n\n", access: guarded).status == 401)
        #expect(answer(post + "Authorization: Bearer right\n\n", access: guarded).status == 409)
    }

    @Test("what came of a reload is told")
    func reloads() {
        let post = "POST /reload HTTP/1.1\nHost: h\nContent-Length: 0\n\n"
        #expect(answer(post, reload: .done).status == 200)
        #expect(answer(post, reload: .waits).status == 202)
        let failed = answer(post, reload: .failed("usher.toml:1:1: error: x"))
        #expect(failed.status == 409 && failed.body.hasSuffix("usher.toml:1:1: error: x\n"))
    }

    @Test("the page may load nothing from elsewhere, and no one may frame it")
    func statusPage() {
        let got = answer("GET / HTTP/1.1\nHost: h\nSec-Fetch-Site: none\nSec-Fetch-Mode: navigate\n\n")
        #expect(got.status == 200 && got.contentType.hasPrefix("text/html"))
        #expect(got.fields.contains("default-src 'none'") && got.fields.contains("frame-ancestors 'none'"))
        #expect(!got.body.contains("src=") && !got.body.contains("https://"))
    }

    @Test(
        "what a scraper or probe sends is served",
        arguments: [
            ("/livez", "ok\n"), ("/readyz", "ready\n"), ("/metrics", "usher_workers 2\n"),
            ("/livez?x=1", "ok\n"),
        ])
    func fromProbe(target: String, body: String) {
        let got = answer("GET \(target) HTTP/1.1\nHost: h\nUser-Agent: kube-probe\nSec-Fetch-Site: none\n\n")
        #expect(got.status == 200 && got.body == body && got.sendsBody)
    }

    @Test("readiness says why not, liveness does not care")
    func notReady() {
        let ready = answer("GET /readyz HTTP/1.1\nHost: h\n\n", notReady: "draining")
        #expect(ready.status == 503 && ready.body == "draining\n")
        #expect(answer("GET /livez HTTP/1.1\nHost: h\n\n", notReady: "draining").status == 200)
    }

    @Test("other methods and pages", arguments: ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
    func methods(method: String) {
        #expect(answer("\(method) /livez HTTP/1.1\nHost: h\nContent-Length: 0\n\n").status == 405)
    }

    @Test(
        "no such page",
        arguments: ["/index.html", "/livez/", "/Livez", "/metrics/../livez", "//livez", "/livez%00"])
    func noPage(path: String) {
        #expect(answer("GET \(path) HTTP/1.1\nHost: h\n\n").status == 404)
    }

    @Test(
        "what is no request gets 400",
        arguments: ["GET /livez\n\n", "GET  /livez HTTP/1.1\nHost: h\n\n", "\0\n\n"])
    func noRequest(text: String) {
        #expect(answer(text).status == 400)
    }

    @Test("the message ends the connection, and HEAD gets no body")
    func message() {
        let get = String(decoding: answer("GET /livez HTTP/1.1\nHost: h\n\n").message(), as: UTF8.self)
        #expect(get.hasPrefix("HTTP/1.1 200 OK\r\n") && get.hasSuffix("\r\n\r\nok\n"))
        #expect(get.contains("\r\nConnection: close\r\n") && get.contains("\r\nContent-Length: 3\r\n"))
        let head = String(decoding: answer("HEAD /livez HTTP/1.1\nHost: h\n\n").message(), as: UTF8.self)
        #expect(head.hasSuffix("\r\n\r\n") && head.contains("\r\nContent-Length: 3\r\n"))
        let refused = String(decoding: answer("POST /livez HTTP/1.1\nHost: h\n\n").message(), as: UTF8.self)
        #expect(refused.contains("\r\nAllow: GET, HEAD\r\n"))
    }
}
