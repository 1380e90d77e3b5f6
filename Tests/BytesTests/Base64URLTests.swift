import Testing

@testable import Bytes

@Suite("Base64url")
struct Base64URLTests {
    private func decode(_ text: String, room: Int = 64) -> [UInt8]? {
        let input = Array(text.utf8)
        var output = [UInt8](repeating: 0xaa, count: room)
        var span = output.mutableSpan
        guard let count = Base64URL.decode(input.span, into: &span) else { return nil }
        return Array(output.prefix(count))
    }

    private func encode(_ bytes: [UInt8], room: Int = 64, at start: Int = 0) -> String? {
        var output = [UInt8](repeating: 0x21, count: room)
        var span = output.mutableSpan
        guard let count = Base64URL.encode(bytes.span, into: &span, at: start) else { return nil }
        return String(decoding: output[start..<start + count], as: UTF8.self)
    }

    @Test(
        "RFC 4648 §10 and every length modulo 3, both ways",
        arguments: [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ])
    func vectors(plain: String, text: String) {
        #expect(decode(text) == Array(plain.utf8))
        #expect(encode(Array(plain.utf8)) == text)
    }

    @Test("Every byte value survives, at every alignment")
    func everyByte() {
        for skip in 0..<3 {
            let bytes = Array((0...255).map { UInt8($0) }.dropFirst(skip))
            guard let text = encode(bytes, room: 400) else {
                Issue.record("does not fit")
                continue
            }
            #expect(decode(text, room: 256) == bytes)
        }
    }

    @Test(
        "J8: one spelling only: padding, the other alphabet, white space and trailing bits are refused",
        arguments: [
            "Zg==", "Zg=", "Zm8=", "=", "Z", "Zm9vY", "+w", "/w", "-_+A", "Zm 9", "Zm9v\n", " Zm9v", "Zh",
            "Zn",
            "Zm9", "Zm-", "Zm9vYh", "Zm\u{0}v", "Zmé", "Zm9vYmFy.", "AAAA====",
        ])
    func refused(text: String) {
        #expect(decode(text) == nil)
    }

    @Test("J8: of the 64 last characters of a 64-byte signature only 4 are accepted")
    func trailingBits() {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        let accepted = alphabet.filter { decode(String(repeating: "A", count: 85) + String($0)) != nil }
        #expect(accepted == "AQgw")
    }

    @Test("What does not fit is refused and nothing is written behind the room")
    func room() {
        #expect(decode("Zm9v", room: 2) == nil)
        #expect(decode("Zm9v", room: 3) == Array("foo".utf8))
        #expect(encode(Array("foo".utf8), room: 3) == nil)
        #expect(encode(Array("foo".utf8), room: 5, at: 2) == nil)
        #expect(encode(Array("foo".utf8), room: 6, at: 2) == "Zm9v")
    }

    @Test("Sizes", arguments: [(0, 0), (1, 2), (2, 3), (3, 4), (4, 6), (64, 86), (132, 176)])
    func sizes(bytes: Int, characters: Int) {
        #expect(Base64URL.encodedCount(bytes) == characters)
        #expect(Base64URL.decodedCount(characters) == bytes)
        #expect(Base64URL.decodedCount(characters + (5 - characters % 4) % 4) == nil)
    }
}
