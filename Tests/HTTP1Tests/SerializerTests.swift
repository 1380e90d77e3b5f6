import Bytes
import HTTP
import Testing

@testable import HTTP1

@Suite("Serializer")
struct SerializerTests {
    private func written(_ write: (inout Buffer) -> Bool) -> String? {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        let fits = write(&buffer)
        let text = drain(&buffer, &pool)
        return fits ? text : nil
    }

    @Test(
        "Numbers in decimal and hexadecimal",
        arguments: [0, 1, 9, 10, 15, 16, 255, 4096, 65_535, 1_000_000, UInt64(Int64.max), UInt64.max])
    func numbers(value: UInt64) {
        #expect(written { $0.appendDecimal(value) } == String(value))
        #expect(written { $0.appendHexadecimal(value) } == String(value, radix: 16))
    }

    @Test("RFC 9112 §7.1: what is written in chunks is read as it was", arguments: [1, 15, 16, 4096])
    func chunks(count: Int) {
        let content = [UInt8](repeating: 0x61, count: count)
        let body = written {
            $0.appendChunkHeader(count) && $0.append(content.span) && $0.appendChunkEnd()
                && $0.appendLastChunk()
        }
        let input = Array((body ?? "").utf8)
        var decoder = BodyDecoder(.chunked)
        var offset = 0
        let data = decoder.next(input.span, &offset)
        guard case .data(let range) = data else {
            Issue.record("no data but \(data)")
            return
        }
        #expect(Array(input[range.bounds]) == content)
        let end = decoder.next(input.span, &offset)
        #expect(end == .end(trailers: .empty) && offset == input.count)
        #expect(written { $0.appendLastChunkBeforeTrailers() } == "0\r\n")
    }

    @Test("A chunk of no bytes would end the body, and is a bug")
    func emptyChunk() async {
        await #expect(processExitsWith: .failure) {
            var buffer = Buffer()
            _ = buffer.appendChunkHeader(0)
        }
    }

    @Test("RFC 9112 §4: status lines, with the phrase that came or the registered one")
    func statusLine() {
        let bytes = Array("Fine".utf8)
        let reason = ByteRange(start: 0, count: 4)
        #expect(
            written { $0.appendStatusLine(bytes.span, status: 200, reason: reason) }
                == "HTTP/1.1 200 Fine\r\n")
        #expect(
            written { $0.appendStatusLine(bytes.span, status: 200, reason: .empty) } == "HTTP/1.1 200 \r\n")
        #expect(written { $0.appendStatusLine(431) } == "HTTP/1.1 431 Request Header Fields Too Large\r\n")
        #expect(written { $0.appendStatusLine(299) } == "HTTP/1.1 299 \r\n")
    }

    @Test("RFC 9112 §5: a field line goes on in one canonical form")
    func fieldLines() {
        let bytes = Array("A: 1\r\nB:2\r\nC:\t 3 \r\nD:\r\n".utf8)
        var fields = FieldTable(capacity: 4)
        #expect(
            TrailerSection.parse(bytes.span, ByteRange(start: 0, count: bytes.count), into: &fields) == nil)
        let lines = (0..<fields.count).map { fields[$0] }
        #expect(
            lines.map { line in written { $0.appendFieldLine(bytes.span, line) } }
                == ["A: 1\r\n", "B: 2\r\n", "C: 3\r\n", "D: \r\n"])
    }

    @Test("Nothing is written without room")
    func noRoom() {
        var buffer = Buffer()
        let bytes = Array("A: 1\r\n".utf8)
        var fields = FieldTable(capacity: 1)
        #expect(TrailerSection.parse(bytes.span, ByteRange(start: 0, count: 6), into: &fields) == nil)
        let results = [
            buffer.appendDecimal(1), buffer.appendHexadecimal(1), buffer.appendChunkHeader(1),
            buffer.appendChunkEnd(),
            buffer.appendLastChunk(), buffer.appendLastChunkBeforeTrailers(), buffer.appendStatusLine(200),
            buffer.appendStatusLine(bytes.span, status: 200, reason: .empty),
            buffer.appendFieldLine(bytes.span, fields[0]),
        ]
        #expect(results.allSatisfy { !$0 } == true)
    }
}

@Suite("Trailer section")
struct TrailerSectionTests {
    @Test("RFC 9110 §6.5.1: lines with their flags, for the caller to leave out what no trailer may be")
    func parse() {
        let text = "0\r\nX-Sum: 1\r\nContent-Length: 5\r\nAuthorization: x\r\nX-Forwarded-For: y\r\n\r\n"
        let bytes = Array(text.utf8)
        var fields = FieldTable(capacity: 8)
        let range = ByteRange(from: 3, to: bytes.count - 2)
        #expect(TrailerSection.parse(bytes.span, range, into: &fields) == nil)
        let kept = (0..<fields.count).filter { fields[$0].flags.isDisjoint(with: .removedFromTrailers) }
        #expect(fields.count == 4 && kept == [0])
        #expect(HTTP1Tests.text(bytes, fields[0].nameRange) == "X-Sum")
    }

    @Test("Lines that are none, and more than there is room for")
    func refused() {
        var fields = FieldTable(capacity: 1)
        for (text, fault) in [
            ("X\r\n", .badTrailer), ("X: 1", .badTrailer), ("\r\n", .badTrailer),
            ("A: 1\r\nB: 2\r\n", .trailerTooLarge),
        ] as [(String, MessageFault)] {
            let bytes = Array(text.utf8)
            let found = TrailerSection.parse(
                bytes.span, ByteRange(start: 0, count: bytes.count), into: &fields)
            #expect(found == fault)
        }
    }
}
