import Bytes
import Testing

@testable import HTTP

@Suite("W3C Trace Context")
struct TraceParentTests {
    private let trace = "0af7651916cd43dd8448eb211c80319c"
    private let span = "b7ad6b7169203331"

    private func parse(_ text: String) -> TraceParent? { TraceParent.parse(Array(text.utf8).span) }

    @Test("a value of version 00 comes out as it went in")
    func roundTrip() throws {
        var pool = BlockPool(keptBytes: 4096)
        var buffer = Buffer()
        buffer.attach(from: &pool, .tiny)
        for flag in ["00", "01"] {
            let text = "00-\(trace)-\(span)-\(flag)"
            let parsed = try #require(parse(text))
            #expect(parsed.isSampled == (flag == "01") && parsed.span == 0xb7ad_6b71_6920_3331)
            let fits = parsed.append(to: &buffer)
            let written = buffer.bytes.indices.map { buffer.bytes[$0] }
            #expect(fits && String(decoding: written, as: UTF8.self) == text)
            #expect(Array(text.utf8)[TraceParent.traceRange] == Array(trace.utf8)[...])
            #expect(Array(text.utf8)[TraceParent.spanRange] == Array(span.utf8)[...])
            buffer.consume(buffer.count)
        }
        buffer.detach(to: &pool)
        let parsed = try #require(parse("00-\(trace)-\(span)-01"))
        let fits = parsed.append(to: &buffer)
        #expect(!fits, "there is no block")
    }

    @Test("a version that is not known yet is read as far as version 00 goes")
    func versions() {
        #expect(parse("cc-\(trace)-\(span)-01-what-the-future-says")?.isSampled == true)
        #expect(parse("01-\(trace)-\(span)-00")?.isSampled == false)
        #expect(parse("00-\(trace)-\(span)-ff")?.isSampled == true)
        #expect(parse("00-\(trace)-\(span)-fe")?.isSampled == false)
    }

    @Test("a request tells one context, or none")
    func told() {
        var head = RequestHead(fieldCapacity: 8)
        let value = "00-\(trace)-\(span)-01"
        let cases: [([(String, String)], Bool)] = [
            ([("traceparent", value)], true), ([("TraceParent", value), ("tracestate", "a=1")], true),
            ([], false), ([("traceparent", value + "x")], false), ([("trace-parent", value)], false),
            ([("traceparent", value), ("traceparent", value)], false),
            ([("traceparent", value), ("traceparent", "x")], false),
            ([("traceparent", value), ("Connection", "traceparent")], false),
        ]
        for (fields, isTold) in cases {
            let text = HeadText("GET", "/", [("Host", "a")] + fields)
            #expect(text.read(into: &head) == nil)
            let told = TraceParent.told(by: head, text.bytes.span)
            #expect((told != nil) == isTold && (told?.isSampled ?? true))
        }
    }

    @Test("everything else is none")
    func invalid() {
        let zeros = "00000000000000000000000000000000"
        for text in [
            "", "00", "00-\(trace)-\(span)-0", "00-\(trace)-\(span)-01-", "00-\(trace)-\(span)-011",
            "01-\(trace)-\(span)-01x", "ff-\(trace)-\(span)-01", "FF-\(trace)-\(span)-01",
            "00-\(trace.uppercased())-\(span)-01", "00-\(trace)-\(span.uppercased())-01",
            "00-\(zeros)-\(span)-01", "00-\(trace)-\(zeros.prefix(16))-01", "00-\(trace)-\(span)-0G",
            "0 -\(trace)-\(span)-01", "00 \(trace)-\(span)-01", "00-\(trace) \(span)-01",
            "00-\(trace)-\(span) 01", "00-\(trace.dropLast())\u{0}-\(span)-01",
        ] { #expect(parse(text) == nil, "\(text)") }
    }

    @Test(
        "only the one name is the state of a trace",
        arguments: ["tracestate", "TraceState", "tracestates", "trace-state"])
    func state(name: String) {
        let bytes = Array("\(name): a=1\r\n".utf8)
        let range = ByteRange(start: 0, count: name.utf8.count)
        let line = FieldLine(bytes.span, name: range, value: .empty, line: .empty)
        #expect(line.isTraceState(bytes.span) == (name.lowercased() == "tracestate"))
    }
}
