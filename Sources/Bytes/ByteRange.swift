/// A stretch of bytes inside some buffer: what a parser remembers instead of a copy.
///
/// Offsets are relative to the start of the span that was parsed, in bytes. A range says nothing about which
/// buffer it belongs to: the owner of both keeps them together.
public struct ByteRange: Equatable, Sendable, BitwiseCopyable {
    /// The offset of the first byte.
    public var start: Int32
    /// The number of bytes, 0 or more.
    public var count: Int32

    /// The range of `count` bytes from `start`.
    @inlinable
    public init(start: Int, count: Int) {
        self.start = Int32(truncatingIfNeeded: start)
        self.count = Int32(truncatingIfNeeded: count)
    }

    /// The bytes from `start` up to, not including, `end`.
    @inlinable
    public init(from start: Int, to end: Int) {
        self.init(start: start, count: end - start)
    }

    /// No bytes at all.
    @inlinable
    public static var empty: ByteRange { ByteRange(start: 0, count: 0) }

    /// True where there is no byte in the range.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// The offset behind the last byte.
    @inlinable
    public var end: Int { Int(start) + Int(count) }

    /// A range that counts from the start of `outer`, as one of what `outer` is a range of.
    @inlinable
    public func within(_ outer: ByteRange) -> ByteRange {
        ByteRange(start: Int(outer.start) + Int(start), count: Int(count))
    }

    /// The range as Swift's own, for subscripts.
    @inlinable
    public var bounds: Range<Int> { Int(start)..<end }
}
