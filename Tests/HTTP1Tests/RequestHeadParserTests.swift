import Bytes
import HTTP
import Testing

@testable import HTTP1

@Suite("Request head parser")
struct RequestHeadParserTests {
    private static let ordinary = """
        POST /api/bob/tasks?x=y HTTP/1.1\r
        Host: api.example.com\r
        Authorization: Bearer abc.def\r
        Accept:text/html \t\r
        X-Empty:\r
        X-Latin: caf\u{e9} \u{e9}\r
        Transfer-Encoding:  chunked\r
        \r

        """

    @Test("RFC 9112 §2.1: an ordinary request, and the bytes behind it untouched")
    func ordinary() {
        let bytes = Array((Self.ordinary + "5\r\nhello").utf8)
        let parsed = parseRequest(bytes, steps: [bytes.count])
        #expect(parsed.result == .complete && parsed.byteCount == Self.ordinary.utf8.count)
        #expect(parsed.start == ["POST", "/api/bob/tasks?x=y", "http11"] && parsed.framing == .chunked)
        #expect(
            parsed.fields == [
                "Host=api.example.com|true|Host: api.example.com\r\n",
                "Authorization=Bearer abc.def|true|Authorization: Bearer abc.def\r\n",
                "Accept=text/html|false|Accept:text/html \t\r\n", "X-Empty=|false|X-Empty:\r\n",
                "X-Latin=café é|true|X-Latin: café é\r\n",
                "Transfer-Encoding=chunked|false|Transfer-Encoding:  chunked\r\n",
            ])
    }

    @Test("Every split of a request into two reads, and every byte alone, gives the same")
    func splits() {
        for prefix in ["", "\r\n", "\r\n\r\n"] {
            let bytes = Array((prefix + Self.ordinary + "5\r\n").utf8)
            let whole = parseRequest(bytes, steps: [bytes.count])
            #expect(whole.result == .complete)
            for split in 0...bytes.count {
                #expect(parseRequest(bytes, steps: [split, bytes.count]) == whole)
            }
            #expect(parseRequest(bytes, steps: Array(0...bytes.count)) == whole)
        }
    }

    @Test("Bytes that trickle in are searched once")
    func trickle() {
        var parser = RequestHeadParser()
        var head = RequestHead(fieldCapacity: 100)
        let bytes = Array(Self.ordinary.utf8)
        for count in 1..<bytes.count {
            let result = parser.parse(bytes.span.extracting(0..<count), into: &head, limits: HeadLimits())
            #expect(result == .incomplete && parser.scanned == count)
        }
        #expect(parser.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete)
        #expect(parser.scanned == 0)
    }

    @Test("One scratch head serves connections in turn")
    func sharedHead() {
        let bytes = Array(Self.ordinary.utf8)
        var head = RequestHead(fieldCapacity: 100)
        var first = RequestHeadParser()
        var second = RequestHeadParser()
        #expect(first.parse(bytes.span.extracting(0..<60), into: &head, limits: HeadLimits()) == .incomplete)
        #expect(second.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete)
        #expect(first.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete)
        #expect(head.fields.count == 6)
    }

    /// Each is refused whole, in every split into two reads, and byte by byte.
    @Test(
        "RFC 9112 §2, §3, §5: malformed requests",
        arguments: [
            // §2.2: line ends.
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLineFeed), ("GET /\n\n", .bareLineFeed),
            ("\nGET / HTTP/1.1\r\n\r\n", .bareLineFeed),
            ("GET / HTTP/1.1\rHost: a\r\n\r\n", .bareCarriageReturn),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", .bareCarriageReturn),
            ("GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", .bareCarriageReturn),
            ("\rGET / HTTP/1.1\r\n\r\n", .bareCarriageReturn),
            ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", .bareCarriageReturn),
            ("GET / HTTP/1.1\r\nFoo\nHost: a\r\n\r\n", .bareLineFeed),
            // §2.2: empty lines before the request, and whitespace before the first field.
            ("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", .badRequestLine),
            (" GET / HTTP/1.1\r\n\r\n", .badRequestLine),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .whitespaceBeforeFirstField),
            ("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", .whitespaceBeforeFirstField),
            // §3: the request line.
            ("GET  / HTTP/1.1\r\n\r\n", .badRequestLine), ("GET /  HTTP/1.1\r\n\r\n", .badVersion),
            ("GET\t/ HTTP/1.1\r\n\r\n", .badRequestLine),
            ("GET / HTTP/1.1 \r\n\r\n", .badVersion), ("GET /\r\n\r\n", .badRequestLine),
            ("GET\r\n\r\n", .badRequestLine),
            ("G(T / HTTP/1.1\r\n\r\n", .badMethod), ("G\u{0}T / HTTP/1.1\r\n\r\n", .badMethod),
            ("\u{16}\u{3}\u{1}\r\n\r\n", .badMethod),
            ("GET /\u{7f} HTTP/1.1\r\n\r\n", .badTarget), ("GET /é HTTP/1.1\r\n\r\n", .badTarget),
            ("GET /\u{0} HTTP/1.1\r\n\r\n", .badTarget),
            ("GET /a b HTTP/1.1\r\n\r\n", .badVersion), ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n\r\n", .methodTooLong),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", .methodNotAllowed),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", .methodNotAllowed),
            // §2.3: versions, HTTP/2's preface among them.
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .versionNotSupported),
            ("GET / HTTP/1.2\r\n\r\n", .versionNotSupported),
            ("GET / HTTP/0.9\r\n\r\n", .versionNotSupported),
            ("GET / HTTP/3.0\r\n\r\n", .versionNotSupported), ("GET / http/1.1\r\n\r\n", .badVersion),
            ("GET / HTTP/1.11\r\n\r\n", .badVersion), ("GET / HTTP/2\r\n\r\n", .badVersion),
            ("GET / HTTP/1,1\r\n\r\n", .badVersion),
            ("GET / HTTPS/1.1\r\n\r\n", .badVersion), ("GET / HTTP/+1.1\r\n\r\n", .badVersion),
            ("GET / \r\n\r\n", .badVersion),
            // §5: field lines.
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .whitespaceBeforeColon),
            ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", .whitespaceBeforeColon),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", .obsoleteFolding),
            ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", .obsoleteFolding),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", .missingColon),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", .badFieldName),
            ("GET / HTTP/1.1\r\nX(: a\r\n\r\n", .badFieldName),
            ("GET / HTTP/1.1\r\nX\u{0}: a\r\n\r\n", .controlCharacter),
            ("GET / HTTP/1.1\r\né: a\r\n\r\n", .badFieldName),
            ("GET / HTTP/1.1\r\n\u{7f}: a\r\n\r\n", .controlCharacter),
            ("GET / HTTP/1.1\r\nX: a\u{0}b\r\n\r\n", .controlCharacter),
            ("GET / HTTP/1.1\r\nX: \u{b}chunked\r\n\r\n", .controlCharacter),
            ("GET / HTTP/1.1\r\nX: a\u{7f}\r\n\r\n", .controlCharacter),
            ("GET / HTTP/1.1\r\nX: \u{1b}[31m\r\n\r\n", .controlCharacter),
            // §3.2: Host.
            ("GET / HTTP/1.1\r\n\r\n", .missingHost),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .severalHosts),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .badHost), ("GET / HTTP/1.1\r\nHost:\r\n\r\n", .badHost),
            // §6: framing (F2).
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                .lengthAndTransferEncoding
            ),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                .severalContentLengths
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", .badContentLength),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", .badTransferEncoding),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                .unknownTransferCoding
            ),
        ] as [(String, MessageFault)])
    func malformed(text: String, fault: MessageFault) {
        let bytes = Array(text.utf8)
        let whole = parseRequest(bytes, steps: [bytes.count])
        #expect(whole.result == .refused(fault))
        for split in 0..<bytes.count {
            #expect(parseRequest(bytes, steps: [split, bytes.count]) == whole)
        }
        #expect(parseRequest(bytes, steps: Array(0...bytes.count)) == whole)
    }

    @Test(
        "Every byte that is no VCHAR, obs-text, space or tab is refused in a value",
        arguments: UInt8.min...UInt8.max)
    func valueBytes(byte: UInt8) {
        let bytes =
            Array("GET / HTTP/1.1\r\nHost: a\r\nX-Custom-Field: aaaaaaaa".utf8) + [byte]
            + Array("bbbbbbbbbbbb\r\n\r\n".utf8)
        let isAllowed = byte == 9 || (byte >= 32 && byte != 127)
        #expect((parseRequest(bytes, steps: [bytes.count]).result == .complete) == isAllowed)
    }

    @Test("Every byte that is no token character is refused in a name", arguments: UInt8.min...UInt8.max)
    func nameBytes(byte: UInt8) {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nX".utf8) + [byte] + Array("Y: b\r\n\r\n".utf8)
        // A colon ends the name, and the rest is the value.
        let isAllowed = ASCII.isToken(byte) || byte == 0x3A
        #expect((parseRequest(bytes, steps: [bytes.count]).result == .complete) == isAllowed)
    }

    @Test("No prefix of a good request is refused or complete")
    func prefixes() {
        let bytes = Array(Self.ordinary.utf8)
        for count in 0..<bytes.count {
            #expect(parseRequest(bytes, steps: [count]).result == .incomplete)
        }
    }

    @Test("Limits in bytes and lines: reached is accepted, exceeded is refused, complete or not")
    func limits() {
        let head = "GET /0123456789 HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n"
        let bytes = Array(head.utf8)
        func result(_ limits: HeadLimits) -> HeadParseResult {
            let whole = parseRequest(bytes, steps: [bytes.count], limits: limits)
            #expect(parseRequest(bytes, steps: Array(0...bytes.count), limits: limits).result != .incomplete)
            return whole.result
        }
        #expect(result(HeadLimits(headBytes: bytes.count, fieldCount: 2, targetBytes: 11)) == .complete)
        #expect(result(HeadLimits(headBytes: bytes.count - 1)) == .refused(.headTooLarge))
        #expect(result(HeadLimits(fieldCount: 1)) == .refused(.tooManyFields))
        #expect(result(HeadLimits(targetBytes: 10)) == .refused(.targetTooLong))
        let endless = Array(("GET /" + String(repeating: "a", count: 100)).utf8)
        #expect(
            parseRequest(endless, steps: [105], limits: HeadLimits(targetBytes: 99)).result
                == .refused(.targetTooLong))
        #expect(
            parseRequest(endless, steps: Array(0...105), limits: HeadLimits(headBytes: 100)).result
                == .refused(.headTooLarge))
    }

    @Test("HTTP/1.0 without Host")
    func http10() {
        let bytes = Array("GET / HTTP/1.0\r\n\r\n".utf8)
        #expect(parseRequest(bytes, steps: [bytes.count]).start == ["GET", "/", "http10"])
    }
}
