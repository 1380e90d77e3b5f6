public import Bytes

/// Where the frames of a WebSocket stream begin and end (RFC 6455 §5.2), so that the proxy can put a frame of its own
/// between two of them. Reads headers alone: nothing of a payload is looked at or kept.
public struct WebSocketFrames: Sendable, BitwiseCopyable {
    /// Payload bytes of the current frame that are still to come.
    private var remaining: UInt64 = 0
    /// What the header says of the payload's length, as far as it is read.
    private var length: UInt64 = 0
    /// Bytes of the current header that were read, and how many it has.
    private var headerBytes: UInt8 = 0
    private var headerSize: UInt8 = 2
    private var extendedBytes: UInt8 = 0
    /// True from the first byte of a Close frame on: nothing may follow it (RFC 6455 §5.5.1).
    public private(set) var hasClosed = false

    /// The start of a stream.
    public init() {}

    /// True where a frame may be inserted: the last one is complete, and the next has not begun.
    public var isAtBoundary: Bool { remaining == 0 && headerBytes == 0 }

    /// Follows the stream over these bytes; the number of bytes that were followed: all of them, or with `stopping`
    /// those up to the first boundary behind at least one byte.
    public mutating func advance(over bytes: Span<UInt8>, stopping: Bool = false) -> Int {
        var offset = 0
        while offset < bytes.count {
            if remaining > 0 {
                let step = min(remaining, UInt64(bytes.count - offset))
                remaining -= step
                offset += Int(step)
            } else {
                readHeader(bytes[offset])
                offset += 1
            }
            if stopping, isAtBoundary { return offset }
        }
        return offset
    }

    private mutating func readHeader(_ byte: UInt8) {
        switch headerBytes {
        case 0:
            if byte & 0x0F == Self.closeOpcode { hasClosed = true }
        case 1:
            let short = byte & 0x7F
            extendedBytes = short == 126 ? 2 : short == 127 ? 8 : 0
            length = extendedBytes == 0 ? UInt64(short) : 0
            headerSize = 2 + extendedBytes + (byte & 0x80 == 0 ? 0 : 4)
        default:
            // What follows the extended length is the mask.
            if headerBytes < 2 + extendedBytes { length = length << 8 | UInt64(byte) }
        }
        headerBytes += 1
        if headerBytes == headerSize, headerBytes > 1 {
            remaining = length
            (headerBytes, headerSize) = (0, 2)
        }
    }

    private static let closeOpcode: UInt8 = 8
}

/// Why a server ends a WebSocket connection (RFC 6455 §7.4.1).
public enum WebSocketCloseCode: UInt16, Sendable {
    /// The server goes away.
    case goingAway = 1001
    /// A rule forbids to go on.
    case policyViolation = 1008
}

extension Buffer {
    /// An unmasked Close frame with that code and reason, of at most 123 bytes (RFC 6455 §5.5.1). False where it does
    /// not fit, with nothing written.
    public mutating func appendWebSocketClose(_ code: WebSocketCloseCode, reason: StaticString) -> Bool {
        let size = 2 + reason.utf8CodeUnitCount
        precondition(size <= 125, "a control frame has a short payload")
        guard room >= 2 + size else { return false }
        return append(0x88) && append(UInt8(size)) && append(UInt8(code.rawValue >> 8))
            && append(UInt8(truncatingIfNeeded: code.rawValue)) && append(reason)
    }
}
