import Testing

@testable import Bytes

@Suite("ASCII")
struct ASCIITests {
    /// The classes as their RFCs spell them, to compare the bit sets with.
    private static let tokens = Set("!#$%&'*+-.^_`|~".utf8)
    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".utf8).contains(byte)
    }

    @Test("RFC 9110 §5.6.2, §5.5, RFC 3986 §2.3: byte classes", arguments: UInt8.min...UInt8.max)
    func classes(byte: UInt8) {
        let alphanumeric = Self.isLetterOrDigit(byte)
        #expect(ASCII.isToken(byte) == (alphanumeric || Self.tokens.contains(byte)))
        #expect(ASCIISet.unreserved.contains(byte) == (alphanumeric || Set("-._~".utf8).contains(byte)))
        #expect(ASCIISet.alphanumeric.contains(byte) == alphanumeric)
        #expect(ASCII.isDigit(byte) == Set("0123456789".utf8).contains(byte))
        #expect(ASCII.isVisible(byte) == (byte > 0x20 && byte < 0x7F))
        #expect(ASCII.isWhitespace(byte) == (byte == 0x20 || byte == 9))
        #expect(ASCII.isFieldValue(byte) == (byte == 9 || (byte >= 32 && byte != 127)))
        let text = String(UnicodeScalar(byte))
        #expect(ASCII.hexadecimalValue(byte) == (byte < 128 ? UInt8(text, radix: 16) : nil))
        #expect(ASCII.lowercased(byte) == (byte < 128 ? Array(text.lowercased().utf8)[0] : byte))
    }

    @Test(
        "A lowered word equals lower-case letters, digits and hyphens only where the bytes are these in any case"
    )
    func loweredWords() {
        let name = Array("x-user-1".utf8)
        let expected = ASCII.word(name.span, at: 0)
        #expect(ASCII.loweredWord(Array("X-UsEr-1".utf8).span, at: 0) == expected)
        for place in name.indices {
            for byte in UInt8.min...UInt8.max {
                var other = name
                other[place] = byte
                let isSame = ASCII.lowercased(byte) == name[place]
                #expect((ASCII.loweredWord(other.span, at: 0) == expected) == isSame)
            }
        }
        #expect(ASCII.loweredWord(Array("ABC".utf8).span, at: 0, count: 3) == 0x63_6261)
    }

    @Test(
        "A run of letters and hyphens ends at any other byte, and at the end given",
        arguments: UInt8.min...UInt8.max)
    func letterRuns(byte: UInt8) {
        let isLetter = Self.isLetterOrDigit(byte) && !ASCII.isDigit(byte)
        for place in 0..<20 {
            var bytes = [UInt8](repeating: 0x61, count: 40)
            bytes[place] = byte
            let end = isLetter || byte == 0x2D ? 30 : place
            #expect(ASCII.endOfLettersAndHyphens(bytes.span, from: 0, to: 30) == end)
            #expect(ASCII.endOfLettersAndHyphens(bytes.span, from: 0, to: place) == place)
        }
    }

    @Test(
        "Scans stop at the first byte outside their class, at every offset", arguments: UInt8.min...UInt8.max)
    func scans(byte: UInt8) {
        for length in [1, 7, 8, 9, 15, 16, 17, 24, 35] {
            for place in 0..<length {
                var bytes = [UInt8](repeating: 0x61, count: length)
                bytes[place] = byte
                let span = bytes.span
                #expect(ASCII.endOfToken(span, from: 0) == (ASCII.isToken(byte) ? length : place))
                #expect(ASCII.endOfVisible(span, from: 0) == (ASCII.isVisible(byte) ? length : place))
                #expect(ASCII.endOfFieldValue(span, from: 0) == (ASCII.isFieldValue(byte) ? length : place))
                let found = ASCII.firstIndex(of: byte, in: span, from: 0, to: length)
                #expect(found == (byte == 0x61 ? 0 : place))
                #expect(ASCII.endOfFieldValue(span, from: place + 1) == length)
            }
        }
    }

    @Test("Scans see the first of two bytes that stop them, whatever stands between")
    func firstOfTwo() {
        for (first, second) in [(0x00, 0x7F), (0x7F, 0x00), (0x1F, 0x1F), (0x0A, 0xFF), (0x0D, 0x0A)]
            as [(UInt8, UInt8)]
        {
            let bytes: [UInt8] = [0x80, 0x20, first, 0x80, 0x21, second, 0xFF, 0x7E, 0x61]
            #expect(ASCII.endOfFieldValue(bytes.span, from: 0) == 2)
            #expect(ASCII.firstIndex(of: second, in: bytes.span, from: 3, to: 9) == 5)
            let longer = bytes + [UInt8](repeating: 0xFF, count: 16)
            #expect(ASCII.endOfFieldValue(longer.span, from: 0) == 2)
            let end = ASCII.isFieldValue(second) ? longer.count : 5
            #expect(ASCII.endOfFieldValue(longer.span, from: 3) == end)
            #expect(ASCII.endOfVisible(longer.span, from: 7) == 9)
        }
    }

    @Test("A search ends where it is told to")
    func searchEnds() {
        let bytes = Array("aaaaaaaaaaaax".utf8)
        #expect(ASCII.firstIndex(of: 0x78, in: bytes.span, from: 0, to: 12) == 12)
        #expect(ASCII.firstIndex(of: 0x78, in: bytes.span, from: 0, to: 13) == 12)
        #expect(ASCII.firstIndex(of: 0x61, in: bytes.span, from: 4, to: 4) == 4)
    }

    @Test(
        "Comparison regards the case of ASCII letters only",
        arguments: [
            ("Host", "hOST", true), ("Host", "Hos", false), ("", "", true), ("a-b", "a_b", false),
            ("[", "{", false), ("@", "`", false), ("é", "É", false),
        ])
    func comparison(left: String, right: String, equal: Bool) {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        #expect(ASCII.equalsIgnoringCase(left.span, right.span) == equal)
        #expect(ASCII.equals(left.span, right.span) == (left == right))
    }

    @Test("Comparison with a literal")
    func literal() {
        let bytes = Array("Keep-Alive".utf8)
        #expect(ASCII.equalsIgnoringCase(bytes.span, "keep-alive") == true)
        #expect(ASCII.equalsIgnoringCase(bytes.span, "keep-alivf") == false)
        #expect(ASCII.equalsIgnoringCase(bytes.span, "keep-aliv") == false)
        #expect(ASCII.equals(bytes.span, "Keep-Alive") == true)
        #expect(ASCII.equals(bytes.span, "keep-alive") == false)
        #expect(ASCII.equals(bytes.span, "Keep") == false)
    }

    @Test(
        "Words are little-endian and zero behind their count, also at the end of the bytes", arguments: 0...8)
    func words(count: Int) {
        let bytes = Array("abcdefgh".utf8)
        var expected: UInt64 = 0
        for index in (0..<count).reversed() { expected = expected << 8 | UInt64(bytes[index]) }
        #expect(ASCII.word(bytes.span, at: 0, count: count) == expected)
        let tail = [0x7A] + Array(bytes[..<count])
        #expect(ASCII.word(tail.span, at: 1, count: count) == expected)
    }

    @Test("Words near the end are the bytes there, of every number, behind any number of others")
    func lastWords() {
        let bytes = Array("abcdefghijkl".utf8)
        for length in 0...12 {
            for start in 0...length {
                let count = min(length - start, 8)
                var expected: UInt64 = 0
                for index in (0..<count).reversed() {
                    expected = expected << 8 | UInt64(bytes[start + index])
                }
                #expect(ASCII.word(Array(bytes[..<length]).span, at: start, count: count) == expected)
            }
        }
    }

    @Test("A field value is checked to its end, whatever its length", arguments: 0...40)
    func fieldValues(length: Int) {
        let value = [UInt8](repeating: 0x61, count: length)
        #expect(ASCII.isFieldValue(value.span) == true)
        for place in 0..<length {
            for byte: UInt8 in [0x00, 0x0A, 0x0D, 0x1F, 0x7F] {
                var bad = value
                bad[place] = byte
                #expect(ASCII.isFieldValue(bad.span) == false)
                bad[0] = 0x09
                bad[length - 1] = 0xFF
                #expect(ASCII.isFieldValue(bad.span) == (place == 0 || place == length - 1))
            }
        }
    }

    @Test("A search finds the first of two, from any start to any end", arguments: 0...40)
    func searches(length: Int) {
        for place in 0..<max(length, 1) where place < length {
            var bytes = [UInt8](repeating: 0x61, count: length)
            (bytes[place], bytes[length - 1]) = (0x3A, 0x3A)
            for start in 0...place {
                #expect(ASCII.firstIndex(of: 0x3A, in: bytes.span, from: start, to: length) == place)
                #expect(ASCII.firstIndex(of: 0x3A, in: bytes.span, from: start, to: place) == place)
            }
        }
    }

    @Test("A word beyond the bytes is a bug")
    func wordBeyond() async {
        await #expect(processExitsWith: .failure) {
            let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7]
            _ = ASCII.word(bytes.span, at: 0)
        }
        await #expect(processExitsWith: .failure) {
            let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9]
            _ = ASCII.word(bytes.span, at: 5, count: 5)
        }
    }

    @Test("A slice is the range of the bytes")
    func slice() {
        let bytes = Array("GET / HTTP/1.1".utf8)
        #expect(ASCII.equals(bytes.span.slice(ByteRange(start: 4, count: 1)), "/") == true)
        #expect(bytes.span.slice(.empty).isEmpty == true)
    }
}
