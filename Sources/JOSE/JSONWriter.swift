/// Writes JSON text (RFC 8259) without white space.
enum JSONWriter {
    /// Appends a string with its quotes; control characters, the quote and the backslash are escaped. `text` is
    /// UTF-8.
    static func append(string text: Span<UInt8>, to output: inout [UInt8]) {
        output.append(0x22)
        for index in 0..<text.count {
            let byte = text[index]
            if byte == 0x22 || byte == 0x5c {
                output.append(0x5c)
                output.append(byte)
            } else if byte < 0x20 || byte == 0x7f {
                append(escape: byte, to: &output)
            } else {
                output.append(byte)
            }
        }
        output.append(0x22)
    }

    static func append(string text: String, to output: inout [UInt8]) {
        append(string: Array(text.utf8).span, to: &output)
    }

    /// Appends a decimal number without allocating.
    static func append(integer value: Int64, to output: inout [UInt8]) {
        if value < 0 { output.append(0x2d) }
        var divisor: UInt64 = 1
        while value.magnitude / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            output.append(0x30 + UInt8(truncatingIfNeeded: value.magnitude / divisor % 10))
            divisor /= 10
        }
    }

    private static func append(escape byte: UInt8, to output: inout [UInt8]) {
        let low = byte & 15
        output.append(0x5c)
        output.append(0x75)
        output.append(0x30)
        output.append(0x30)
        output.append(0x30 + byte >> 4)
        output.append(low < 10 ? 0x30 + low : 0x57 + low)
    }
}
