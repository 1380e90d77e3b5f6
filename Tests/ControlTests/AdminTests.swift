import Bytes
import HTTP
import HTTP1
import Testing

@testable import Control

private func answer(_ request: String, notReady: String? = nil) -> AdminAnswer {
    let bytes = Array(request.replacing("\n", with: "\r\n").utf8)
    var head = RequestHead(fieldCapacity: 100)
    var parser = RequestHeadParser()
    guard parser.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete else {
        return AdminAnswer.refusal(status: 400)
    }
    let state = AdminState(notReadyReason: notReady) { "usher_workers 2\n" }
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

    @Test("other methods and pages", arguments: ["POST", "PUT", "DELETE", "OPTIONS", "get"])
    func methods(method: String) {
        #expect(answer("\(method) /livez HTTP/1.1\nHost: h\nContent-Length: 0\n\n").status == 405)
    }

    @Test("no such page", arguments: ["/", "/livez/", "/Livez", "/metrics/../livez", "//livez", "/livez%00"])
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
