internal import Bytes

/// The first bytes of a client that speaks HTTP/2 (RFC 9113 §3.4). No request of HTTP/1 begins so.
enum ConnectionPreface {
    enum Comparison {
        /// Bytes that it begins with, or none.
        case tooShort
        case equal
        case different
    }

    private static let text: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// Compares what has arrived with it.
    static func compare(_ bytes: Span<UInt8>) -> Comparison {
        var preface = InlineArray<24, UInt8>(repeating: 0)
        text.withUTF8Buffer { text in
            for index in 0..<24 { unsafe preface[index] = text[index] }
        }
        for index in 0..<min(24, bytes.count) where bytes[index] != preface[index] { return .different }
        return bytes.count < 24 ? .tooShort : .equal
    }
}
