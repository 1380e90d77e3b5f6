/// How much of a message head is read before it is refused.
public struct HeadLimits: Sendable, BitwiseCopyable {
    /// The largest head in bytes: request or status line, fields, and the empty line. Beyond: 431.
    public var headBytes: Int
    /// The most field lines. Beyond: 431. Counting lines and not only bytes bounds the work per head (rule F6).
    public var fieldCount: Int
    /// The largest request target in bytes, at most 65,535. Beyond: 414.
    public var targetBytes: Int

    /// Limits in bytes, lines and bytes; each must be positive.
    public init(headBytes: Int = 32_768, fieldCount: Int = 100, targetBytes: Int = 8_192) {
        precondition(headBytes > 0 && fieldCount > 0 && targetBytes > 0 && targetBytes <= 65_535)
        self.headBytes = headBytes
        self.fieldCount = fieldCount
        self.targetBytes = targetBytes
    }

    /// The longest method token. Registered ones have at most 17 bytes; RFC 9110 §9.1 wants 501 beyond.
    @inlinable public static var methodBytes: Int { 32 }
    /// The most options that `Connection` may name: each is compared with every field.
    @inlinable public static var connectionOptions: Int { 32 }
    /// The longest host name (RFC 1035 §2.3.4).
    @inlinable public static var hostBytes: Int { 255 }
    /// The most segments of a path: what a `CanonicalTarget` has room for.
    @inlinable public static var pathSegments: Int { 64 }
    /// The most empty lines before a request line that are skipped (RFC 9112 §2.2: at least one).
    @inlinable public static var leadingEmptyLines: Int { 2 }
    /// The longest chunk extensions of one chunk in bytes; they are read and dropped (RFC 9112 §7.1.1).
    @inlinable public static var chunkExtensionBytes: Int { 256 }
    /// The most bytes of chunk extensions in one body.
    @inlinable public static var chunkExtensionBytesPerBody: Int { 16_384 }
    /// The largest trailer section in bytes.
    @inlinable public static var trailerBytes: Int { 8_192 }
    /// The most lines of a trailer section.
    @inlinable public static var trailerCount: Int { 32 }
}
