import Testing

@testable import usher

@Suite("Texts for people")
struct TextTests {
    @Test("JSON is shown indented, its scalars as they are written")
    func pretty() throws {
        let text = #"{"a":1.50,"b":[],"c":{"d":"é\u0041"},"a":null}"#
        let shown = """
            {
              "a": 1.50,
              "b": [],
              "c": {
                "d": "é\\u0041"
              },
              "a": null
            }
            """
        #expect(try #require(JSONTree(parsing: Array(text.utf8))).pretty() == shown)
    }

    @Test(
        "what is not JSON",
        arguments: [
            "", "{", "{\"a\":}", "[1 2]", "tru", "NaN", "-", "1.", "1e", ".5", "+1", "\"\n\"", "\"\\x\"",
            "\"\\u12\"",
            "\"a", "[1]]", String(repeating: "[", count: 100_000),
        ])
    func notJSON(text: String) {
        #expect(JSONTree(parsing: Array(text.utf8)) == nil)
    }

    @Test("a token's parts are shown, and cannot steer the terminal")
    func token() {
        // {"alg":"none"} . {"sub":"\u{1b}[2J\u{202e}x"} with the bytes themselves in it
        let header = "eyJhbGciOiJub25lIn0"
        let payload = "eyJzdWIiOiIbWzJK4oCueCJ9"
        guard case .success(let text) = TokenText.show(Array("\(header).\(payload).".utf8)) else {
            Issue.record("not shown")
            return
        }
        #expect(text.contains("\"alg\": \"none\""))
        #expect(text.unicodeScalars.allSatisfy { Console.isHarmless($0) || $0 == "\n" })
    }

    @Test(
        "what is no token is refused",
        arguments: ["", "a", "a.b", "a.b.c.d", "eyJ=.e30.", "e30.e+0.", "e30.e3.x"])
    func noToken(text: String) {
        guard case .failure = TokenText.show(Array(text.utf8)) else {
            Issue.record("\(text) was shown")
            return
        }
    }

    @Test("white space around a token is left out, and an empty one is an error")
    func input() {
        #expect(TokenInput.read(" a.b.c\r\n") == .success(Array("a.b.c".utf8)))
        for argument in ["", " \n", "@/no/such/file"] {
            guard case .failure = TokenInput.read(argument) else {
                Issue.record("\(argument) was read")
                continue
            }
        }
    }

    @Test("one line end is left out at the end of a secret, and no more")
    func lineEnd() {
        let cases: [(String, String)] = [
            ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), ("s", "s"), ("", ""), ("s\r", "s\r"),
        ]
        for (text, expected) in cases {
            #expect(TokenSignCommand.withoutLineEnd(Array(text.utf8)) == Array(expected.utf8))
        }
    }
}
