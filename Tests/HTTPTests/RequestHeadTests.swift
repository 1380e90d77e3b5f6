import Bytes
import Testing

@testable import HTTP

@Suite("Request head")
struct RequestHeadTests {
    @Test("An ordinary request: everything is where it was, and nothing is left of the one before")
    func ordinary() {
        var head = RequestHead(fieldCapacity: 8)
        let first = HeadText(
            "POST", "/a/b?c=d",
            [
                ("Host", "api.example.com"), ("Authorization", "Bearer x"), ("Cookie", "a=b"),
                ("Cookie", "c=d"),
                ("Content-Length", "5"), ("Expect", "100-Continue"), ("TE", "gzip, Trailers"),
                ("Origin", "https://x"),
            ])
        #expect(first.read(into: &head) == nil)
        #expect(head.method == .post && head.targetForm == .origin && head.framing == .length(5))
        #expect(first.text(head.path) == "/a/b" && first.text(head.query) == "c=d" && head.hasQuery)
        #expect(first.text(head.host) == "api.example.com" && head.fields.count == 8)
        #expect(head.authorizationCount == 1 && head.authorizationIndex == 1)
        #expect(head.cookieCount == 2 && head.cookieIndex == 2 && head.originIndex == 7)
        #expect(head.expectsContinue && head.acceptsTrailers && head.isPersistent && !head.wantsUpgrade)
        #expect(head.byteCount == first.bytes.count)
        let second = HeadText("GET", "/", [("Host", "b")])
        #expect(second.read(into: &head) == nil)
        #expect(head.method == .get && head.framing == .none && !head.hasQuery && head.fields.count == 1)
        #expect(head.authorizationCount == 0 && head.authorizationIndex == -1 && head.cookieCount == 0)
        #expect(!head.expectsContinue && !head.acceptsTrailers && head.originIndex == -1)
    }

    @Test("More lines than there is room for are refused")
    func tooMany() {
        var head = RequestHead(fieldCapacity: 2)
        let text = HeadText("GET", "/", [("Host", "a"), ("A", "1"), ("B", "2")])
        #expect(text.read(into: &head) == .tooManyFields)
    }

