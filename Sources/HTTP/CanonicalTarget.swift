public import Bytes

/// What comes of applying the path rules.
public enum TargetResult: Sendable, BitwiseCopyable {
    /// The target is canonical.
    case canonical(CanonicalTarget)
    /// The target breaks a rule; the request is refused.
    case refused(MessageFault)
}

/// A request target that means one thing only: the bytes that routes match are the bytes that go upstream.
///
/// Only `parse` makes one, so whatever takes a `CanonicalTarget` knows that the path rules P1 to P5 hold. Ranges are
/// offsets in the bytes of the request head.
public struct CanonicalTarget: Sendable, BitwiseCopyable {
    /// The form in which the target came. `asterisk` also for OPTIONS of an absolute target without a path.
    public let form: TargetForm
    /// The path, from its first `/`; empty for `*`, and where an absolute target has none, which means `/`.
    public let path: ByteRange
    /// The query without its `?`.
    public let query: ByteRange
    /// True where there is a `?`.
    public let hasQuery: Bool
    /// True where the path ends with `/` behind a segment: `/a/`, not `/`.
    public let hasTrailingSlash: Bool
    /// How many segments the path has; empty ones are refused, so `/a/` has one and `/` none.
    public let segmentCount: Int
    private let segmentEnds: InlineArray<64, UInt16>

    /// The range of a segment, without slashes; `index` must be below `segmentCount`.
    public func segment(_ index: Int) -> ByteRange { .empty }

    /// Path and query as they go upstream, without a `/` that an empty path stands for.
    public var pathAndQuery: ByteRange { .empty }

    /// Applies the path rules to the target of a request that was parsed out of `bytes`.
    public static func parse(_ bytes: Span<UInt8>, _ head: borrowing RequestHead) -> TargetResult {
        .refused(.badTarget)
    }
}
