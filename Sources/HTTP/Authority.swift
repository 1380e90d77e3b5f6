public import Bytes

/// Host and port of a Host field or of an absolute target, fit for routing (rule P5): no port, no trailing dot.
///
/// Compare the name without regard to case: `ASCII.equalsIgnoringCase(bytes.slice(authority.name), …)`.
public struct Authority: Sendable, BitwiseCopyable {
    /// The name without port and without one trailing dot; an IPv6 literal keeps its brackets.
    public let name: ByteRange
    /// The port, or -1 where none is given.
    public let port: Int32

    /// No host at all.
    public static var none: Authority { Authority(name: .empty, port: -1) }

    private init(name: ByteRange, port: Int32) {
        self.name = name
        self.port = port
    }

    /// The parts of `uri-host [ ":" [ port ] ]` (RFC 9110 §7.2), or nil where it is empty or holds what no host name
    /// does: user information, an empty label, anything but letters, digits, `-`, `_` and `.`.
    public static func parse(_ bytes: Span<UInt8>, _ range: ByteRange) -> Authority? {
        guard !range.isEmpty, Int(range.count) <= HeadLimits.hostBytes + ":65535".utf8.count else {
            return nil
        }
        let isLiteral = bytes[Int(range.start)] == 0x5B
        let nameEnd =
            isLiteral ? endOfLiteral(bytes, range) : endOfName(bytes, range)
        guard let nameEnd, let port = port(bytes, from: nameEnd, to: range.end) else { return nil }
        let hasDot = !isLiteral && bytes[nameEnd - 1] == 0x2E
        let name = ByteRange(from: Int(range.start), to: hasDot ? nameEnd - 1 : nameEnd)
        guard !name.isEmpty, Int(name.count) <= HeadLimits.hostBytes else { return nil }
        return Authority(name: name, port: port)
    }

    /// The end of the labels, at the colon or at the end; nil where a label is empty, but for one behind the last dot.
    private static func endOfName(_ bytes: Span<UInt8>, _ range: ByteRange) -> Int? {
        var index = Int(range.start)
        var labelStart = index
        while true {
            index = ASCII.endOfLettersAndHyphens(bytes, from: index, to: range.end)
            guard index < range.end, bytes[index] != 0x3A else { break }
            if bytes[index] == 0x2E {
                if index == labelStart { return nil }
                labelStart = index + 1
            } else if !isHostByte(bytes[index]) {
                return nil
            }
            index += 1
        }
        return index == Int(range.start) ? nil : index
    }

    /// Letters, digits, `-` and `_`. RFC 3986 allows more, but no name that resolves has them.
    private static func isHostByte(_ byte: UInt8) -> Bool {
        byte == 0x2D || byte == 0x5F || ASCIISet.alphanumeric.contains(byte)
    }

    /// The offset behind `]` of an IPv6 literal, or nil (RFC 3986 §3.2.2). Zones and future versions are refused.
    private static func endOfLiteral(_ bytes: Span<UInt8>, _ range: ByteRange) -> Int? {
        let close = ASCII.firstIndex(of: 0x5D, in: bytes, from: Int(range.start), to: range.end)
        guard close < range.end else { return nil }
        let address = ByteRange(from: Int(range.start) + 1, to: close)
        return IPv6Syntax.isValid(bytes, address) ? close + 1 : nil
    }

    /// The port behind the name, -1 for none or an empty one; nil where it is no port.
    private static func port(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Int32? {
        if start == end { return -1 }
        guard bytes[start] == 0x3A, end - start <= 6 else { return nil }
        if start + 1 == end { return -1 }
        var port: Int32 = 0
        for index in start + 1..<end {
            guard ASCII.isDigit(bytes[index]) else { return nil }
            port = port * 10 + Int32(bytes[index] - 0x30)
        }
        return port <= 65_535 ? port : nil
    }
}

/// The text form of an IPv6 address (RFC 4291 §2.2).
enum IPv6Syntax {
    /// True for eight groups of one to four hexadecimal digits, or fewer around one `::`; the last two groups may be
    /// an IPv4 address.
    static func isValid(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool {
        var groups = 0
        var isCompressed = false
        var index = Int(range.start)
        if range.count >= 2, bytes[index] == 0x3A, bytes[index + 1] == 0x3A {
            isCompressed = true
            index += 2
        }
        while index < range.end {
            let start = index
            while index < range.end, ASCII.hexadecimalValue(bytes[index]) != nil { index += 1 }
            if index < range.end, bytes[index] == 0x2E {
                guard isIPv4(bytes, ByteRange(from: start, to: range.end)) else { return false }
                groups += 2
                break
            }
            guard index > start, index - start <= 4 else { return false }
            groups += 1
            if index == range.end { break }
            guard bytes[index] == 0x3A, index + 1 < range.end else { return false }
            index += 1
            if bytes[index] == 0x3A {
                if isCompressed { return false }
                isCompressed = true
                index += 1
            }
        }
        return isCompressed ? groups <= 7 : groups == 8
    }

    private static func isIPv4(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool {
        var octets = 0
        var digits = 0
        var value = 0
        for index in range.bounds {
            if bytes[index] == 0x2E, digits > 0 {
                octets += 1
                (digits, value) = (0, 0)
            } else if ASCII.isDigit(bytes[index]), digits < 3 {
                value = value * 10 + Int(bytes[index] - 0x30)
                digits += 1
                if value > 255 { return false }
            } else {
                return false
            }
        }
        return octets == 3 && digits > 0
    }
}
