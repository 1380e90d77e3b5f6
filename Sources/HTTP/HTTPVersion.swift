/// The version of a message (RFC 9110 §2.5). Any other is refused with 505.
public enum HTTPVersion: UInt8, Sendable, BitwiseCopyable {
    case http10, http11, http2
}
