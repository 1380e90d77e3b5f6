import Bytes
import Testing

@testable import HTTP

@Suite("Response head")
struct ResponseHeadTests {
    private func read(
        _ status: UInt16, _ fields: [(String, String)], method: HTTP.Method = .get,
        version: HTTPVersion = .http11
    ) -> (fault: MessageFault?, framing: BodyFraming, isPersistent: Bool, length: UInt64?) {
        var head = ResponseHead(fieldCapacity: 8)
        var text = HeadText("", "", fields)
        text.version = version
        let fault = text.read(into: &head, status: status, method: method)
        return (fault, head.framing, head.isPersistent, head.contentLength)
    }

    @Test(
        "RFC 9112 §6.3: where the body of a response ends",
        arguments: [
            (200, [("Content-Length", "5")], .get, .length(5)),
            (200, [("Content-Length", "5")], .head, .none),
            (200, [("Transfer-Encoding", "chunked")], .get, .chunked), (200, [], .get, .untilClose),
            (200, [], .head, .none), (204, [], .get, .none), (204, [("Content-Length", "0")], .get, .none),
            (304, [("Content-Length", "5")], .get, .none),
            (304, [("Transfer-Encoding", "chunked")], .get, .none),
            (100, [], .post, .none), (101, [], .get, .none),
            (404, [("Content-Length", "0")], .get, .length(0)),
        ] as [(UInt16, [(String, String)], HTTP.Method, BodyFraming)])
    func framing(status: UInt16, fields: [(String, String)], method: HTTP.Method, framing: BodyFraming) {
        let result = read(status, fields, method: method)
        #expect(result.fault == nil && result.framing == framing)
    }

    @Test(
        "F2, RFC 9112 §6: responses that could end in two places are refused",
        arguments: [
            (200, [("Content-Length", "5"), ("Transfer-Encoding", "chunked")], .lengthAndTransferEncoding),
            (200, [("Content-Length", "5"), ("Content-Length", "5")], .severalContentLengths),
            (200, [("Content-Length", "5, 5")], .badContentLength),
            (200, [("Content-Length", "-1")], .badContentLength),
            (200, [("Transfer-Encoding", "gzip")], .badTransferEncoding),
            (200, [("Transfer-Encoding", "gzip, chunked")], .unknownTransferCoding),
            (200, [("Transfer-Encoding", "chunked, chunked")], .badTransferEncoding),
            (204, [("Content-Length", "5")], .bodyNotAllowed),
            (204, [("Transfer-Encoding", "chunked")], .bodyNotAllowed),
            (103, [("Content-Length", "5")], .bodyNotAllowed), (99, [], .badStatus), (600, [], .badStatus),
            (200, [("Connection", "a b")], .badConnection),
        ] as [(UInt16, [(String, String)], MessageFault)])
    func refused(status: UInt16, fields: [(String, String)], fault: MessageFault) {
        #expect(read(status, fields).fault == fault)
    }

    @Test("RFC 9112 §6.1: no transfer coding in HTTP/1.0")
    func codingInHTTP10() {
        #expect(
            read(200, [("Transfer-Encoding", "chunked")], version: .http10).fault == .transferEncodingInHTTP10
        )
    }

    @Test("RFC 9112 §9.3: persistence")
    func persistence() {
        let sized = ("Content-Length", "1")
        #expect(read(200, [sized]).isPersistent)
        #expect(!read(200, [sized, ("Connection", "close")]).isPersistent)
        #expect(!read(200, []).isPersistent)
        #expect(!read(200, [sized], version: .http10).isPersistent)
        #expect(read(200, [sized, ("Connection", "keep-alive")], version: .http10).isPersistent)
        #expect(!read(101, []).isPersistent)
        #expect(read(204, []).isPersistent)
    }

    @Test("HEAD tells the length of the body that GET would have")
    func head() {
        #expect(read(200, [("Content-Length", "7")], method: .head).length == 7)
        #expect(read(200, [], method: .head).length == nil)
    }

    @Test("RFC 6455 §4.2.2: a 101 switches to WebSocket where Connection and Upgrade say so")
    func webSocket() {
        func switches(_ status: UInt16, _ fields: [(String, String)]) -> Bool {
            var head = ResponseHead(fieldCapacity: 4)
            #expect(HeadText("", "", fields).read(into: &head, status: status, method: .get) == nil)
            return head.switchesToWebSocket
        }
        let upgrade = [("Connection", "upgrade"), ("Upgrade", "WebSocket")]
        #expect(switches(101, upgrade))
        #expect(!switches(200, upgrade))
        #expect(!switches(101, [("Upgrade", "websocket")]))
        #expect(!switches(101, [("Connection", "upgrade")]))
        #expect(!switches(101, [("Connection", "upgrade"), ("Upgrade", "h2c, websocket")]))
    }

    @Test("Kinds of status, nominations, and no trace of the response before")
    func kindsAndReuse() {
        var head = ResponseHead(fieldCapacity: 4)
        let first = HeadText(
            "", "",
            [("Connection", "X-Hop, upgrade"), ("X-Hop", "1"), ("Upgrade", "websocket"), ("X-End", "1")])
        #expect(first.read(into: &head, status: 101, method: .get) == nil)
        #expect(head.isUpgrade && !head.isInformational && head.upgradeIndex == 2)
        #expect(head.fields[1].flags.contains(.nominated) && !head.fields[3].flags.contains(.nominated))
        #expect(HeadText("", "", []).read(into: &head, status: 103, method: .get) == nil)
        #expect(!head.isUpgrade && head.isInformational && head.upgradeIndex == -1 && head.fields.count == 0)
        let many = HeadText("", "", (0..<5).map { ("A\($0)", "") })
        #expect(many.read(into: &head, status: 200, method: .get) == .tooManyFields)
    }
}
