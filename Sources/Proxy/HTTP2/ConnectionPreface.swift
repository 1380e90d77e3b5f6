internal import Bytes

/// The first bytes of a client that speaks HTTP/2 (RFC 9113 §3.4). No request of HTTP/1 begins so.
enum ConnectionPreface {
    enum Comparison {
        /// Bytes that it begins with, or none.
        case tooShort
        case equal
        case different
    }

    /// How long it is.
    static var byteCount: Int { 24 }

    /// Compares what has arrived with it.
    static func compare(_ bytes: Span<UInt8>) -> Comparison {
        // "PRI * HTTP/2.0", two line ends, "SM", two line ends.
        let preface: InlineArray<24, UInt8> = [
            0x50, 0x52, 0x49, 0x20, 0x2A, 0x20, 0x48, 0x54, 0x54, 0x50, 0x2F, 0x32,
            0x2E, 0x30, 0x0D, 0x0A, 0x0D, 0x0A, 0x53, 0x4D, 0x0D, 0x0A, 0x0D, 0x0A,
        ]
        for index in 0..<min(byteCount, bytes.count) where bytes[index] != preface[index] {
            return .different
        }
        return bytes.count < byteCount ? .tooShort : .equal
    }
}
