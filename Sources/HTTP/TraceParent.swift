public import Bytes

/// Which trace a request belongs to, and which span of it it comes from: the value of `traceparent` (W3C Trace Context,
/// 3.2).
public struct TraceParent: Sendable, BitwiseCopyable, Equatable {
    /// The trace: 128 bits, not all zero.
    public var traceHigh: UInt64
    /// The lower half of the trace.
    public var traceLow: UInt64
    /// The span that sent the request: not zero.
    public var span: UInt64
    /// Its sender records it.
    public var isSampled: Bool

    /// The context of these numbers.
    public init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, isSampled: Bool) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.isSampled = isSampled
    }

    /// How long the value is in version 00.
    public static var byteCount: Int { 55 }

    /// Reads a value without whitespace around it; nil for what the specification calls invalid (3.2.2, 4.3). Of a
    /// version that is not known yet, only what version 00 has is read.
    public static func parse(_ value: Span<UInt8>) -> TraceParent? {
        guard value.count >= byteCount, value[2] == 0x2D, value[35] == 0x2D, value[52] == 0x2D,
            let version = Hexadecimal.number(value, 0..<2), version != 0xFF,
            let high = Hexadecimal.number(value, 3..<19), let low = Hexadecimal.number(value, 19..<35),
            let span = Hexadecimal.number(value, 36..<52), let flags = Hexadecimal.number(value, 53..<55),
            high | low != 0, span != 0
        else { return nil }
        guard value.count == byteCount || version > 0 && value[byteCount] == 0x2D else { return nil }
        return TraceParent(traceHigh: high, traceLow: low, span: span, isSampled: flags & 1 != 0)
    }

    /// The context of a request: that of the one `traceparent` of its head, where that is valid.
    public static func told(by head: borrowing RequestHead, _ bytes: Span<UInt8>) -> TraceParent? {
        var found: TraceParent?
        var count = 0
        for index in 0..<head.fields.count
        where head.fields[index].name == .traceParent && !head.fields[index].flags.contains(.nominated) {
            count += 1
            found = parse(bytes.slice(head.fields[index].valueRange))
        }
        return count == 1 ? found : nil
    }

    /// Writes the value in version 00; false where it does not fit.
    public func append(to buffer: inout Buffer) -> Bool {
        guard buffer.room >= Self.byteCount else { return false }
        return buffer.append("00-") && buffer.append(hexadecimal: traceHigh)
            && buffer.append(hexadecimal: traceLow) && buffer.append("-")
            && buffer.append(hexadecimal: span) && buffer.append(isSampled ? "-01" : "-00")
    }

    /// Where the trace stands in a value of version 00.
    public static var traceRange: Range<Int> { 3..<35 }
    /// Where the span does.
    public static var spanRange: Range<Int> { 36..<52 }
}
