/// Strings of JSON (RFC 8259 §7, UTF-8 by §8.1).
enum JSONString {
    /// Decodes a string in place from behind its opening quote: what is decoded is never longer than its text.
    /// Gives the end of the decoded bytes and the index behind the closing quote; nil where the string is not
    /// closed, has a control character, bytes that are not UTF-8, an unknown escape or a lone surrogate.
    static func decode(_ text: inout MutableSpan<UInt8>, _ start: Int, _ end: Int) -> (stop: Int, next: Int)?
    {
        var index = start
        while index < end {
            let byte = text[index]
            if byte == 0x22 { return (index, index &+ 1) }
            if byte == 0x5c { return unescape(&text, index, end) }
            guard let next = character(text, index, end) else { return nil }
            index = next
        }
        return nil
    }

    /// The same from the first backslash: from here on bytes move to the front.
    private static func unescape(
        _ text: inout MutableSpan<UInt8>, _ start: Int, _ end: Int
    ) -> (stop: Int, next: Int)? {
        var index = start
        var stop = start
        while index < end {
            let byte = text[index]
            if byte == 0x22 { return (stop, index &+ 1) }
            if byte == 0x5c {
                guard let next = escape(&text, index &+ 1, end, &stop) else { return nil }
                index = next
                continue
            }
            guard let next = character(text, index, end) else { return nil }
            while index < next {
                text[stop] = text[index]
                stop &+= 1
                index &+= 1
            }
        }
        return nil
    }

    /// The index behind one unescaped character, or nil where it is none.
    @inline(__always)
    private static func character(_ text: borrowing MutableSpan<UInt8>, _ index: Int, _ end: Int) -> Int? {
        let byte = text[index]
        if byte < 0x80 { return byte >= 0x20 ? index &+ 1 : nil }
        return UTF8Sequence.end(text, index, end)
    }

    /// Decodes the escape behind the backslash to `stop`, and gives the index behind it.
    private static func escape(
        _ text: inout MutableSpan<UInt8>, _ index: Int, _ end: Int, _ stop: inout Int
    ) -> Int? {
        guard index < end else { return nil }
        let decoded: UInt8
        switch text[index] {
        case 0x22: decoded = 0x22
        case 0x5c: decoded = 0x5c
        case 0x2f: decoded = 0x2f
        case 0x62: decoded = 0x08
        case 0x66: decoded = 0x0c
        case 0x6e: decoded = 0x0a
        case 0x72: decoded = 0x0d
        case 0x74: decoded = 0x09
        case 0x75: return unicode(&text, index &+ 1, end, &stop)
        default: return nil
        }
        text[stop] = decoded
        stop &+= 1
        return index &+ 1
    }

    /// Decodes the four digits behind `\u`, and the second half of a surrogate pair.
    private static func unicode(
        _ text: inout MutableSpan<UInt8>, _ index: Int, _ end: Int, _ stop: inout Int
    ) -> Int? {
        guard let unit = hexadecimal(text, index, end) else { return nil }
        guard unit & 0xf800 == 0xd800 else {
            write(unit, &text, &stop)
            return index &+ 4
        }
        guard unit < 0xdc00, index &+ 6 <= end, text[index &+ 4] == 0x5c, text[index &+ 5] == 0x75,
            let low = hexadecimal(text, index &+ 6, end), low & 0xfc00 == 0xdc00
        else { return nil }
        write(0x1_0000 + (unit & 0x3ff) << 10 | (low & 0x3ff), &text, &stop)
        return index &+ 10
    }

    private static func hexadecimal(_ text: borrowing MutableSpan<UInt8>, _ index: Int, _ end: Int) -> UInt32?
    {
        guard index &+ 4 <= end else { return nil }
        var unit: UInt32 = 0
        for offset in 0..<4 {
            let digit: UInt8
            switch text[index &+ offset] {
            case let byte where byte >= 0x30 && byte <= 0x39: digit = byte &- 0x30
            case let byte where byte >= 0x41 && byte <= 0x46: digit = byte &- 0x37
            case let byte where byte >= 0x61 && byte <= 0x66: digit = byte &- 0x57
            default: return nil
            }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }

    private static func write(_ scalar: UInt32, _ text: inout MutableSpan<UInt8>, _ stop: inout Int) {
        func put(_ value: UInt32) {
            text[stop] = UInt8(truncatingIfNeeded: value)
            stop &+= 1
        }
        switch scalar {
        case ..<0x80:
            put(scalar)
        case ..<0x800:
            put(0xc0 | scalar >> 6)
            put(0x80 | scalar & 0x3f)
        case ..<0x1_0000:
            put(0xe0 | scalar >> 12)
            put(0x80 | scalar >> 6 & 0x3f)
            put(0x80 | scalar & 0x3f)
        default:
            put(0xf0 | scalar >> 18)
            put(0x80 | scalar >> 12 & 0x3f)
            put(0x80 | scalar >> 6 & 0x3f)
            put(0x80 | scalar & 0x3f)
        }
    }
}

/// UTF-8 beyond ASCII (RFC 3629 §4): shortest forms, no surrogates, nothing above U+10FFFF.
enum UTF8Sequence {
    /// The index behind the sequence that starts at `index` with a byte of 0x80 or more; nil where it is none.
    static func end(_ text: borrowing MutableSpan<UInt8>, _ index: Int, _ end: Int) -> Int? {
        let count: Int
        var second: ClosedRange<UInt8> = 0x80...0xbf
        switch text[index] {
        case 0xc2...0xdf: count = 2
        case 0xe0: (count, second) = (3, 0xa0...0xbf)
        case 0xed: (count, second) = (3, 0x80...0x9f)
        case 0xe1...0xef: count = 3
        case 0xf0: (count, second) = (4, 0x90...0xbf)
        case 0xf1...0xf3: count = 4
        case 0xf4: (count, second) = (4, 0x80...0x8f)
        default: return nil
        }
        guard index &+ count <= end, second.contains(text[index &+ 1]) else { return nil }
        var offset = 2
        while offset < count {
            guard text[index &+ offset] & 0xc0 == 0x80 else { return nil }
            offset &+= 1
        }
        return index &+ count
    }
}
