/// What was done for a request, as OpenTelemetry's trace.proto has it: of the whole exchange with the client, or of one
/// attempt at a server.
public struct TraceSpan: Sendable, Equatable {
    /// Whose view it is.
    public enum Kind: UInt64, Sendable {
        /// The exchange with the client.
        case server = 2
        /// An attempt at a server.
        case client = 3
    }

    /// The trace, in two halves.
    public var traceHigh: UInt64
    /// The lower half of the trace.
    public var traceLow: UInt64
    /// The span.
    public var identifier: UInt64
    /// The span that it belongs to; 0: it is the first of the trace.
    public var parent: UInt64
    /// The parent is somebody else's.
    public var hasRemoteParent = false
    /// Whose view it is.
    public var kind: Kind
    /// A name that many spans have: the method and the route.
    public var name: [UInt8]
    /// What others have noted of the trace (`tracestate`).
    public var state: [UInt8] = []
    /// Nanoseconds since 1970.
    public var start: UInt64 = 0
    /// Nanoseconds since 1970.
    public var end: UInt64 = 0
    /// It ended badly, by this side's fault or that of a server.
    public var isError = false
    private var attributes: [UInt8]

    /// A span without attributes.
    public init(
        traceHigh: UInt64, traceLow: UInt64, identifier: UInt64, parent: UInt64, kind: Kind, name: [UInt8]
    ) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.identifier = identifier
        self.parent = parent
        self.kind = kind
        self.name = name
        attributes = []
        attributes.reserveCapacity(Self.usualBytes)
    }

    /// What attributes mostly take.
    private static let usualBytes = 480
    /// The most bytes of an attribute's value.
    static let valueBytes = 1024

    /// Says something more. Bytes that are no UTF-8 are replaced, as the format demands; an empty text says nothing.
    public mutating func set(_ key: String, _ text: ArraySlice<UInt8>) {
        guard !text.isEmpty else { return }
        OTLP.append(
            attribute: key, text: OTLP.validText(text, limit: Self.valueBytes), as: 9, to: &attributes)
    }

    /// Says something more, as above.
    public mutating func set(_ key: String, _ text: [UInt8]) { set(key, text[...]) }

    /// Says something more.
    public mutating func set(_ key: String, _ text: String) {
        guard !text.isEmpty else { return }
        OTLP.append(attribute: key, text: text, as: 9, to: &attributes)
    }

    /// Says something more.
    public mutating func set(_ key: String, _ number: Int) {
        OTLP.append(attribute: key, number: number, as: 9, to: &attributes)
    }

    /// The `Span` message.
    public var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(attributes.count + state.count + name.count + 96)
        ProtobufField.append(header: 1, count: 16, to: &bytes)
        OTLP.append(bigEndian: traceHigh, to: &bytes)
        OTLP.append(bigEndian: traceLow, to: &bytes)
        ProtobufField.append(header: 2, count: 8, to: &bytes)
        OTLP.append(bigEndian: identifier, to: &bytes)
        if !state.isEmpty { ProtobufField.append(bytes: state[...], as: 3, to: &bytes) }
        if parent != 0 {
            ProtobufField.append(header: 4, count: 8, to: &bytes)
            OTLP.append(bigEndian: parent, to: &bytes)
        }
        ProtobufField.append(bytes: OTLP.validText(name[...], limit: Self.valueBytes), as: 5, to: &bytes)
        ProtobufField.append(number: kind.rawValue, as: 6, to: &bytes)
        ProtobufField.append(fixed64: start, as: 7, to: &bytes)
        ProtobufField.append(fixed64: max(start, end), as: 8, to: &bytes)
        bytes += attributes
        if isError {
            // A Status, whose field 3 is STATUS_CODE_ERROR.
            ProtobufField.append(header: 15, count: 2, to: &bytes)
            ProtobufField.append(number: 2, as: 3, to: &bytes)
        }
        // Sampled; the two bits above the W3C flags say that it is known whether the parent is remote, and whether.
        ProtobufField.append(fixed32: 0x101 | (hasRemoteParent ? 0x200 : 0), as: 16, to: &bytes)
        return bytes
    }
}

