import Bytes
import Testing

@testable import HTTP

/// Builds the bytes of a head from its parts and feeds them to the message rules, as a parser does.
struct HeadText {
    var bytes: [UInt8] = []
    private var lines: [(name: ByteRange, value: ByteRange, line: ByteRange)] = []
    private var method = ByteRange.empty
    private var target = ByteRange.empty
    var version = HTTPVersion.http11

    init(_ method: String = "GET", _ target: String = "/", _ fields: [(String, String)]) {
        self.method = append(method)
        _ = append(" ")
        self.target = append(target)
        _ = append(" HTTP/1.1\r\n")
        for (name, value) in fields { add(name, value) }
    }

    mutating func add(_ name: String, _ value: String, separator: String = ": ") {
        let start = bytes.count
        let nameRange = append(name)
        _ = append(separator)
        let valueRange = append(value)
        _ = append("\r\n")
        lines.append((nameRange, valueRange, ByteRange(from: start, to: bytes.count)))
    }

    private mutating func append(_ text: String) -> ByteRange {
        let start = bytes.count
        bytes.append(contentsOf: text.utf8)
        return ByteRange(from: start, to: bytes.count)
    }

    func read(into head: inout RequestHead) -> MessageFault? {
        if let fault = head.begin(bytes.span, method: method, target: target, version: version) {
            return fault
        }
        for line in lines {
            if let fault = head.add(bytes.span, name: line.name, value: line.value, line: line.line) {
                return fault
            }
        }
        return head.finish(bytes.span, byteCount: bytes.count)
    }

    func read(into head: inout ResponseHead, status: UInt16, method: HTTP.Method) -> MessageFault? {
        if let fault = head.begin(status: status, reason: .empty, version: version) { return fault }
        for line in lines {
            if let fault = head.add(bytes.span, name: line.name, value: line.value, line: line.line) {
                return fault
            }
        }
        return head.finish(bytes.span, requestMethod: method, byteCount: bytes.count)
    }

    func text(_ range: ByteRange) -> String { String(decoding: bytes[range.bounds], as: UTF8.self) }
}

/// The head of a request with a good Host and these fields, and what is wrong with it.
func fault(_ fields: [(String, String)], version: HTTPVersion = .http11) -> MessageFault? {
    var head = RequestHead(fieldCapacity: 64)
    var text = HeadText("GET", "/", [("Host", "a")] + fields)
    text.version = version
    return text.read(into: &head)
}

@Suite("Vocabulary")
struct VocabularyTests {
    @Test(
        "RFC 9110 §9: methods, and their case matters",
        arguments: [
            ("GET", .get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("PATCH", .patch),
            ("DELETE", .delete), ("OPTIONS", .options), ("CONNECT", .connect), ("TRACE", .trace),
            ("get", .other),
            ("Get", .other), ("GETS", .other), ("PROPFIND", .other), ("PROPPATCH", .other), ("GE", .other),
        ] as [(String, HTTP.Method)])
    func methods(text: String, method: HTTP.Method) {
        let bytes = Array(text.utf8)
        let parsed = HTTP.Method(bytes.span, ByteRange(start: 0, count: bytes.count))
        #expect(parsed == method)
        #expect(method == .other || method.text.description == text)
    }

    @Test("RFC 9110 §9.2: safe and idempotent methods")
    func properties() {
        let all: [HTTP.Method] = [
            .get, .head, .post, .put, .patch, .delete, .options, .connect, .trace, .other,
        ]
        #expect(all.filter(\.isSafe) == [.get, .head, .options, .trace])
        #expect(all.filter(\.isIdempotent) == [.get, .head, .put, .delete, .options, .trace])
    }

    @Test(
        "Reason codes are distinct, lower case, and have a status, a phrase and a title where an answer is made"
    )
    func reasonCodes() {
        #expect(Set(ReasonCode.allCases.map(\.text.description)).count == ReasonCode.allCases.count)
        for code in ReasonCode.allCases {
            let text = code.text.description
            #expect(text.allSatisfy { $0 == "_" || ("a"..."z").contains($0) } && !text.isEmpty)
            #expect(code.title.description.isEmpty == (code.status == 0))
            #expect(ReasonCode.phrase(for: code.status).description.isEmpty == (code.status == 0))
        }
    }

    @Test(
        "Faults of requests have the status that their RFC names",
        arguments: [
            (.bareLineFeed, 400), (.methodTooLong, 501), (.methodNotAllowed, 405),
            (.versionNotSupported, 505),
            (.unknownTransferCoding, 501), (.lengthAndTransferEncoding, 400), (.headTooLarge, 431),
            (.tooManyFields, 431), (.targetTooLong, 414), (.expectationFailed, 417), (.dotSegment, 400),
        ] as [(MessageFault, UInt16)])
    func faults(fault: MessageFault, status: UInt16) {
        #expect(fault.code.status == status)
    }

    @Test(
        "RFC 9110 §5.6.7: dates",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] as [(Int64, String)])
    func dates(seconds: Int64, text: String) {
        let date = HTTPDate.format(seconds)
        #expect(String(decoding: (0..<29).map { date[$0] }, as: UTF8.self) == text)
        #expect(HTTPDate.seconds(text) == seconds)
    }

    @Test(
        "what is no date in that one form is none",
        arguments: [
            "", "Sun, 06 Nov 1994", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:61:00 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
        ])
    func noDates(text: String) { #expect(HTTPDate.seconds(text) == nil) }

    @Test("A date before 1970 or a limit of zero is a bug")
    func bugs() async {
        await #expect(processExitsWith: .failure) { _ = HTTPDate.format(-1) }
        await #expect(processExitsWith: .failure) { _ = HeadLimits(headBytes: 0) }
        await #expect(processExitsWith: .failure) { _ = HeadLimits(targetBytes: 65_536) }
    }
}
