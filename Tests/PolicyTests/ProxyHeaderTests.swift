import Bytes
import Testing

@testable import Policy

private let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]
private let v4Block: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 1, 4, 210, 0, 80]

private func binary(
    _ command: UInt8 = 0x21, _ family: UInt8 = 0x11, _ block: [UInt8] = v4Block
) -> [UInt8] {
    signature + [command, family, UInt8(block.count >> 8), UInt8(block.count & 255)] + block
}

private let malformedHeaders: [[UInt8]] =
    [
        "GET / HTTP/1.1\r\n", "PROXX", "proxy TCP4", "PROXY\tTCP4", "PROXY \r\n", "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.7  198.51.100.1 1 2\r\n", "PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n", "PROXY TCP4 192.0.2.7 198.51.100.1 1 100000\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n", "PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7.1 198.51.100.1 1 2\r\n", "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 192.0.2.7 ::1 1 2\r\n", "PROXY TCP6 :: ::1 1 2\r\n",
        "PROXY TCP6 1::2::3 ::1 1 2\r\n", "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n",
        "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP6 12345::1 ::1 1 2\r\n", "PROXY TCP6 1:2: ::1 1 2\r\n", "PROXY TCP6 :1:2 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\rX", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n\r\n",
        "PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n",
        String(repeating: "PROXY ", count: 20),
    ].map { Array($0.utf8) }
    + binaryMalformedHeaders

private let binaryMalformedHeaders: [[UInt8]] = [
    Array(signature[..<11]) + [13], signature + [0x11], signature + [0x22], signature + [0x31],
    binary(0x21, 0x12), binary(0x21, 0x22), binary(0x21, 0x11, Array(v4Block.dropLast())),
    binary(0x21, 0x21, [UInt8](repeating: 1, count: 35)),
    binary(0x21, 0x21, [UInt8](repeating: 0, count: 36)),
    binary(0x21, 0x31, [UInt8](repeating: 0, count: 215)), binary(0x21, 0x41),
    signature + [0x21, 0x11, 0xFF, 0xFF],
]

@Suite("PROXY header")
struct ProxyHeaderTests {
    private func source(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    /// Reads the header with more behind it, after every prefix of it was found incomplete.
    private func check(_ header: [UInt8], _ expected: IPAddress?) {
        for count in 0..<header.count {
            #expect(ProxyHeader.read(header.span.extracting(first: count)) == .incomplete, "\(count) bytes")
        }
        let wanted = ProxyHeader.Reading.header(byteCount: header.count, source: expected)
        #expect(ProxyHeader.read(header.span) == wanted)
        #expect(ProxyHeader.read((header + Array("GET / HTTP/1.1".utf8)).span) == wanted)
    }

    @Test(
        "version 1, in every split",
        arguments: [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 1234 80", "192.0.2.7"),
            ("PROXY TCP4 255.255.255.255 0.0.0.0 0 65535", "255.255.255.255"),
            ("PROXY TCP6 2001:db8::7 ::1 1 2", "2001:db8::7"),
            ("PROXY TCP6 ::1 :: 1 2", "::1"),
            ("PROXY TCP6 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:: 1 2", "1:2:3:4:5:6:7:8"),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2", "192.0.2.7"),
        ])
    func lines(text: String, address: String) throws {
        check(Array((text + "\r\n").utf8), try source(address))
    }

    @Test("version 1 without a source", arguments: ["PROXY UNKNOWN", "PROXY UNKNOWN a b c"])
    func unknown(text: String) { check(Array((text + "\r\n").utf8), nil) }

    @Test("version 2, in every split")
    func blocks() throws {
        check(binary(), try source("192.0.2.7"))
        check(binary(0x21, 0x11, v4Block + [4, 0, 1, 0]), try source("192.0.2.7"))
        let six: [UInt8] = [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 31) + [7]
        check(binary(0x21, 0x21, six), try source("2001:db8::"))
        check(binary(0x20, 0, []), nil)
        check(binary(0x20, 0x11, []), nil)
        check(binary(0x21, 0, [1, 2, 3]), nil)
        check(binary(0x21, 0x31, [UInt8](repeating: 0, count: 216)), nil)
        let limit = ProxyHeader.maximumByteCount - 16
        check(binary(0x20, 0, [UInt8](repeating: 1, count: limit)), nil)
    }

    @Test(
        "what is malformed is so from some byte on, and before that incomplete", arguments: malformedHeaders)
    func malformed(bytes: [UInt8]) {
        #expect(ProxyHeader.read(bytes.span) == .malformed, "\(String(decoding: bytes, as: UTF8.self))")
        for count in 0..<bytes.count {
            let reading = ProxyHeader.read(bytes.span.extracting(first: count))
            #expect(reading == .incomplete || reading == .malformed)
        }
    }

    @Test("the longest line has 107 bytes")
    func longest() {
        let text = "PROXY UNKNOWN " + String(repeating: "x", count: 91)
        check(Array((text + "\r\n").utf8), nil)
    }
}

@Suite("Addresses from the wire")
struct AddressReaderTests {
    @Test(
        "agrees with the reader of the configuration",
        arguments: [
            "1.2.3.4", "0.0.0.0", "255.255.255.255", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4",
            "2001:DB8::A", "1::8", "64:ff9b::192.0.2.33", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7::",
            "", ".", ":", ":::", "1", "1.2.3", "1.2.3.", "1.2.3.4.", "01.2.3.4", "1.2.3.4.5", "256.1.1.1",
            "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "1::2::3", ":1",
            "1:",
            "::1:", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "1.2.3.4::", "::1 ", " ::1", "fe80::1%1",
        ])
    func agreement(text: String) {
        let bytes = Array(text.utf8)
        #expect(AddressReader.read(bytes.span) == IPAddress(text))
    }

    @Test(
        "brackets, ports and spaces of a list's element",
        arguments: [
            (" 192.0.2.1 ", "192.0.2.1"), ("192.0.2.1:80", "192.0.2.1"), ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"), ("", ""), ("[", ""), ("[]", ""), ("\t1:2:3::", "1:2:3::"),
        ])
    func hosts(element: String, host: String) {
        let bytes = Array(element.utf8)
        #expect(text(AddressReader.host(of: bytes.span)) == host)
    }
}
