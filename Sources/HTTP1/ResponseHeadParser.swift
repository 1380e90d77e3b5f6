import Bytes
public import HTTP

/// Reads response heads (RFC 9112 §2, §4, §5), strictly. One for each upstream connection, as `RequestHeadParser`.
public struct ResponseHeadParser: Sendable, BitwiseCopyable {
    /// How many bytes of an incomplete head were searched for its end.
    public private(set) var scanned = 0

    /// A parser at the start of a head.
    public init() {}

    /// Reads the head at the start of `bytes` into `head`; `requestMethod` decides on the body.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout ResponseHead, requestMethod: Method, limits: HeadLimits
    ) -> HeadParseResult {
        .incomplete
    }
}