    @Test(
        "F2, RFC 9112 §6.3: Content-Length",
        arguments: [
            ("0", .length(0)), ("5", .length(5)), ("0005", .length(5)),
            ("999999999999999999", .length(999_999_999_999_999_999)), ("1000000000000000000", nil), ("", nil),
            ("+5", nil), ("-5", nil), ("5, 5", nil), ("5,5", nil), ("5 5", nil), ("0x5", nil), ("5a", nil),
            ("5.0", nil),
            ("18446744073709551621", nil), ("５", nil),
        ] as [(String, BodyFraming?)])
    func contentLength(value: String, framing: BodyFraming?) {
        var head = RequestHead(fieldCapacity: 4)
        let fault = HeadText("POST", "/", [("Host", "a"), ("Content-Length", value)]).read(into: &head)
        #expect(fault == (framing == nil ? .badContentLength : nil))
        if let framing { #expect(head.framing == framing) }
    }

    @Test(
        "F2, RFC 9112 §6.1: Transfer-Encoding",
        arguments: [
            (["chunked"], nil), (["Chunked"], nil), (["CHUNKED"], nil),
            (["gzip, chunked"], .unknownTransferCoding),
            (["gzip", "chunked"], .unknownTransferCoding), (["xchunked"], .badTransferEncoding),
            (["chunked, chunked"], .badTransferEncoding), (["chunked", "chunked"], .badTransferEncoding),
            (["chunked, gzip"], .badTransferEncoding), (["chunked, identity"], .badTransferEncoding),
            (["identity"], .badTransferEncoding), (["gzip"], .badTransferEncoding),
            ([""], .badTransferEncoding),
            (["chunked;q=1"], .badTransferEncoding), ([",chunked"], .badTransferEncoding),
            (["chunked,"], .badTransferEncoding), (["chunked", ""], .badTransferEncoding),
            (["\"chunked\""], .badTransferEncoding), (["chun ked"], .badTransferEncoding),
        ] as [([String], MessageFault?)])
    func transferEncoding(values: [String], expected: MessageFault?) {
        #expect(fault(values.map { ("Transfer-Encoding", $0) }) == expected)
    }

    @Test("F2, RFC 9112 §6.1: fields that contradict each other, and codings that the version has not")
    func contradictions() {
        let both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
        #expect(fault(both) == .lengthAndTransferEncoding)
        #expect(fault(both.reversed()) == .lengthAndTransferEncoding)
        #expect(fault([("Transfer-Encoding", "chunked")], version: .http10) == .transferEncodingInHTTP10)
        #expect(fault([("Transfer-Encoding", "chunked")], version: .http2) == .badTransferEncoding)
        #expect(fault([("Content-Length", "5"), ("Content-Length", "6")]) == .severalContentLengths)
        #expect(fault([("Content-Length", "5"), ("content-length", "5")]) == .severalContentLengths)
    }

    @Test(
        "H7: what decides something has one value",
        arguments: ["Authorization", "Origin", "DPoP", "Access-Control-Request-Method"])
    func singletons(name: String) {
        #expect(fault([(name, "a")]) == nil)
        #expect(fault([(name, "a"), (name.uppercased(), "a")]) == .severalValues)
    }

    @Test("RFC 9112 §3.2: Host")
    func host() {
        var head = RequestHead(fieldCapacity: 4)
        #expect(HeadText("GET", "/", []).read(into: &head) == .missingHost)
        #expect(HeadText("GET", "/", [("Host", "a"), ("Host", "a")]).read(into: &head) == .severalHosts)
        #expect(HeadText("GET", "/", [("Host", "a"), ("HOST", "b")]).read(into: &head) == .severalHosts)
        #expect(HeadText("GET", "/", [("Host", "")]).read(into: &head) == .badHost)
        #expect(HeadText("GET", "/", [("Host", "a@b")]).read(into: &head) == .badHost)
        var old = HeadText("GET", "/", [])
        old.version = .http10
        #expect(old.read(into: &head) == nil)
        #expect(head.host.isEmpty && head.authority.name.isEmpty)
    }

    @Test("P3, RFC 9112 §3.2.2: the authority of an absolute target replaces Host")
    func absoluteTarget() {
        var head = RequestHead(fieldCapacity: 4)
        let text = HeadText("GET", "http://Evil.example:81/api?x", [("Host", "good.example")])
        #expect(text.read(into: &head) == nil)
        #expect(text.text(head.host) == "Evil.example:81" && text.text(head.authority.name) == "Evil.example")
        #expect(head.authority.port == 81 && head.targetForm == .absolute)
        #expect(text.text(head.path) == "/api" && text.text(head.query) == "x")
        #expect(HeadText("GET", "http://a/", []).read(into: &head) == .missingHost)
        #expect(HeadText("GET", "http://a/", [("Host", "b c")]).read(into: &head) == .badHost)
        #expect(HeadText("GET", "http://u@a/", [("Host", "a")]).read(into: &head) == .badHost)
        #expect(HeadText("GET", "http:///x", [("Host", "a")]).read(into: &head) == .badHost)
    }

    @Test(
        "P8, RFC 9112 §3.2: methods and the forms of their targets",
        arguments: [
            ("CONNECT", "a:443", .methodNotAllowed), ("TRACE", "/", .methodNotAllowed),
            ("get", "/", .badMethod), ("GEt", "/", .badMethod), ("connect", "a:443", .badMethod),
            ("trace", "/", .badMethod), ("M-search", "/", .badMethod), ("M-SEARCH", "/", nil),
            ("GET", "*", .badTarget),
            ("OPTIONS", "*", nil), ("GET", "a:443", .badTarget), ("GET", "ftp://a/", .badTarget),
            ("GET", "x", .badTarget), ("OPTIONS", "**", .badTarget), ("GET", "", .badTarget),
            ("GET", "?a", .badTarget),
            ("GET", "HTTPS://a/", nil), ("GET", "http:/a", .badTarget), ("PROPFIND", "/", nil),
        ] as [(String, String, MessageFault?)])
    func forms(method: String, target: String, expected: MessageFault?) {
        var head = RequestHead(fieldCapacity: 4)
        #expect(HeadText(method, target, [("Host", "a")]).read(into: &head) == expected)
    }

    @Test(
        "RFC 9112 §9.3: persistence",
        arguments: [
            ([], .http11, true), ([], .http10, false), (["close"], .http11, false),
            (["keep-alive"], .http10, true),
            (["Keep-Alive"], .http10, true), (["keep-alive, close"], .http10, false),
            (["keep-alive", "CLOSE"], .http11, false), (["closed"], .http11, true), (["close"], .http2, true),
            ([", ,keep-alive,"], .http10, true),
        ] as [([String], HTTPVersion, Bool)])
    func persistence(values: [String], version: HTTPVersion, expected: Bool) {
        var head = RequestHead(fieldCapacity: 8)
        var text = HeadText("GET", "/", [("Host", "a")] + values.map { ("Connection", $0) })
        text.version = version
        #expect(text.read(into: &head) == nil)
        #expect(head.isPersistent == expected)
    }

    @Test("RFC 9110 §7.6.1: Connection holds tokens, and not without end")
    func badConnection() {
        #expect(fault([("Connection", "a b")]) == .badConnection)
        #expect(fault([("Connection", "\"close\"")]) == .badConnection)
        let many = (0..<33).map { "x\($0)" }.joined(separator: ",")
        #expect(fault([("Connection", many)]) == .badConnection)
    }

    @Test("H5: Connection nominates the client's own fields, but neither Host nor framing")
    func nominations() {
        var head = RequestHead(fieldCapacity: 16)
        let text = HeadText(
            "POST", "/",
            [
                ("Host", "a"), ("X-User-Id", "evil"), ("x-user-id", "evil"), ("Authorization", "Bearer x"),
                ("Content-Length", "0"), ("Accept", "*/*"), ("X-Other", "kept"),
                ("Connection", "close, X-User-ID, host,authorization , Content-Length"),
                ("Connection", "accept"),
            ])
        #expect(text.read(into: &head) == nil)
        let nominated = (0..<head.fields.count).filter { head.fields[$0].flags.contains(.nominated) }
        #expect(nominated == [1, 2, 3, 5])
        #expect(head.framing == .length(0) && head.authorizationIndex == 3 && !head.isPersistent)
    }

    @Test("RFC 6455 §4.1: a WebSocket handshake is a GET without a body, in HTTP/1.1")
    func webSocket() {
        func wants(
            _ method: String, _ fields: [(String, String)], _ version: HTTPVersion = .http11
        ) -> Bool {
            var head = RequestHead(fieldCapacity: 8)
            var text = HeadText(method, "/", [("Host", "a")] + fields)
            text.version = version
            #expect(text.read(into: &head) == nil || version == .http10)
            return head.wantsWebSocket
        }
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "WebSocket")]
        #expect(wants("GET", upgrade))
        #expect(wants("GET", [("Connection", "keep-alive, upgrade"), ("Upgrade", "h2c, websocket")]))
        #expect(wants("GET", upgrade + [("Content-Length", "0")]))
        #expect(!wants("POST", upgrade))
        #expect(!wants("GET", upgrade, .http10))
        #expect(!wants("GET", upgrade + [("Content-Length", "1")]))
        #expect(!wants("GET", upgrade + [("Transfer-Encoding", "chunked")]))
        #expect(!wants("GET", [("Connection", "upgrade"), ("Upgrade", "websocket2")]))
        #expect(!wants("GET", [("Connection", "upgrade"), ("Upgrade", "h2c")]))
        #expect(!wants("GET", [("Upgrade", "websocket")]))
    }

    @Test("RFC 9110 §7.8: an upgrade needs Connection, Upgrade and HTTP/1.1")
    func upgrade() {
        func wants(_ fields: [(String, String)], _ version: HTTPVersion = .http11) -> Bool {
            var head = RequestHead(fieldCapacity: 8)
            var text = HeadText("GET", "/", [("Host", "a")] + fields)
            text.version = version
            #expect(text.read(into: &head) == nil)
            return head.wantsUpgrade
        }
        #expect(wants([("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket")]))
        #expect(!wants([("Connection", "upgrade")]))
        #expect(!wants([("Upgrade", "websocket")]))
        #expect(!wants([("Connection", "upgrade"), ("Upgrade", "websocket")], .http10))
    }

    @Test("RFC 9110 §10.1.1: expectations")
    func expectations() {
        func expects(_ fields: [(String, String)], _ version: HTTPVersion = .http11) -> Bool {
            var head = RequestHead(fieldCapacity: 8)
            var text = HeadText("POST", "/", [("Host", "a"), ("Expect", "100-continue")] + fields)
            text.version = version
            #expect(text.read(into: &head) == nil)
            return head.expectsContinue
        }
        #expect(expects([("Content-Length", "1")]))
        #expect(expects([("Transfer-Encoding", "chunked")]))
        #expect(!expects([("Content-Length", "0")]))
        #expect(!expects([]))
        #expect(!expects([("Content-Length", "1")], .http10))
        #expect(fault([("Expect", "200-ok")]) == .expectationFailed)
        #expect(fault([("Expect", "100-continue"), ("Expect", "100-continue")]) == .expectationFailed)
    }

    @Test("A line is canonical only where it is `name: value` and no more")
    func canonical() {
        var head = RequestHead(fieldCapacity: 8)
        var text = HeadText("GET", "/", [("Host", "a")])
        text.add("A", "1", separator: ":")
        text.add("B", "2", separator: ":  ")
        text.add("C", "3", separator: ":\t")
        text.add("D", "")
        #expect(text.read(into: &head) == nil)
        let canonical = (0..<head.fields.count).map { head.fields[$0].isCanonical }
        #expect(canonical == [true, false, false, false, true])
    }
}
