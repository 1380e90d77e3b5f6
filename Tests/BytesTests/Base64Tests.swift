import Bytes
import Testing

@Suite struct Base64Tests {
    @Test(
        "RFC 4648 §10, and both of the characters that Base64URL has others for",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"), ("~~~???", "fn5+Pz8/"),
        ])
    func encodes(text: String, encoded: String) {
        let bytes = Array(text.utf8)
        #expect(String(decoding: Base64.encode(bytes.span), as: UTF8.self) == encoded)
        #expect(Base64.encodedCount(bytes.count) == encoded.utf8.count)
    }
}
