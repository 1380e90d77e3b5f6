import Bytes
import Testing

@testable import HTTP

@Suite("Authority")
struct AuthorityTests {
    private func parse(_ text: String) -> (name: String, port: Int32)? {
        let bytes = Array("x\(text)y".utf8)
        guard let authority = Authority.parse(bytes.span, ByteRange(start: 1, count: bytes.count - 2)) else {
            return nil
        }
        return (String(decoding: bytes[authority.name.bounds], as: UTF8.self), authority.port)
    }

    @Test(
        "P5: name and port of a host, without a trailing dot",
        arguments: [
            ("api.example.com", "api.example.com", -1), ("API.Example.COM.:443", "API.Example.COM", 443),
            ("a:", "a", -1), ("a:0", "a", 0), ("a:65535", "a", 65_535), ("127.0.0.1:80", "127.0.0.1", 80),
            ("a_b-c", "a_b-c", -1), ("[::1]", "[::1]", -1), ("[::1]:8080", "[::1]", 8080),
            ("[::]", "[::]", -1),
            ("[2001:db8:0:0:0:0:0:1]:", "[2001:db8:0:0:0:0:0:1]", -1), ("[2001:DB8::1]", "[2001:DB8::1]", -1),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", -1), ("[1::]", "[1::]", -1),
        ] as [(String, String, Int32)])
    func accepted(text: String, name: String, port: Int32) {
        let parsed = parse(text)
        #expect(parsed?.name == name && parsed?.port == port)
    }

    @Test(
        "P5, RFC 3986 §3.2: what is no host",
        arguments: [
            "", ".", "..", "a..b", ".a", "a..", ":80", "a:b", "a:65536", "a:123456", "a:8 0", "u@a", "u:p@a",
            "a b",
            "a/b", "a,b", "a%62", "a\u{0}", "é", "[", "[]", "[::1", "::1", "[::1]x", "[::1]x:80",
            "[::1%eth0]", "[v1.a]",
            "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1::2::3]", "[:1]", "[1:]", "[12345::]", "[g::]",
            "[:::]",
            "[::1.2.3]", "[::1.2.3.256]", "[::1.2.3.4.5]", "[1.2.3.4]", "[1:2:3:4:5:6:7::8]", "a:+1", "a:-1",
        ])
    func refused(text: String) {
        #expect(parse(text)?.name == nil)
    }

    @Test("RFC 1035 §2.3.4: a name has at most 255 bytes")
    func length() {
        let name = String(repeating: "a", count: 255)
        #expect(parse(name)?.name == name)
        #expect(parse(name + ".:80")?.name == name)
        #expect(parse(name + "a")?.name == nil)
    }
}
