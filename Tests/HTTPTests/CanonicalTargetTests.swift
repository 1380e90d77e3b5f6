import Bytes
import Testing

@testable import HTTP

@Suite("Canonical target")
struct CanonicalTargetTests {
    private struct Parsed: Equatable {
        var segments: [String] = []
        var forwarded = ""
        var trailingSlash = false
        var form = TargetForm.origin
    }

    private func parse(_ target: String, method: String = "GET") -> Result<Parsed, MessageFault> {
        var head = RequestHead(fieldCapacity: 4)
        let text = HeadText(method, target, [("Host", "a")])
        if let fault = text.read(into: &head) { return .failure(fault) }
        switch CanonicalTarget.parse(text.bytes.span, head) {
        case .refused(let fault): return .failure(fault)
        case .canonical(let target):
            return .success(
                Parsed(
                    segments: (0..<target.segmentCount).map { text.text(target.segment($0)) },
                    forwarded: text.text(target.pathAndQuery), trailingSlash: target.hasTrailingSlash,
                    form: target.form))
        }
    }

    @Test(
        "P1, P4: the bytes that are matched are the bytes that go upstream",
        arguments: [
            ("/", [], false), ("/a", ["a"], false), ("/a/", ["a"], true),
            ("/api/bob/tasks", ["api", "bob", "tasks"], false),
            ("/a%20b/c", ["a%20b", "c"], false), ("/%C3%A9", ["%C3%A9"], false),
            ("/a?b=c/../d", ["a"], false),
            ("/a?", ["a"], false), ("/api/x%3F/public", ["api", "x%3F", "public"], false),
            ("/api/x%23y", ["api", "x%23y"], false), ("/a;b=c/d", ["a;b=c", "d"], false),
            ("/...", ["..."], false),
            ("/..a/.b", ["..a", ".b"], false), ("/a..", ["a.."], false), ("/100%25", ["100%25"], false),
            ("/a%2520b", ["a%2520b"], false), ("/a%25C3%25A9", ["a%25C3%25A9"], false),
            ("/a%25zz", ["a%25zz"], false), ("/a:b@c!$&'()*+,;=~", ["a:b@c!$&'()*+,;=~"], false),
            ("/[id]", ["[id]"], false), ("/a?q=%zz|{}\"<>^`\\", ["a"], false),
            ("/.well-known/x", [".well-known", "x"], false), ("/.%25/..%253", [".%25", "..%253"], false),
        ] as [(String, [String], Bool)])
    func accepted(target: String, segments: [String], trailingSlash: Bool) {
        #expect(
            parse(target)
                == .success(Parsed(segments: segments, forwarded: target, trailingSlash: trailingSlash)))
    }

    @Test(
        "P1: dot segments in every disguise",
        arguments: [
            "/public/../api/x", "/..", "/.", "/a/.", "/a/..", "/./a", "/../", "/public/%2e%2e/api/x",
            "/api%2e%2e/",
            "/%2E", "/%2e./a", "/.%2e/a", "/api/..;/x", "/api/.;/x", "/api/..;a=b/x", "/api/..%3B/x",
            "/api/..%3b", "/api/%2e%2e%253bx=1/y",
            "/a.%2eb", "http://a/../b",
        ])
    func dotSegments(target: String) {
        #expect(parse(target) == .failure(.dotSegment))
    }

    @Test(
        "P2: encoded separators and control characters, in both cases",
        arguments: [
            "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a%00", "/a%0d%0aX", "/a%0A", "/a%1f", "/a%7F", "/a%7f",
            "/a%252fb", "/a%252e%252e/b", "/a%255c", "/a%2500", "/a%25252e", "/api/..%253B/x", "/api/.%253b",
            "/admin%253bx=1",
        ])
    func encodedSeparators(target: String) {
        #expect(parse(target) == .failure(.encodedSeparator))
    }

    @Test(
        "P1: encoded unreserved characters, which a backend would decode",
        arguments: [
            "/api/%62ob", "/%41", "/a%2Db", "/a%5Fb", "/a%7Eb", "/a%30",
            // Twice: /admin to a backend that decodes twice, and another path to the routes.
            "/%2561dmin", "/admi%256E", "/a%255Fb", "/a%2530",
        ])
    func encodedUnreserved(target: String) {
        #expect(parse(target) == .failure(.encodedUnreserved))
    }

    @Test("P3: empty segments", arguments: ["//", "//api/x", "/a//b", "/a//", "///", "http://h//x"])
    func emptySegments(target: String) {
        #expect(parse(target) == .failure(.emptySegment))
    }

    @Test(
        "RFC 3986 §2.1, §3.3: percent-encoding that is none, and overlong UTF-8",
        arguments: [
            "/a%", "/a%2", "/a%zz", "/a%2/b", "/%c0%af", "/%c1%9c", "/%e0%80%af", "/%F0%80%80%af", "/%u002f",
        ])
    func badEncoding(target: String) {
        #expect(parse(target) == .failure(.badPercentEncoding))
    }

    @Test(
        "P4, RFC 3986 §3.3: bytes that no path has, and fragments",
        arguments: ["/a#b", "/a?b#c", "/a\\b", "/a\"b", "/<a>", "/a^b", "/a`b", "/{a}", "/a|b", "*", "a"])
    func badBytes(target: String) {
        #expect(parse(target) == .failure(.badTarget))
    }

    @Test("A path has at most 64 segments")
    func segmentCount() {
        let most = String(repeating: "/a", count: 64)
        #expect(parse(most) == .success(Parsed(segments: Array(repeating: "a", count: 64), forwarded: most)))
        #expect(
            parse(most + "/")
                == .success(
                    Parsed(
                        segments: Array(repeating: "a", count: 64), forwarded: most + "/", trailingSlash: true
                    )))
        #expect(parse(most + "/a") == .failure(.tooManySegments))
    }

    @Test("RFC 9112 §3.2: the forms of a target")
    func forms() {
        #expect(parse("http://h") == .success(Parsed(form: .absolute)))
        #expect(parse("http://h?a=b") == .success(Parsed(forwarded: "?a=b", form: .absolute)))
        #expect(
            parse("http://h/x?y") == .success(Parsed(segments: ["x"], forwarded: "/x?y", form: .absolute)))
        #expect(parse("*", method: "OPTIONS") == .success(Parsed(form: .asterisk)))
        #expect(parse("http://h", method: "OPTIONS") == .success(Parsed(form: .asterisk)))
        #expect(parse("http://h/", method: "OPTIONS") == .success(Parsed(forwarded: "/", form: .absolute)))
        #expect(parse("h:443", method: "CONNECT") == .failure(.methodNotAllowed))
    }

    @Test("A segment that is not there is a bug")
    func beyond() async {
        await #expect(processExitsWith: .failure) {
            var head = RequestHead(fieldCapacity: 4)
            let text = HeadText("GET", "/a", [("Host", "a")])
            guard text.read(into: &head) == nil,
                case .canonical(let target) = CanonicalTarget.parse(text.bytes.span, head)
            else { return }
            _ = target.segment(1)
        }
    }
}