/// Messages of the OpenTelemetry protocol, version 1 (opentelemetry-proto: trace.proto, trace_service.proto).
public enum OTLP {
    /// Whose spans they are, as an encoded `Resource` message.
    public static func resource(_ attributes: [(key: String, value: String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for pair in attributes { append(attribute: pair.key, text: pair.value, as: 1, to: &bytes) }
        return bytes
    }

    /// The body of a request to a collector: an `ExportTraceServiceRequest`.
    public static func request(_ batch: SpanBatch, resource: [UInt8], version: String) -> [UInt8] {
        var scope: [UInt8] = []
        ProtobufField.append(bytes: Array("usher".utf8)[...], as: 1, to: &scope)
        ProtobufField.append(bytes: Array(version.utf8)[...], as: 2, to: &scope)
        let spansCount = ProtobufField.size(ofBytes: scope.count) + batch.bytes.count
        let resourceCount =
            ProtobufField.size(ofBytes: resource.count) + ProtobufField.size(ofBytes: spansCount)
        var request: [UInt8] = []
        request.reserveCapacity(resourceCount + 16)
        // ResourceSpans, its Resource, and its ScopeSpans with its InstrumentationScope.
        ProtobufField.append(header: 1, count: resourceCount, to: &request)
        ProtobufField.append(bytes: resource[...], as: 1, to: &request)
        ProtobufField.append(header: 2, count: spansCount, to: &request)
        ProtobufField.append(bytes: scope[...], as: 1, to: &request)
        request += batch.bytes
        return request
    }

    /// How many spans a collector has refused, by the body of a good answer: an `ExportTraceServiceResponse`. 0 where
    /// it says nothing of it, or nothing that can be understood.
    public static func rejectedSpans(_ body: [UInt8]) -> UInt64 {
        var response = ProtobufReader(body[...])
        while let field = response.next() {
            guard field.number == 1, case .bytes(let partial) = field.value else { continue }
            var reader = ProtobufReader(partial)
            while let inner = reader.next() {
                // A negative count is none.
                if inner.number == 1, case .varint(let count) = inner.value {
                    return count >> 63 == 0 ? count : 0
                }
            }
        }
        return 0
    }

    /// A `KeyValue` whose value is a text. Nothing is put together elsewhere first: this is done for every request that is
    /// recorded.
    static func append(
        attribute key: String, text: ArraySlice<UInt8>, as field: UInt64, to bytes: inout [UInt8]
    ) {
        let value = ProtobufField.size(ofBytes: text.count)
        append(keyOf: key, valueCount: value, as: field, to: &bytes)
        ProtobufField.append(bytes: text, as: 1, to: &bytes)
    }

    static func append(attribute key: String, text: String, as field: UInt64, to bytes: inout [UInt8]) {
        let value = ProtobufField.size(ofBytes: text.utf8.count)
        append(keyOf: key, valueCount: value, as: field, to: &bytes)
        ProtobufField.append(header: 1, count: text.utf8.count, to: &bytes)
        bytes += text.utf8
    }

    /// A `KeyValue` whose value is a whole number.
    static func append(attribute key: String, number: Int, as field: UInt64, to bytes: inout [UInt8]) {
        let value = UInt64(bitPattern: Int64(number))
        append(keyOf: key, valueCount: 1 + ProtobufField.size(ofVarint: value), as: field, to: &bytes)
        ProtobufField.append(number: value, as: 3, to: &bytes)
    }

    /// What comes before the content of an `AnyValue`.
    private static func append(keyOf key: String, valueCount: Int, as field: UInt64, to bytes: inout [UInt8])
    {
        let count = key.utf8.count
        ProtobufField.append(
            header: field,
            count: ProtobufField.size(ofBytes: count) + ProtobufField.size(ofBytes: valueCount),
            to: &bytes)
        ProtobufField.append(header: 1, count: count, to: &bytes)
        bytes += key.utf8
        ProtobufField.append(header: 2, count: valueCount, to: &bytes)
    }

    /// At most so many bytes of a text, as UTF-8: a collector refuses a whole batch for one that is not.
    static func validText(_ text: ArraySlice<UInt8>, limit: Int) -> ArraySlice<UInt8> {
        let kept = text.prefix(limit)
        var bits: UInt8 = 0
        for byte in kept { bits |= byte }
        return bits < 0x80 ? kept : Array(String(decoding: kept, as: UTF8.self).utf8)[...]
    }

    static func append(bigEndian number: UInt64, to bytes: inout [UInt8]) {
        var shift: UInt64 = 64
        while shift > 0 {
            shift -= 8
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}

/// Reads the fields of a message that somebody else made.
struct ProtobufReader {
    enum Value: Equatable {
        case varint(UInt64)
        case bytes(ArraySlice<UInt8>)
        /// Of a type that is skipped.
        case other
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// The next field; nil at the end, and at what is no field.
    mutating func next() -> (number: UInt64, value: Value)? {
        guard let key = varint() else { return nil }
        switch key & 7 {
        case 0: return varint().map { (key >> 3, .varint($0)) }
        case 1: return skip(8) ? (key >> 3, .other) : nil
        case 2:
            guard let count = varint(), count <= UInt64(rest.count) else { return nil }
            let content = rest.prefix(Int(count))
            rest = rest.dropFirst(Int(count))
            return (key >> 3, .bytes(content))
        case 5: return skip(4) ? (key >> 3, .other) : nil
        default: return nil
        }
    }

    private mutating func skip(_ count: Int) -> Bool {
        guard rest.count >= count else { return false }
        rest = rest.dropFirst(count)
        return true
    }

    private mutating func varint() -> UInt64? {
        var number: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            number |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return number }
        }
        return nil
    }
}
