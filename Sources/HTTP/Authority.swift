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
    @inlinable public static var none: Authority { Authority(name: .empty, port: -1) }

    @usableFromInline
    init(name: ByteRange, port: Int32) {
        self.name = name
        self.port = port
    }

    /// The parts of `uri-host [ ":" [ port ] ]` (RFC 9110 §7.2), or nil where it is empty or holds what no host name
    /// does: user information, an empty label, anything but letters, digits, `-`, `_` and `.`.
    public static func parse(_ bytes: Span<UInt8>, _ range: ByteRange) -> Authority? {
        nil
    }
}
