import Bytes
import Testing

@testable import Policy

@Suite struct ForwardedFieldTests {
    private func read(_ value: String) -> (elements: [[String]], isMalformed: Bool) {
        let bytes = Array(value.utf8)
        var elements = ForwardedElements(ByteRange(from: 0, to: bytes.count))
        var found: [[String]] = []
        while let element = elements.next(bytes.span) {
            found.append(
                [element.node, element.proto, element.host].map {
                    String(decoding: bytes[$0.bounds], as: UTF8.self)
                })
        }
        return (found, elements.isMalformed)
    }

    @Test(
        "elements and their parameters",
        arguments: [
            ("for=192.0.2.1", [["192.0.2.1", "", ""]]),
            ("for=192.0.2.43, for=198.51.100.17", [["192.0.2.43", "", ""], ["198.51.100.17", "", ""]]),
            (#"For="[2001:db8:cafe::17]:4711""#, [["[2001:db8:cafe::17]:4711", "", ""]]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", [["192.0.2.60", "http", ""]]),
            (#"host="a,b;c" ; PROTO=https,, for=_x"#, [["", "https", "a,b;c"], ["_x", "", ""]]),
            ("for=192.0.2.1:80;ext=1", [["192.0.2.1:80", "", ""]]),
            ("for=a;", [["a", "", ""]]), (";for=a;; proto=b,;", [["a", "b", ""], ["", "", ""]]),
            (" , ", []), ("", []),
        ])
    func elements(value: String, expected: [[String]]) {
        let found = read(value)
        #expect(found.elements == expected)
        #expect(!found.isMalformed)
    }

    @Test(
        "what breaks the grammar ends the reading",
        arguments: [
            "for", "for=", "=x", "for=a b", #"for="a"#, #"for="a\"b""#, "for=a;for=b",
            #"for="""#,
            "for =a", "for=a, for=/", "for=a;proto=http;proto=https",
        ])
    func malformed(value: String) {
        #expect(read(value).isMalformed)
    }
}
