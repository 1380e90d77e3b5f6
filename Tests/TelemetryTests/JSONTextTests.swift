import Bytes
import Foundation
import Testing

@testable import Telemetry

/// What a function writes into a buffer.
func written(_ body: (inout Buffer) -> Void) -> [UInt8] {
    var pool = BlockPool(keptBytes: 0)
    var buffer = Buffer()
    buffer.attach(from: &pool, .medium)
    body(&buffer)
    var bytes: [UInt8] = []
    for index in 0..<buffer.count { bytes.append(buffer.bytes[index]) }
    buffer.detach(to: &pool)
    return bytes
}

@Suite("JSON text")
struct JSONTextTests {
    private func json(_ bytes: [UInt8]) -> String {
        String(decoding: written { JSONText.appendString(bytes.span, to: &$0) }, as: UTF8.self)
    }

    @Test(
        "strings that need escapes",
        arguments: [
            ("", #""""#), ("/api/tasks", #""/api/tasks""#), ("a\"b\\c", #""a\"b\\c""#),
            ("\n\r\t\u{0}\u{1b}[2J\u{7f}", #""\n\r\t\u0000\u001b[2J\u007f""#), ("ä€𝄞", #""ä€𝄞""#),
            ("\u{85}\u{9b}\u{a0}", "\"\\u0085\\u009b\u{a0}\""),
        ])
    func escapes(text: String, expected: String) {
        #expect(json(Array(text.utf8)) == expected)
    }

    @Test(
        "bytes that are no UTF-8 become U+FFFD and nothing else changes",
        arguments: [
            ([0xff], #""\ufffd""#), ([0x61, 0x80, 0x62], #""a\ufffdb""#), ([0xc3], #""\ufffd""#),
            ([0xc0, 0xaf], #""\ufffd\ufffd""#), ([0xe0, 0x80, 0xaf], #""\ufffd\ufffd\ufffd""#),
            ([0xed, 0xa0, 0x80], #""\ufffd\ufffd\ufffd""#),
            ([0xf4, 0x90, 0x80, 0x80], #""\ufffd\ufffd\ufffd\ufffd""#),
            ([0xe2, 0x82, 0x22], #""\ufffd\ufffd\"""#), ([0xf0, 0x9d, 0x84], #""\ufffd\ufffd\ufffd""#),
        ] as [([UInt8], String)])
    func invalidUTF8(bytes: [UInt8], expected: String) {
        #expect(json(bytes) == expected)
    }

    @Test("any bytes at all give valid JSON without control characters")
    func anyBytes() throws {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        for _ in 0..<500 {
            let bytes = (0..<40).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1
                return UInt8(truncatingIfNeeded: state >> 33)
            }
            let text = json(bytes)
            let value = try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
            #expect(value is String)
            #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) })
        }
    }

    @Test("numbers at their ends")
    func numbers() {
        func integer(_ value: Int64) -> String {
            String(decoding: written { JSONText.appendInteger(value, to: &$0) }, as: UTF8.self)
        }
        func milliseconds(_ value: Int64) -> String {
            String(
                decoding: written { JSONText.appendMilliseconds(microseconds: value, to: &$0) }, as: UTF8.self
            )
        }
        #expect(
            [0, 7, 10, -1, .max, .min].map(integer) == ["0", "7", "10", "-1", "\(Int64.max)", "\(Int64.min)"])
        #expect(
            [0, 1, 999, 1000, 61_001, -5].map(milliseconds) == [
                "0.000", "0.001", "0.999", "1.000", "61.001", "0.000",
            ])
    }

    @Test(
        "times in RFC 3339, across leap days and centuries",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_798_761_599_050, "2026-12-31T23:59:59.050Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1970-01-01T00:00:00.000Z"), (.max, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func timestamps(milliseconds: Int64, expected: String) {
        var formatter = TimestampFormatter()
        #expect(
            String(decoding: written { formatter.append(milliseconds: milliseconds, to: &$0) }, as: UTF8.self)
                == expected)
    }

    @Test("a cached second gives way to another one")
    func cachedSecond() {
        var formatter = TimestampFormatter()
        let text = written { buffer in
            for time in [1_000, 1_999, 2_000, 61_000, 1_000] as [Int64] {
                formatter.append(milliseconds: time, to: &buffer)
            }
        }
        #expect(
            String(decoding: text, as: UTF8.self)
                == "1970-01-01T00:00:01.000Z1970-01-01T00:00:01.999Z1970-01-01T00:00:02.000Z"
                + "1970-01-01T00:01:01.000Z1970-01-01T00:00:01.000Z")
    }
}
