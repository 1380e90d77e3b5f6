public import Bytes

/// JSON values (RFC 8259) written to the end of a buffer, valid whatever bytes they are made from.
///
/// Nothing is allocated. What does not fit the buffer is cut off: callers make room for the worst case first, which
/// is six bytes for each byte of a string.
public enum JSONText {
    /// Writes `bytes` as a string in quotes. Bytes that are no UTF-8 become U+FFFD; quotes, backslashes, control
    /// characters (C0, DEL and C1) are escaped, so that a line stays a line and a terminal shows nothing else.
    public static func appendString(_ bytes: Span<UInt8>, to buffer: inout Buffer) {
        _ = buffer.append(0x22)
        if isPlain(bytes) {
            _ = buffer.append(bytes)
        } else {
            appendEscaped(bytes, to: &buffer)
        }
        _ = buffer.append(0x22)
    }

    /// Writes a decimal number.
    public static func appendInteger(_ value: Int64, to buffer: inout Buffer) {
        if value < 0 { _ = buffer.append(0x2d) }
        appendDigits(value.magnitude, atLeast: 1, to: &buffer)
    }

    /// Writes microseconds as milliseconds with three decimals; below 0 counts as 0.
    public static func appendMilliseconds(microseconds: Int64, to buffer: inout Buffer) {
        let value = UInt64(max(0, microseconds))
        appendDigits(value / 1000, atLeast: 1, to: &buffer)
        _ = buffer.append(0x2e)
        appendDigits(value % 1000, atLeast: 3, to: &buffer)
    }

    /// True where the bytes stand in a JSON string as they are: printable ASCII but `"` and `\`.
    ///
    /// No early exit, so that the compiler can test many bytes at a time; nearly every text is plain.
    private static func isPlain(_ bytes: Span<UInt8>) -> Bool {
        var special: UInt8 = 0
        for index in 0..<bytes.count {
            let byte = bytes[index]
            special |= byte &- 0x20 >= 0x5f ? 1 : 0
            special |= byte == 0x22 ? 1 : 0
            special |= byte == 0x5c ? 1 : 0
        }
        return special == 0
    }

    private static func appendEscaped(_ bytes: Span<UInt8>, to buffer: inout Buffer) {
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x80 {
                appendASCII(byte, to: &buffer)
                index += 1
                continue
            }
            let length = sequenceLength(bytes, at: index)
            if length == 0 {
                _ = buffer.append("\\ufffd")
                index += 1
            } else if length == 2, byte == 0xc2, bytes[index + 1] < 0xa0 {
                appendUnicodeEscape(bytes[index + 1], to: &buffer)
                index += 2
            } else {
                _ = buffer.append(bytes.extracting(index..<index + length))
                index += length
            }
        }
    }

    private static func appendASCII(_ byte: UInt8, to buffer: inout Buffer) {
        switch byte {
        case 0x22: _ = buffer.append("\\\"")
        case 0x5c: _ = buffer.append("\\\\")
        case 0x09: _ = buffer.append("\\t")
        case 0x0a: _ = buffer.append("\\n")
        case 0x0d: _ = buffer.append("\\r")
        case 0x20..<0x7f: _ = buffer.append(byte)
        default: appendUnicodeEscape(byte, to: &buffer)
        }
    }

    /// `\u00XX`, for a code point below U+0100.
    private static func appendUnicodeEscape(_ value: UInt8, to buffer: inout Buffer) {
        _ = buffer.append("\\u00")
        _ = buffer.append(hexadecimal(value >> 4))
        _ = buffer.append(hexadecimal(value & 0x0f))
    }

    private static func hexadecimal(_ digit: UInt8) -> UInt8 {
        digit < 10 ? 0x30 + digit : 0x57 + digit
    }

    /// How long the well-formed UTF-8 sequence at `index` is (RFC 3629 section 4), or 0 where there is none. The
    /// byte there is 0x80 or more.
    private static func sequenceLength(_ bytes: Span<UInt8>, at index: Int) -> Int {
        let length: Int
        // The second byte's range is what refuses overlong forms, surrogates, and code points beyond U+10FFFF.
        var second: ClosedRange<UInt8> = 0x80...0xbf
        switch bytes[index] {
        case 0xc2...0xdf: length = 2
        case 0xe0: (length, second) = (3, 0xa0...0xbf)
        case 0xed: (length, second) = (3, 0x80...0x9f)
        case 0xe1...0xef: length = 3
        case 0xf0: (length, second) = (4, 0x90...0xbf)
        case 0xf1...0xf3: length = 4
        case 0xf4: (length, second) = (4, 0x80...0x8f)
        default: return 0
        }
        guard bytes.count - index >= length, second.contains(bytes[index + 1]) else { return 0 }
        for offset in 2..<max(2, length) where bytes[index + offset] & 0xc0 != 0x80 { return 0 }
        return length
    }

    private static func appendDigits(_ value: UInt64, atLeast width: Int, to buffer: inout Buffer) {
        // 20 digits hold any 64-bit number.
        var digits: InlineArray<20, UInt8> = InlineArray(repeating: 0x30)
        var rest = value
        var first = 20
        while rest > 0 || 20 - first < width {
            first -= 1
            digits[first] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        _ = buffer.append(digits.span.extracting(first..<20))
    }
}

extension JSONText {
    /// Text as a JSON string in quotes, cut after `limitBytes` bytes of UTF-8. For the control side: it allocates.
    public static func quoted(_ text: String, limitBytes: Int = 16_384) -> String {
        let bytes = Array(text.utf8.prefix(limitBytes))
        return collect(room: bytes.count * 6 + 2) { appendString(bytes.span, to: &$0) }
    }

    /// What `body` writes into a buffer of its own with that much room, at most 256 KiB, as text.
    static func collect(room: Int, _ body: (inout Buffer) -> Void) -> String {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool, .holding(room) ?? .large)
        body(&buffer)
        var text: [UInt8] = []
        text.reserveCapacity(buffer.count)
        for index in 0..<buffer.count { text.append(buffer.bytes[index]) }
        buffer.detach(to: &pool)
        return String(decoding: text, as: UTF8.self)
    }
}
