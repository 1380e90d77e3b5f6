import Bytes
public import HTTP

/// Reads request heads (RFC 9112 §2, §3, §5), strictly. One for each connection: it remembers how far the bytes of an
/// incomplete head were searched, so that bytes that trickle in are not searched again.
public struct RequestHeadParser: Sendable, BitwiseCopyable {
    /// How many bytes of an incomplete head were searched for its end.
    public private(set) var scanned = 0

    /// A parser at the start of a head.
    public init() {}

    /// Reads the head at the start of `bytes` into `head`, whose former content is forgotten.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: HeadLimits
    ) -> HeadParseResult {
        .incomplete
    }
}
