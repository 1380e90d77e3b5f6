internal import Bytes

/// Reads the header of the PROXY protocol, versions 1 and 2, by which a proxy of connections says whose connection
/// this is (haproxy.org, proxy-protocol.txt). The caller believes it of trusted peers alone.
public enum ProxyHeader {
    /// What the first bytes of a connection are.
    public enum Reading: Equatable, Sendable {
        /// The start of a header, so far.
        case incomplete
        /// A whole header of so many bytes. The source is nil where the proxy speaks for itself, or does not know:
        /// then the connection's own address holds.
        case header(byteCount: Int, source: IPAddress?)
        /// No header, or a broken one: the connection closes.
        case malformed
    }

    /// The largest header, in bytes. Version 1 has 107 at most; version 2 may carry further information, such as
    /// certificates, which a listener without use for it need not take in any size.
    public static let maximumByteCount = 4096
    private static let maximumLineByteCount = 107

    /// Reads the bytes from the start of a connection. Call again with more of them after `incomplete`.
    public static func read(_ bytes: Span<UInt8>) -> Reading {
        guard let first = bytes.count > 0 ? bytes[0] : nil else { return .incomplete }
        return first == signature[0] ? readBinary(bytes) : readLine(bytes)
    }

    // MARK: Version 1

    private static func readLine(_ bytes: Span<UInt8>) -> Reading {
        let opening: StaticString = "PROXY "
        guard starts(bytes, with: opening) else { return .malformed }
        let end = ASCII.firstIndex(
            of: 0x0D, in: bytes, from: 0, to: min(bytes.count, maximumLineByteCount - 1))
        guard end < maximumLineByteCount - 1 else { return .malformed }
        guard end + 1 < bytes.count else { return .incomplete }
        guard bytes[end] == 0x0D, bytes[end + 1] == 0x0A, end > opening.utf8CodeUnitCount else {
            return .malformed
        }
        return line(bytes.extracting(opening.utf8CodeUnitCount..<end), byteCount: end + 2)
    }

    /// `UNKNOWN` and anything, or protocol, two addresses and two ports, one space between each.
    private static func line(_ text: Span<UInt8>, byteCount: Int) -> Reading {
        var start = 0
        let family = word(text, &start)
        if ASCII.equals(family, "UNKNOWN") { return .header(byteCount: byteCount, source: nil) }
        let isV4 = ASCII.equals(family, "TCP4")
        guard isV4 || ASCII.equals(family, "TCP6") else { return .malformed }
        guard let source = address(word(text, &start), isV4), address(word(text, &start), isV4) != nil,
            isPort(word(text, &start)), isPort(word(text, &start)), start == text.count + 1, !source.isNone
        else { return .malformed }
        return .header(byteCount: byteCount, source: source)
    }

    /// The next word, and `start` behind the space that ends it, or one behind the end.
    @_lifetime(copy text)
    private static func word(_ text: Span<UInt8>, _ start: inout Int) -> Span<UInt8> {
        guard start <= text.count else { return Span() }
        let end = ASCII.firstIndex(of: ASCII.space, in: text, from: start, to: text.count)
        defer { start = end + 1 }
        return text.extracting(start..<end)
    }

    private static func address(_ text: Span<UInt8>, _ isV4: Bool) -> IPAddress? {
        guard isV4 else {
            return ASCII.firstIndex(of: 0x3A, in: text, from: 0, to: text.count) < text.count
                ? AddressReader.read(text) : nil
        }
        return AddressReader.dotted(text).map { IPAddress(v4: $0) }
    }

    /// 0 to 65535 in decimal digits without leading zeros.
    private static func isPort(_ text: Span<UInt8>) -> Bool {
        guard (1...5).contains(text.count), text.count == 1 || text[0] != 0x30 else { return false }
        var value = 0
        for index in text.indices {
            guard ASCII.isDigit(text[index]) else { return false }
            value = value * 10 + Int(text[index] - 0x30)
        }
        return value <= 65_535
    }

    private static func starts(_ bytes: Span<UInt8>, with text: StaticString) -> Bool {
        let count = min(bytes.count, text.utf8CodeUnitCount)
        for index in 0..<count where bytes[index] != byte(index) { return false }
        return true
    }

    private static func byte(_ index: Int) -> UInt8 {
        let opening: InlineArray<6, UInt8> = [0x50, 0x52, 0x4F, 0x58, 0x59, 0x20]
        return opening[index]
    }

    // MARK: Version 2

    private static let signature: InlineArray<12, UInt8> = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let fixedByteCount = 16

    /// Signature, version and command, family and transport, length, addresses, and what may follow them.
    private static func readBinary(_ bytes: Span<UInt8>) -> Reading {
        for index in 0..<min(bytes.count, 12) where bytes[index] != signature[index] { return .malformed }
        guard bytes.count > 12 else { return .incomplete }
        guard bytes[12] == 0x20 || bytes[12] == 0x21 else { return .malformed }
        guard bytes.count >= fixedByteCount else { return .incomplete }
        let length = Int(bytes[14]) << 8 | Int(bytes[15])
        guard fixedByteCount + length <= maximumByteCount else { return .malformed }
        guard bytes.count >= fixedByteCount + length else { return .incomplete }
        let isLocal = bytes[12] == 0x20
        let block = bytes.extracting(fixedByteCount..<fixedByteCount + length)
        return binary(block, family: bytes[13], isLocal: isLocal, byteCount: fixedByteCount + length)
    }

    private static func binary(
        _ block: Span<UInt8>, family: UInt8, isLocal: Bool, byteCount: Int
    ) -> Reading {
        // A proxy that speaks for itself, as for its health checks, need not say more.
        if isLocal { return .header(byteCount: byteCount, source: nil) }
        switch family {
        case 0x00:
            return .header(byteCount: byteCount, source: nil)
        case 0x11 where block.count >= 12:
            return .header(
                byteCount: byteCount, source: IPAddress(v4: UInt32(truncatingIfNeeded: number(block, 0..<4))))
        case 0x21 where block.count >= 36:
            let source = IPAddress(high: number(block, 0..<8), low: number(block, 8..<16))
            return source.isNone ? .malformed : .header(byteCount: byteCount, source: source)
        case 0x31 where block.count >= 216:
            return .header(byteCount: byteCount, source: nil)
        default:
            // Datagrams have no business on a stream.
            return .malformed
        }
    }

    private static func number(_ block: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        var value: UInt64 = 0
        for index in range { value = value << 8 | UInt64(block[index]) }
        return value
    }
}
