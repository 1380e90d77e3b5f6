import Bytes
import Testing

@testable import Crypto

@Suite("SHA-1") struct SHA1Tests {
    @Test("the examples of FIPS 180, and nothing at all")
    func examples() {
        #expect(digest("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(digest("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(
            digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
    }

    private func digest(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        guard let digest = SHA1.hash(bytes.span) else { return nil }
        var text = ""
        for index in 0..<20 {
            text += String(digest[index] >> 4, radix: 16) + String(digest[index] & 15, radix: 16)
        }
        return text
    }
}
