import Bytes
import HTTP
import Testing

@testable import HTTP1

/// What a decoder made of input that came in pieces.
struct DecodedBody: Equatable {
    var content = ""
    var trailers: String?
    var fault: MessageFault?
    /// Bytes that belong to the next message.
    var rest = ""
}

/// Gives the decoder the input up to each of `steps` in turn, as a connection's buffer does: bytes that were used
/// up leave it, the rest stays in front.
func decodeBody(_ framing: BodyFraming, _ input: [UInt8], steps: [Int]) -> DecodedBody {
    var decoder = BodyDecoder(framing)
    var decoded = DecodedBody()
    var buffer: [UInt8] = []
    var taken = 0
    var count = 0
    for step in steps + [input.count] {
        buffer += input[taken..<step]
        taken = step
        var offset = 0
        events: while decoded.fault == nil, decoded.trailers == nil {
            switch decoder.next(buffer.span, &offset) {
            case .data(let range):
                decoded.content += text(buffer, range)
                count += Int(range.count)
            case .needMore: break events
            case .end(let trailers): decoded.trailers = text(buffer, trailers)
            case .malformed(let fault): decoded.fault = fault
            }
        }
        if decoded.fault == nil { buffer.removeFirst(offset) }
    }
    #expect(decoder.isComplete == (decoded.trailers != nil))
    #expect(Int(decoder.received) == count)
    if decoded.fault == nil { decoded.rest = String(decoding: buffer, as: UTF8.self) }
    return decoded
}

