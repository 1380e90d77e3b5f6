internal import Bytes

/// Reads addresses out of bytes from the wire, without taking memory.
enum AddressReader {
    /// An element of X-Forwarded-For without whitespace, brackets and a port.
    @_lifetime(copy text)
    static func host(of text: Span<UInt8>) -> Span<UInt8> {
        var (start, end) = (0, text.count)
        while start < end, ASCII.isWhitespace(text[start]) { start += 1 }
        while end > start, ASCII.isWhitespace(text[end - 1]) { end -= 1 }
        if start < end, text[start] == UInt8(ascii: "[") {
            let bracket = ASCII.firstIndex(of: UInt8(ascii: "]"), in: text, from: start, to: end)
            return text.extracting(start + 1..<max(bracket, start + 1))
        }
        let colon = ASCII.firstIndex(of: UInt8(ascii: ":"), in: text, from: start, to: end)
        if colon < end, ASCII.firstIndex(of: UInt8(ascii: ":"), in: text, from: colon + 1, to: end) == end {
            end = colon
        }
        return text.extracting(start..<end)
    }

    /// The address that the bytes spell, all of them (RFC 4291 §2.2, or four decimal numbers); nil for anything else.
    static func read(_ text: Span<UInt8>) -> IPAddress? {
        if let v4 = dotted(text) { return IPAddress(v4: v4) }
        return groups(text)
    }

    /// Four decimal numbers without leading zeros.
    static func dotted(_ text: Span<UInt8>) -> UInt32? {
        var value: UInt32 = 0
        var number: UInt32 = 0
        var digits = 0
        var dots = 0
        for index in text.indices {
            let byte = text[index]
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                value = value << 8 | number
                (number, digits, dots) = (0, 0, dots + 1)
                continue
            }
            guard ASCII.isDigit(byte), digits == 0 || number > 0 else { return nil }
            number = number * 10 + UInt32(byte - 48)
            digits += 1
            guard number <= 255 else { return nil }
        }
        return digits > 0 && dots == 3 ? value << 8 | number : nil
    }

    private static func groups(_ text: Span<UInt8>) -> IPAddress? {
        var words = InlineArray<8, UInt16>(repeating: 0)
        var count = 0
        var gap = -1
        var index = 0
        if text.count >= 2, text[0] == colon, text[1] == colon { (gap, index) = (0, 2) }
        while index < text.count {
            guard count < 8 else { return nil }
            let end = ASCII.firstIndex(of: colon, in: text, from: index, to: text.count)
            if end == text.count, count <= 6, let v4 = dotted(text.extracting(index..<end)) {
                words[count] = UInt16(truncatingIfNeeded: v4 >> 16)
                words[count + 1] = UInt16(truncatingIfNeeded: v4)
                count += 2
                break
            }
            guard let word = hexadecimal(text.extracting(index..<end)) else { return nil }
            words[count] = word
            count += 1
            index = end + 1
            // A colon must be followed by a group, or by one more colon, once.
            if end < text.count, index == text.count { return nil }
            if index < text.count, text[index] == colon {
                guard gap < 0 else { return nil }
                (gap, index) = (count, index + 1)
            }
        }
        guard gap < 0 ? count == 8 : count < 8 else { return nil }
        return address(words, count, gap)
    }

    /// Puts zeros where the gap is.
    private static func address(_ words: InlineArray<8, UInt16>, _ count: Int, _ gap: Int) -> IPAddress {
        var (high, low): (UInt64, UInt64) = (0, 0)
        for place in 0..<8 {
            let missing = 8 - count
            let source = gap < 0 || place < gap ? place : place < gap + missing ? -1 : place - missing
            let word = source < 0 ? 0 : UInt64(words[source])
            if place < 4 { high = high << 16 | word } else { low = low << 16 | word }
        }
        return IPAddress(high: high, low: low)
    }

    private static func hexadecimal(_ text: Span<UInt8>) -> UInt16? {
        guard (1...4).contains(text.count) else { return nil }
        var value: UInt16 = 0
        for index in text.indices {
            let byte = text[index]
            switch byte {
            case 0x30...0x39: value = value << 4 | UInt16(byte - 0x30)
            case 0x41...0x46, 0x61...0x66: value = value << 4 | UInt16((byte | 0x20) - 0x57)
            default: return nil
            }
        }
        return value
    }

    private static var colon: UInt8 { UInt8(ascii: ":") }
}
