import Testing

@testable import JOSE

@Suite("Strict JSON")
struct JSONTests {
    private func parses(_ text: [UInt8], limits: JSONLimits = .token) -> Bool {
        var bytes = text
        var tape = JSONTape(limits: limits)
        var span = bytes.mutableSpan
        return tape.parse(&span, end: text.count)
    }

    private func parses(_ text: String) -> Bool { parses(Array(text.utf8)) }

    /// The decoded text of the string at member `a`.
    private func decoded(_ string: String) -> String? {
        var document = JSONDocument(capacity: 4096, limits: .token)
        guard document.load(Array(#"{"a":\#(string)}"#.utf8).span) else { return nil }
        return JOSETests.string(document.bytes(of: 2))
    }

    @Test(
        "Valid texts",
        arguments: [
            "{}", "[]", " {} ", "\t\r\n[1]\n", "0", "-0", "1.5e-7", "1E+2", "true", "false", "null", #""""#,
            #"{"a":{"a":[{"a":1},{"a":2}]},"b":[]}"#, #"["\u0000\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\"]"#,
            "[[],[]]",
            #"{"":1," ":2}"#, "[1,2 , 3]", "123456789012345678901234567890", #""é\#u{7f}😀""#,
        ])
    func valid(text: String) { #expect(parses(text)) }

    @Test(
        "Invalid texts",
        arguments: [
            "", " ", "{", "[", "}", "]", "{]", "[}", "[1,]", "[,1]", "[1 2]", "{,}", #"{"a"}"#, #"{"a":}"#,
            #"{"a":1,}"#, #"{"a" 1}"#, "{a:1}", "{'a':1}", "{1:1}", "{} {}", "{}x", "[]]", "{}}", "01", "-",
            "+1",
            "1.", ".5", "1e", "1e+", "1.e1", "0x1", "NaN", "Infinity", "-Infinity", "tru", "truex", "True",
            "nul",
            "nulll", #"""#, #""\x""#, #""\u12""#, #""\u12g4""#, #""\"#, "\"\n\"", "\"\t\"", "\"\u{0}\"",
            "// {}",
            "\u{feff}{}", "[1]\u{0}", #""\ud800""#, #""\udc00""#, #""\ud800\ud800""#, #""\ud800x""#,
            #""\ud800\n""#, #""\udc00\ud800""#, "--1", "1-", "[\u{a0}1]",
        ])
    func invalid(text: String) { #expect(!parses(text)) }

    @Test(
        "UTF-8: overlong forms, surrogates, values above U+10FFFF, cut and stray bytes are refused",
        arguments: [
            [0xff], [0xfe], [0x80], [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xe0, 0x9f, 0xbf],
            [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf0, 0x80, 0x80, 0x80], [0xf0, 0x8f, 0xbf, 0xbf],
            [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98],
            [0xc3, 0x28], [0xe2, 0x28, 0xa1], [0xe2, 0x82, 0x28], [0xf0, 0x9f, 0x98, 0x28],
        ] as [[UInt8]])
    func badUTF8(sequence: [UInt8]) {
        #expect(!parses([0x22] + sequence + [0x22]))
        #expect(!parses([0x22, 0x5c, 0x6e] + sequence + [0x22]), "also behind an escape")
        #expect(!parses(sequence))
    }

    @Test("UTF-8: the first and last of each length")
    func goodUTF8() {
        let sequences: [[UInt8]] = [
            [0xc2, 0x80], [0xdf, 0xbf], [0xe0, 0xa0, 0x80], [0xed, 0x9f, 0xbf], [0xee, 0x80, 0x80],
            [0xef, 0xbf, 0xbf], [0xf0, 0x90, 0x80, 0x80], [0xf4, 0x8f, 0xbf, 0xbf],
        ]
        for sequence in sequences { #expect(parses([0x22] + sequence + [0x22])) }
    }

    @Test("Escapes are decoded")
    func escapes() {
        #expect(decoded(#""\u0061\u00e9\u20AC\ud83d\ude00\/\"\\x""#) == "aé€😀/\"\\x")
        #expect(decoded(#""a\b\f\n\r\tz""#) == "a\u{8}\u{c}\n\r\tz")
        #expect(decoded(#""é\u0000é""#) == "é\u{0}é")
        #expect(decoded(#""plain""#) == "plain")
    }

    @Test(
        "J13: duplicate members at any depth, however they are spelled",
        arguments: [
            #"{"a":1,"a":1}"#, #"{"a":1,"b":2,"a":3}"#, #"{"x":{"a":1,"a":2}}"#, #"[{"a":1,"a":2}]"#,
            #"{"a":1,"\u0061":2}"#, #"{"":1,"":2}"#, #"{"a":{"b":[1,{"c":1}]},"a":2}"#,
            #"{"é":1,"\u00e9":2}"#,
        ])
    func duplicates(text: String) { #expect(!parses(text)) }

    @Test("J13: members that differ in case, or stand in different objects, are no duplicates")
    func noDuplicates() { #expect(parses(#"{"a":1,"A":2,"x":{"a":1},"y":[{"a":1},{"a":1}]}"#)) }

    @Test("J12: depth is limited, and reaching it costs no recursion")
    func depth() {
        func nested(_ depth: Int) -> [UInt8] {
            [UInt8](repeating: 0x5b, count: depth) + [UInt8](repeating: 0x5d, count: depth)
        }
        #expect(parses(nested(32)))
        #expect(!parses(nested(33)))
        #expect(!parses(nested(10_000)))
        #expect(!parses([UInt8](repeating: 0x5b, count: 10_000)))
        let objects = String(repeating: #"{"a":"#, count: 33) + "1" + String(repeating: "}", count: 33)
        #expect(!parses(objects))
    }

    @Test("J12: the number of values and of members is limited")
    func counts() {
        let elements = { (count: Int) in
            "[" + Array(repeating: "1", count: count).joined(separator: ",") + "]"
        }
        #expect(parses(elements(1023)))
        #expect(!parses(elements(1024)))
        let members = { (count: Int) in
            "{" + (0..<count).map { #""m\#($0)":1"# }.joined(separator: ",") + "}"
        }
        #expect(parses(members(256)))
        #expect(!parses(members(257)))
    }

    @Test(
        "NumericDate, a fraction rounded up",
        arguments: [
            ("0", 0), ("-0", 0), ("1769299200", 1_769_299_200), ("1769299200.0", 1_769_299_200),
            ("1769299200.25", 1_769_299_201), ("1.7692992e9", 1_769_299_200), ("17692992E+2", 1_769_299_200),
            ("1769299200000e-3", 1_769_299_200), ("17692992005e-1", 1_769_299_201), ("-1.5", -1), ("0.1", 1),
            ("0e99999999", 0), ("999999999999999", 999_999_999_999_999), ("1e-99999999", 1), ("0.0", 0),
            ("0.000001769299200e15", 1_769_299_200), ("-12e1", -120),
        ])
    func numericDate(text: String, expected: Int64) {
        let bytes = Array(text.utf8)
        let seconds = JSONNumber.seconds(bytes.span)
        #expect(seconds == expected)
    }

    @Test(
        "NumericDate, a fraction rounded down",
        arguments: [
            ("0", 0), ("1769299200.25", 1_769_299_200), ("17692992005e-1", 1_769_299_200), ("0.1", 0),
            ("-1.5", -2),
            ("-0.1", -1), ("-1.0", -1), ("1769299200.0", 1_769_299_200),
            ("999999999999999.9", 999_999_999_999_999),
        ])
    func roundedDown(text: String, expected: Int64) {
        let bytes = Array(text.utf8)
        let seconds = JSONNumber.seconds(bytes.span, roundingUp: false)
        #expect(seconds == expected)
    }

    @Test(
        "J12: numbers beyond every date",
        arguments: [
            "1e99999999", "1e400", "1e16", "9e15", "1000000000000000", "-1e300", "99999999999999999999999999",
            "0.1e17",
        ])
    func outOfRange(text: String) {
        let bytes = Array(text.utf8)
        let seconds = JSONNumber.seconds(bytes.span)
        #expect(seconds == nil)
    }
}