@Suite("Body decoder")
struct BodyDecoderTests {
    /// Decodes whole, in every split into two, and byte by byte; all must agree.
    private func decodeEveryWay(_ framing: BodyFraming, _ body: String) -> DecodedBody {
        let input = Array(body.utf8)
        let whole = decodeBody(framing, input, steps: [])
        for split in 0...input.count { #expect(decodeBody(framing, input, steps: [split]) == whole) }
        #expect(decodeBody(framing, input, steps: Array(0...input.count)) == whole)
        return whole
    }

    @Test(
        "RFC 9112 §7.1: chunked bodies, in every split",
        arguments: [
            ("0\r\n\r\n", DecodedBody(trailers: "")),
            ("5\r\nhello\r\n0\r\n\r\nGET", DecodedBody(content: "hello", trailers: "", rest: "GET")),
            (
                "5\r\nhello\r\n1\r\n,\r\nA\r\n0123456789\r\n0\r\n\r\n",
                DecodedBody(content: "hello,0123456789", trailers: "")
            ),
            ("a\r\n0123456789\r\n000\r\n\r\n", DecodedBody(content: "0123456789", trailers: "")),
            ("0000000000000005\r\nhello\r\n0\r\n\r\n", DecodedBody(content: "hello", trailers: "")),
            ("2\r\n\r\n\r\n0\r\n\r\n", DecodedBody(content: "\r\n", trailers: "")),
            ("5;name=value\r\nhello\r\n0;last\r\n\r\n", DecodedBody(content: "hello", trailers: "")),
            ("5 ; a=\"b;c\" ; d\r\nhello\r\n0\r\n\r\n", DecodedBody(content: "hello", trailers: "")),
            ("0\r\nX-Sum: 1\r\nY:2\r\n\r\nGET", DecodedBody(trailers: "X-Sum: 1\r\nY:2\r\n", rest: "GET")),
            ("1\r\na", DecodedBody(content: "a")), ("1\r\na\r\n0\r\n", DecodedBody(content: "a")),
            ("1\r\na\r\n0\r\n\r", DecodedBody(content: "a", rest: "\r")),
        ])
    func chunked(body: String, expected: DecodedBody) {
        #expect(decodeEveryWay(.chunked, body) == expected)
    }

    @Test(
        "F2, RFC 9112 §7.1: malformed chunks, in every split",
        arguments: [
            ("\r\n", .badChunkSize), ("x\r\n", .badChunkSize), ("+5\r\nhello\r\n", .badChunkSize),
            ("-1\r\n", .badChunkSize), ("0x5\r\n", .badChunkSize),
            (" 5\r\n", .badChunkSize), ("5\nhello\n0\n\n", .badChunkSize), ("5\rhello", .badChunkSize),
            ("5\r\r\nhello", .badChunkSize), ("5,\r\n", .badChunkSize),
            (";a\r\n", .badChunkSize), ("00000000000000005\r\n", .badChunkSize),
            ("FFFFFFFFFFFFFFFF\r\n", .badChunkSize), ("10000000000000000\r\n", .badChunkSize),
            ("1000000000000000\r\n", .badChunkSize), ("5 \r\nhello\r\n", .badChunkExtension),
            ("5;\r\nhello\r\n", .badChunkExtension), ("5;a\nhello\r\n", .badChunkExtension),
            ("5;a\u{0}\r\nhello\r\n", .badChunkExtension), ("5 a\r\nhello\r\n", .badChunkExtension),
            ("5;=b\r\n", .badChunkExtension), ("5;a\rb\r\n", .badChunkSize),
            ("5\r\nhello0\r\n\r\n", .badChunkEnd), ("5\r\nhello\n0\r\n\r\n", .badChunkEnd),
            ("5\r\nhello\rX", .badChunkEnd), ("5\r\nhello!\r\n", .badChunkEnd),
            ("0\r\nX\r\n\r\n", .badTrailer), ("0\r\nX : 1\r\n\r\n", .badTrailer),
            ("0\r\n X: 1\r\n\r\n", .badTrailer), ("0\r\nX: 1\n\r\n", .badTrailer),
            ("0\r\nX: 1\r\n 2\r\n\r\n", .badTrailer), ("0\r\nX: \u{0}\r\n\r\n", .badTrailer),
            ("0\r\n\n", .badTrailer),
        ] as [(String, MessageFault)])
    func malformedChunks(body: String, fault: MessageFault) {
        #expect(decodeEveryWay(.chunked, body).fault == fault)
    }

    @Test("RFC 9112 §7.1.1: extensions are bounded, of one chunk and of all")
    func extensionBounds() {
        let most = "1;" + String(repeating: "a", count: HeadLimits.chunkExtensionBytes - 1) + "\r\nx\r\n"
        #expect(decodeBody(.chunked, Array((most + "0\r\n\r\n").utf8), steps: []).content == "x")
        let more = most.replacing(";a", with: ";aa")
        #expect(decodeBody(.chunked, Array(more.utf8), steps: []).fault == .chunkExtensionTooLong)
        let all = String(repeating: most, count: HeadLimits.chunkExtensionBytesPerBody / 256 + 1)
        #expect(decodeBody(.chunked, Array(all.utf8), steps: []).fault == .chunkExtensionTooLong)
    }

    @Test("RFC 9112 §7.1.2: trailers are bounded in bytes and lines, complete or not")
    func trailerBounds() {
        let line = "X: " + String(repeating: "a", count: HeadLimits.trailerBytes - 5) + "\r\n"
        #expect(decodeBody(.chunked, Array("0\r\n\(line)\r\n".utf8), steps: []).trailers == line)
        #expect(
            decodeBody(.chunked, Array("0\r\n\(line)Y:\r\n\r\n".utf8), steps: []).fault == .trailerTooLarge)
        let endless = "0\r\nX: " + String(repeating: "a", count: HeadLimits.trailerBytes)
        #expect(decodeBody(.chunked, Array(endless.utf8), steps: []).fault == .trailerTooLarge)
        let lines = String(repeating: "X:\r\n", count: HeadLimits.trailerCount)
        #expect(decodeBody(.chunked, Array("0\r\n\(lines)\r\n".utf8), steps: []).trailers == lines)
        #expect(
            decodeBody(.chunked, Array("0\r\n\(lines)X:\r\n\r\n".utf8), steps: []).fault == .trailerTooLarge)
    }

    @Test("RFC 9112 §6.2: bodies of known length, and what follows them")
    func length() {
        #expect(
            decodeEveryWay(.length(5), "helloGET /")
                == DecodedBody(content: "hello", trailers: "", rest: "GET /")
        )
        #expect(decodeEveryWay(.length(0), "GET /") == DecodedBody(trailers: "", rest: "GET /"))
        #expect(decodeEveryWay(.length(6), "hello") == DecodedBody(content: "hello"))
        #expect(decodeEveryWay(.none, "GET /") == DecodedBody(trailers: "", rest: "GET /"))
    }

    @Test("RFC 9112 §8: the end of the connection ends a body, or cuts it")
    func endOfInput() {
        for (framing, body, isWhole) in [
            (.untilClose, "abc", true), (.length(3), "abc", true), (.length(4), "abc", false),
            (.none, "", true),
            (.chunked, "3\r\nabc\r\n", false), (.chunked, "3\r\nabc\r\n0\r\n\r\n", true),
            (.chunked, "3\r\nabc\r\n0\r\n", false), (.untilClose, "", true),
        ] as [(BodyFraming, String, Bool)] {
            var decoder = BodyDecoder(framing)
            let input = Array(body.utf8)
            var offset = 0
            while case .data = decoder.next(input.span, &offset) {}
            let event = decoder.endOfInput()
            #expect(event == (isWhole ? .end(trailers: .empty) : .malformed(.truncated)))
            #expect(decoder.isComplete == isWhole)
        }
    }

    @Test("A decoder that failed or ended says so again and takes nothing more")
    func sticky() {
        let input = Array("zzz".utf8)
        for (framing, event) in [
            (.chunked, .malformed(.badChunkSize)), (.length(0), .end(trailers: .empty)),
            (.none, .end(trailers: .empty)),
        ] as [(BodyFraming, BodyEvent)] {
            var decoder = BodyDecoder(framing)
            var offset = 0
            for _ in 0..<2 {
                let next = decoder.next(input.span, &offset)
                #expect(next == event && offset == 0)
            }
        }
    }
}
