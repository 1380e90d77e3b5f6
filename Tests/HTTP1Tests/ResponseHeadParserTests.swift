import Bytes
import HTTP
import Testing

@testable import HTTP1

@Suite("Response head parser")
struct ResponseHeadParserTests {
    private static let ordinary =
        "HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Length: 3\r\nX-Hop:1\r\n\r\nabc"

    @Test("RFC 9112 §4: an ordinary response, in every split")
    func ordinary() {
        let bytes = Array(Self.ordinary.utf8)
        let whole = parseResponse(bytes, steps: [bytes.count])
        #expect(
            whole.result == .complete && whole.byteCount == bytes.count - 3 && whole.framing == .length(3))
        #expect(whole.start == ["404", "Not Found", "http11"] && whole.fields.count == 3)
        for split in 0...bytes.count {
            #expect(parseResponse(bytes, steps: [split, bytes.count]) == whole)
        }
        #expect(parseResponse(bytes, steps: Array(0...bytes.count)) == whole)
    }

    @Test(
        "RFC 9112 §4: status lines",
        arguments: [
            ("HTTP/1.1 200 OK", ["200", "OK", "http11"]), ("HTTP/1.0 200 OK", ["200", "OK", "http10"]),
            ("HTTP/1.1 200 ", ["200", "", "http11"]), ("HTTP/1.1 200", ["200", "", "http11"]),
            ("HTTP/1.1 100 Continue", ["100", "Continue", "http11"]),
            ("HTTP/1.1 599 \t caf\u{e9}", ["599", "\t café", "http11"]),
        ])
    func statusLines(line: String, start: [String]) {
        let bytes = Array("\(line)\r\n\r\n".utf8)
        let whole = parseResponse(bytes, steps: [bytes.count])
        #expect(whole.result == .complete && whole.start == start)
        #expect(parseResponse(bytes, steps: Array(0...bytes.count)) == whole)
    }

    @Test(
        "RFC 9112 §4 to §6: malformed responses",
        arguments: [
            ("HTTP/1.1 200 OK\n\n", .bareLineFeed), ("HTTP/1.1 200\n\n", .bareLineFeed),
            ("HTTP/1.1 2\n\n", .bareLineFeed),
            ("HTTP/1.1\n\n", .bareLineFeed), ("HTTP/1.1 200 O\rK\r\n\r\n", .bareCarriageReturn),
            ("HTTP/1.1 200 O\u{0}K\r\n\r\n", .controlCharacter),
            ("HTTP/1.1 20 OK\r\n\r\n", .badStatusLine), ("HTTP/1.1 2000 OK\r\n\r\n", .badStatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", .badStatusLine),
            ("HTTP/1.1 +20 OK\r\n\r\n", .badStatusLine), ("HTTP/1.1 099 OK\r\n\r\n", .badStatus),
            ("HTTP/1.1 600 OK\r\n\r\n", .badStatus),
            ("HTTP/2.0 200 OK\r\n\r\n", .versionNotSupported), ("HTTP/2 200 OK\r\n\r\n", .badVersion),
            ("HTTP/1.1\t200 OK\r\n\r\n", .badVersion),
            ("ICY 200 OK\r\n\r\n", .badVersion), ("\r\nHTTP/1.1 200 OK\r\n\r\n", .badVersion),
            ("<html>\r\n\r\n", .badVersion),
            ("HTTP/1.1 200 OK\r\n X: 1\r\n\r\n", .whitespaceBeforeFirstField),
            ("HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", .obsoleteFolding),
            ("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", .whitespaceBeforeColon),
            ("HTTP/1.1 200 OK\r\nX: \u{1}\r\n\r\n", .controlCharacter),
            ("HTTP/1.1 200 OK\r\nX\r\n\r\n", .missingColon), ("HTTP/1.1 200 OK\r\nX: 1\n\r\n", .bareLineFeed),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                .lengthAndTransferEncoding
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .severalContentLengths),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .badTransferEncoding),
        ] as [(String, MessageFault)])
    func malformed(text: String, fault: MessageFault) {
        let bytes = Array(text.utf8)
        let whole = parseResponse(bytes, steps: [bytes.count])
        #expect(whole.result == .refused(fault))
        for split in 0..<bytes.count {
            #expect(parseResponse(bytes, steps: [split, bytes.count]) == whole)
        }
        #expect(parseResponse(bytes, steps: Array(0...bytes.count)) == whole)
    }

    @Test("Limits in bytes and lines")
    func limits() {
        let bytes = Array(Self.ordinary.utf8)
        let size = bytes.count - 3
        let exact = HeadLimits(headBytes: size, fieldCount: 3)
        #expect(parseResponse(bytes, steps: [bytes.count], limits: exact).result == .complete)
        let smaller = HeadLimits(headBytes: size - 1)
        #expect(parseResponse(bytes, steps: [bytes.count], limits: smaller).result == .refused(.headTooLarge))
        #expect(
            parseResponse(bytes, steps: Array(0...size), limits: smaller).result == .refused(.headTooLarge))
        let fewer = HeadLimits(fieldCount: 2)
        #expect(parseResponse(bytes, steps: [bytes.count], limits: fewer).result == .refused(.tooManyFields))
    }

    @Test("RFC 9112 §6.3: the request's method decides on the body")
    func head() {
        let bytes = Array(Self.ordinary.utf8)
        #expect(parseResponse(bytes, steps: [bytes.count], method: .head).framing == .none)
    }

    @Test("Bytes that trickle in are searched once")
    func trickle() {
        var parser = ResponseHeadParser()
        var head = ResponseHead(fieldCapacity: 8)
        let bytes = Array(Self.ordinary.utf8)
        for count in 1..<bytes.count - 3 {
            let result = parser.parse(
                bytes.span.extracting(0..<count), into: &head, requestMethod: .get, limits: HeadLimits())
            #expect(result == .incomplete && parser.scanned == count)
        }
        let result = parser.parse(bytes.span, into: &head, requestMethod: .get, limits: HeadLimits())
        #expect(result == .complete && parser.scanned == 0)
    }
}
