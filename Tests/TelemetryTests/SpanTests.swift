import Testing

@testable import Telemetry

@Suite("Spans")
struct SpanTests {
    private func fields(_ bytes: [UInt8]) -> [(number: UInt64, value: ProtobufReader.Value)] {
        var reader = ProtobufReader(bytes[...])
        var fields: [(number: UInt64, value: ProtobufReader.Value)] = []
        while let field = reader.next() { fields.append(field) }
        return fields
    }

    private func span() -> TraceSpan {
        TraceSpan(
            traceHigh: 1, traceLow: 2, identifier: 3, parent: 4, kind: .server, name: Array("GET /".utf8))
    }

    @Test("numbers take as many bytes as they need")
    func varints() {
        for number: UInt64 in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 63, .max] {
            var bytes: [UInt8] = []
            ProtobufField.append(number: number, as: 3, to: &bytes)
            #expect(fields(bytes).first?.value == .varint(number))
            #expect(bytes.count == 1 + ProtobufField.size(ofVarint: number))
        }
    }

    @Test("a span has its names, its times and what it tells")
    func whole() {
        var span = span()
        span.start = 5
        span.end = 4
        span.isError = true
        span.set("nothing", "")
        span.set("number", -1)
        span.set("text", [0xFF, 0x61])
        let found = fields(span.encoded)
        #expect(found.map(\.number) == [1, 2, 4, 5, 6, 7, 8, 9, 9, 15, 16])
        #expect(
            found[0].value
                == .bytes(
                    ([UInt8](repeating: 0, count: 7) + [1] + [UInt8](repeating: 0, count: 7) + [2])[...]))
        var other = self.span()
        other.parent = 0
        #expect(fields(other.encoded).map(\.number) == [1, 2, 5, 6, 7, 8, 16])
        #expect(span != other)
    }

    @Test("texts are valid and bounded")
    func texts() {
        #expect(OTLP.validText(Array("abc".utf8)[...], limit: 2) == Array("ab".utf8)[...])
        #expect(OTLP.validText([0xFF], limit: 9) == Array("\u{FFFD}".utf8)[...])
        #expect(OTLP.validText(Array("é".utf8)[...], limit: 1) == Array("\u{FFFD}".utf8)[...])
    }

    @Test("what a collector refuses is read, and nonsense is nothing")
    func rejected() {
        var partial: [UInt8] = []
        ProtobufField.append(number: 7, as: 1, to: &partial)
        ProtobufField.append(bytes: Array("why".utf8)[...], as: 2, to: &partial)
        var response: [UInt8] = []
        ProtobufField.append(fixed32: 1, as: 9, to: &response)
        ProtobufField.append(fixed64: 1, as: 9, to: &response)
        ProtobufField.append(bytes: partial[...], as: 1, to: &response)
        #expect(OTLP.rejectedSpans(response) == 7 && OTLP.rejectedSpans([]) == 0)
        for length in 1..<response.count - 4 { _ = OTLP.rejectedSpans(Array(response[..<length])) }
        for nonsense: [UInt8] in [
            [0xFF], [0x0A], [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], [0x0B],
            [0x0A, 0x05, 0x08], [0x09, 0x01], [0x0D, 0x01],
            [0x0A, 0x0B, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ] { #expect(OTLP.rejectedSpans(nonsense) == 0, "\(nonsense)") }
    }

    @Test("a queue keeps what fits, in batches, and counts what does not")
    func queue() {
        let queue = SpanQueue(limitBytes: 300_000)
        let large = [UInt8](repeating: 1, count: 50_000)
        #expect(queue.isEmpty && queue.take() == nil)
        for _ in 0..<7 { queue.append(large) }
        #expect(queue.recorded == 7 && queue.lost == 2 && queue.isHurried && !queue.isEmpty)
        let counts = [queue.take(), queue.take(), queue.take(), queue.take()].map { $0?.count }
        #expect(counts == [2, 2, 1, nil])
        queue.append(large)
        #expect(queue.lost == 2 && !queue.isHurried, "there is room again")
        let none = SpanQueue(limitBytes: 0)
        none.append([1])
        #expect(none.lost == 1 && none.take() == nil)
    }

    @Test("a request holds the resource, the scope and the spans")
    func request() {
        let queue = SpanQueue(limitBytes: 1000)
        queue.append(span().encoded)
        let batch = queue.take() ?? SpanBatch()
        let resource = OTLP.resource([("service.name", "a"), ("b", "c")])
        #expect(fields(resource).map(\.number) == [1, 1])
        let request = fields(OTLP.request(batch, resource: resource, version: "1"))
        guard case .bytes(let inner)? = request.first?.value else { return #expect(Bool(false)) }
        let parts = fields(Array(inner))
        #expect(request.count == 1 && parts.map(\.number) == [1, 2])
        guard case .bytes(let scopeSpans)? = parts.last?.value else { return #expect(Bool(false)) }
        let spans = fields(Array(scopeSpans))
        #expect(spans.map(\.number) == [1, 2] && spans.last?.value == .bytes(span().encoded[...]))
    }
}
