public import HTTP

/// What one HTTP/2 connection may cost.
public struct HTTP2Limits: Sendable {
    /// Limits of a request's header section, the same as for HTTP/1: bytes, fields (each cookie crumb is one, rule F6)
    /// and the target.
    public var head: HeadLimits
    /// Streams that may be open at once. RFC 9113 §6.5.2 recommends no fewer than 100; more only let one connection
    /// hold more memory.
    public var streamCount: Int
    /// How much of all request bodies together a connection may have sent that no backend has taken, in bytes. One
    /// stream may have `streamWindowBytes` of it, so that several slow uploads do not stop the others.
    public var connectionWindowBytes: Int

    /// The most of one stream's body that may wait, in bytes: the initial window of RFC 9113 §6.9.2.
    @inlinable public static var streamWindowBytes: Int { 65_535 }
    /// The most of an upload that has moved on before, in bytes: the largest block of a `BlockPool` holds it.
    public static var wideWindowBytes: Int { 4 * streamWindowBytes }
    /// How many streams of a connection have such a window at once. What is wider than others' is added to the connection's
    /// window, so that these do not stop them either.
    static var wideStreamCount: Int { 4 }
    /// The window of a client's connection, in bytes.
    public static var clientWindowBytes: Int {
        (1 << 20) + wideStreamCount * (wideWindowBytes - streamWindowBytes)
    }
    /// The largest header section that is taken, in bytes: with a whole stream window behind it, it must fit into the
    /// largest block of a `BlockPool`.
    @inlinable public static var headBytes: Int { 196_608 }

    /// The most frames, beside DATA, that may wait for another side that does not read. Honest are the head, the trailers and
    /// the end of each stream, its window, and 64 KiB of interim heads, each at least 20 bytes; one takes some 200 bytes.
    var queuedFrames: Int { 4 * streamCount + HTTP2Session.interimLimitBytes / 16 }

    /// Limits for heads like these, 128 streams and a window of 1 MiB, and of 768 KiB more for wide streams.
    public init(head: HeadLimits, streamCount: Int = 128, connectionWindowBytes: Int = Self.clientWindowBytes)
    {
        self.head = head
        self.head.headBytes = min(head.headBytes, Self.headBytes)
        self.streamCount = streamCount
        self.connectionWindowBytes = connectionWindowBytes
    }
}

/// Which side of a connection a session is.
public enum HTTP2Role: Sendable {
    /// Requests come in.
    case server
    /// Requests go out.
    case client
}

/// Error codes of RFC 9113 §7.
public enum HTTP2ErrorCode: UInt32, Sendable {
    case noError = 0
    case protocolError = 1
    case internalError = 2
    case flowControlError = 3
    case refusedStream = 7
    case cancel = 8
    case enhanceYourCalm = 11
}
