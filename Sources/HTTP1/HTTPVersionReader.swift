import Bytes
import HTTP

/// Reads `HTTP-version` (RFC 9112 §2.3) and sees that the right byte follows.
enum HTTPVersionReader {
    enum Step {
        case version(HTTPVersion)
        case incomplete
        case fault(MessageFault)

        /// The step as a result; not for `version`.
        var result: HeadParseResult {
            switch self {
            case .version, .incomplete: .incomplete
            case .fault(let fault): .refused(fault)
            }
        }
    }

    /// The version at `offset`, eight bytes, and behind it `follower`.
    @inline(__always)
    static func read(_ bytes: Span<UInt8>, at offset: Int, followedBy follower: UInt8) -> Step {
        guard offset + 8 < bytes.count else { return partial(bytes, offset) }
        // "HTTP/1.1" and "HTTP/1.0", the first byte lowest.
        switch ASCII.word(bytes, at: offset) {
        case 0x312E_312F_5054_5448 where bytes[offset + 8] == follower: return .version(.http11)
        case 0x302E_312F_5054_5448 where bytes[offset + 8] == follower: return .version(.http10)
        default: return .fault(fault(bytes, offset, follower))
        }
    }

    /// A version that has not wholly come yet: a byte that cannot be part of it is a fault already.
    private static func partial(_ bytes: Span<UInt8>, _ offset: Int) -> Step {
        for index in offset..<max(offset, bytes.count) where !matches(bytes[index], index - offset) {
            return .fault(bytes[index] == 0x0A ? .bareLineFeed : .badVersion)
        }
        return .incomplete
    }

    /// Whether a byte can stand at a place of `HTTP/1.1`, with any digits.
    private static func matches(_ byte: UInt8, _ place: Int) -> Bool {
        switch place {
        case 0: byte == 0x48
        case 1, 2: byte == 0x54
        case 3: byte == 0x50
        case 4: byte == 0x2F
        case 6: byte == 0x2E
        default: ASCII.isDigit(byte)
        }
    }

    private static func fault(_ bytes: Span<UInt8>, _ offset: Int, _ follower: UInt8) -> MessageFault {
        for place in 0..<8 where !matches(bytes[offset + place], place) {
            return bytes[offset + place] == 0x0A ? .bareLineFeed : .badVersion
        }
        let next = bytes[offset + 8]
        if next == 0x0A { return .bareLineFeed }
        return next == follower ? .versionNotSupported : .badVersion
    }
}
