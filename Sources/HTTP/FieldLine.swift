public import Bytes

/// One field line of a head, as ranges of the bytes that were parsed.
public struct FieldLine: Sendable, BitwiseCopyable {
    /// The interned name, `other` for one that no rule is about.
    public let name: FieldName
    /// The flags of the name, and of this line.
    public var flags: FieldFlags
    /// The name as it came, in any case.
    public let nameRange: ByteRange
    /// The value without whitespace around it.
    public let valueRange: ByteRange
    /// The whole line with its CRLF.
    public let lineRange: ByteRange

    /// A line of these parts.
    @inlinable
    public init(
        name: FieldName, flags: FieldFlags, nameRange: ByteRange, valueRange: ByteRange, lineRange: ByteRange
    ) {
        self.name = name
        self.flags = flags
        self.nameRange = nameRange
        self.valueRange = valueRange
        self.lineRange = lineRange
    }

    /// The line with these ranges: looks the name up, and sees whether the line is canonical.
    init(_ bytes: Span<UInt8>, name: ByteRange, value: ByteRange, line: ByteRange) {
        let known = FieldName.lookUp(bytes, name)
        self.init(
            bytes, ScannedName(name: known.name, flags: known.flags, end: name.end), name: name, value: value,
            line: line)
    }

    /// The line whose name was read by `FieldName.scan`: sees whether it is canonical.
    @inlinable @inline(__always)
    public init(
        _ bytes: Span<UInt8>, _ known: ScannedName, name: ByteRange, value: ByteRange, line: ByteRange
    ) {
        // `name`, a colon, one space and not a tab, `value`, CRLF.
        let isCanonical =
            Int(value.start) == name.end &+ 2 && line.end == value.end &+ 2 && bytes[name.end &+ 1] == 0x20
        self.init(
            name: known.name, flags: isCanonical ? known.flags.union(.canonical) : known.flags,
            nameRange: name, valueRange: value, lineRange: line)
    }

    /// No line: what a variable holds before the first is read.
    @inlinable public static var none: FieldLine {
        FieldLine(name: .other, flags: [], nameRange: .empty, valueRange: .empty, lineRange: .empty)
    }

    /// True where the raw line is exactly `name: value` CRLF, so that it can be copied as it is.
    @inlinable public var isCanonical: Bool { flags.contains(.canonical) }

    /// True for `tracestate`, which means nothing without the `traceparent` beside it.
    public func isTraceState(_ bytes: Span<UInt8>) -> Bool {
        nameRange.count == 10 && ASCII.equalsIgnoringCase(bytes.slice(nameRange), "tracestate")
    }
}

/// The field lines of a head or trailer section, in the order in which they came.
public typealias FieldTable = FixedArray<FieldLine>
