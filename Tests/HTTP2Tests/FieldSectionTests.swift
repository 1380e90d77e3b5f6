import Bytes
import HTTP
import Testing

@testable import HTTP2

@Suite struct FieldSectionTests {
    private let limits = HTTP2Limits(head: HeadLimits(headBytes: 1000, fieldCount: 5, targetBytes: 50))

    /// What became of each field, and the text of a request.
    private func read(_ fields: [(String, String)]) -> (
        verdicts: [FieldSection.Verdict], fault: MessageFault?, text: String
    ) {
        var section = FieldSection()
        section.begin(.request, slot: 0, limits)
        var verdicts: [FieldSection.Verdict] = []
        for (name, value) in fields {
            verdicts.append(section.add(Array(name.utf8).span, Array(value.utf8).span))
        }
        var text = ByteArray()
        section.appendRequest(to: &text)
        let bytes = text.span
        return (verdicts, section.fault, String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self))
    }

    @Test("crumbs of a cookie are joined behind the other fields")
    func cookies() {
        let result = read(get("/", [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]))
        #expect(result.text == "GET /\r\nhost: a.test\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n")
    }

    @Test("F6: fields are counted, each crumb and the authority among them")
    func counted() {
        let result = read(get("/", [("cookie", "a")] + Array(repeating: ("cookie", "b"), count: 4)))
        #expect(result.verdicts.last == .beyondLimit && result.fault == .tooManyFields)
        #expect(read(get("/", Array(repeating: ("cookie", "b"), count: 4))).fault == nil)
    }

    @Test("F6: bytes are counted")
    func bytes() {
        let big = String(repeating: "v", count: 600)
        #expect(read(get("/", [("a", big)])).fault == nil)
        #expect(read(get("/", [("a", big), ("b", big)])).fault == .headTooLarge)
    }

    @Test("targets and methods beyond their limits have answers of their own")
    func limited() {
        #expect(read(get("/" + String(repeating: "x", count: 50))).fault == .targetTooLong)
        #expect(read([(":method", String(repeating: "M", count: 33))]).fault == .methodTooLong)
    }

    @Test("F5: what cannot be a line, or names two hosts, is malformed")
    func malformed() {
        let fields = [
            ("x\r", "1"), ("x y", "1"), ("", "1"), ("x:", "1"), ("x", "a\rb"), ("x", "a\nb"), ("x", "a\0"),
            ("x", " a"), ("x", "a\t"), ("host", "b.test"), (":status", "200"),
            (":path", "http://b.test/"),
            (":path", ""), (":path", "/a b"), (":scheme", "ftp"), (":method", "G T"),
            (":authority", "a\r\nb"),
            (":test", "1"),
        ]
        for field in fields {
            #expect(read(get("/", [field])).verdicts.last == .malformed, "\(field)")
        }
    }

    @Test("one host may be named twice")
    func sameHost() {
        let result = read(get("/", [("host", "A.TEST")]))
        #expect(result.verdicts.last == .taken && result.text == "GET /\r\nhost: a.test\r\n\r\n")
    }

    @Test("a section becomes a head, and its lines are canonical")
    func head() {
        var section = FieldSection()
        section.begin(.request, slot: 0, limits)
        for (name, value) in get("/p?q", [("accept", ""), ("content-length", "3")]) {
            #expect(section.add(Array(name.utf8).span, Array(value.utf8).span) == .taken)
        }
        var text = ByteArray()
        section.appendRequest(to: &text)
        var head = RequestHead(fieldCapacity: 10)
        let fault = RequestSection.read(text.span, into: &head, silent: .untilClose, isWebSocket: false)
        #expect(fault == nil && head.version == .http2 && head.method == .get && head.framing == .length(3))
        #expect(head.byteCount == text.count && head.fields.count == 3)
        for index in 0..<head.fields.count { #expect(head.fields[index].isCanonical) }
    }

    @Test("a request without a host is refused")
    func withoutHost() {
        var text = ByteArray()
        text.append("GET /\r\naccept: x\r\n\r\n")
        var head = RequestHead(fieldCapacity: 10)
        let fault = RequestSection.read(text.span, into: &head, silent: .none, isWebSocket: false)
        #expect(fault == .missingHost)
    }
}
