import Testing

@testable import Bytes

@Suite("Hexadecimal")
struct HexadecimalTests {
    @Test(
        "digits and numbers are each other's inverse", arguments: [0, 1, 0x0123_4567_89ab_cdef, UInt64.max])
    func both(number: UInt64) {
        var pool = BlockPool(keptBytes: 4096)
        var buffer = Buffer()
        buffer.attach(from: &pool, .tiny)
        let fits = buffer.append(hexadecimal: number)
        let digits = buffer.bytes.indices.map { buffer.bytes[$0] }
        let padded = String(repeating: "0", count: 16) + String(number, radix: 16)
        #expect(fits && String(decoding: digits, as: UTF8.self) == padded.suffix(16))
        #expect(Hexadecimal.number(digits.span, 0..<16) == number)
        buffer.detach(to: &pool)
        let fitsNowhere = buffer.append(hexadecimal: number)
        #expect(!fitsNowhere)
    }

    @Test(
        "what is no lower-case digit is no number", arguments: ["A", "g", " ", "-", "/", ":", "`", "\u{0}"])
    func invalid(text: String) {
        let bytes = Array("1\(text)2".utf8)
        #expect(Hexadecimal.number(bytes.span, 0..<3) == nil && Hexadecimal.number(bytes.span, 2..<3) == 2)
        #expect(Hexadecimal.number(bytes.span, 0..<0) == 0)
    }
}
