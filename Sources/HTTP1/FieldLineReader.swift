import Bytes
import HTTP

/// What stands at the start of a line of a field section.
enum FieldStep {
    /// A field line.
    case line
    /// The empty line.
    case end
    /// The line is not complete.
    case incomplete
    case fault(MessageFault)
}

/// Reads field lines (RFC 9112 §5) for requests, responses and trailer sections alike: CRLF and nothing else ends a
/// line, no whitespace stands before the colon, no line is folded, no control character but tab is in a value.
struct FieldLineReader {
    /// Where the next line starts.
    private(set) var offset: Int
    private let sectionStart: Int

    init(at offset: Int) {
        self.offset = offset
        sectionStart = offset
    }

    /// Reads the line at `offset` into `field`, and moves behind it.
    @inline(__always)
    mutating func next(_ bytes: Span<UInt8>, _ field: inout FieldLine) -> FieldStep {
        let start = offset
        let known = FieldName.scan(bytes, from: start)
        let nameEnd = known.end
        if nameEnd == start { return sectionEnd(bytes) }
        guard nameEnd < bytes.count else { return .incomplete }
        guard bytes[nameEnd] == 0x3A else { return .fault(Self.faultBehindName(bytes, nameEnd)) }
        var valueStart = nameEnd &+ 1
        while valueStart < bytes.count, ASCII.isWhitespace(bytes[valueStart]) { valueStart &+= 1 }
        let end = ASCII.endOfFieldValue(bytes, from: valueStart)
        guard end &+ 1 < bytes.count else { return Self.stepAtEnd(bytes, end) }
        guard bytes[end] == 0x0D, bytes[end &+ 1] == 0x0A else { return .fault(Self.fault(at: bytes[end])) }
        var valueEnd = end
        while valueEnd > valueStart, ASCII.isWhitespace(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
        field = FieldLine(
            bytes, known, name: ByteRange(from: start, to: nameEnd),
            value: ByteRange(from: valueStart, to: valueEnd),
            line: ByteRange(from: start, to: end &+ 2))
        offset = end &+ 2
        return .line
    }

    /// A line that starts with no token character: the empty line, or a fault.
    private mutating func sectionEnd(_ bytes: Span<UInt8>) -> FieldStep {
        guard offset < bytes.count else { return .incomplete }
        switch bytes[offset] {
        case 0x0D:
            guard offset + 1 < bytes.count else { return .incomplete }
            guard bytes[offset + 1] == 0x0A else { return .fault(.bareCarriageReturn) }
            offset += 2
            return .end
        case 0x0A: return .fault(.bareLineFeed)
        case 0x20, 0x09:
            return .fault(offset == sectionStart ? .whitespaceBeforeFirstField : .obsoleteFolding)
        case let byte: return .fault(ASCII.isFieldValue(byte) ? .badFieldName : .controlCharacter)
        }
    }

    private static func faultBehindName(_ bytes: Span<UInt8>, _ index: Int) -> MessageFault {
        switch bytes[index] {
        case 0x20, 0x09: .whitespaceBeforeColon
        case 0x0D: .missingColon
        case 0x0A: .bareLineFeed
        case let byte: ASCII.isFieldValue(byte) ? .badFieldName : .controlCharacter
        }
    }

    /// The bytes end at the value, or one behind it.
    private static func stepAtEnd(_ bytes: Span<UInt8>, _ end: Int) -> FieldStep {
        end == bytes.count || bytes[end] == 0x0D ? .incomplete : .fault(fault(at: bytes[end]))
    }

    /// The fault of a byte that ends a line and should not.
    static func fault(at byte: UInt8) -> MessageFault {
        switch byte {
        case 0x0D: .bareCarriageReturn
        case 0x0A: .bareLineFeed
        default: .controlCharacter
        }
    }
}
