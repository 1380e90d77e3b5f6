public import Bytes
public import HTTP

/// What a session has received.
public enum HTTP2Event: BitwiseCopyable {
    /// The header section of a request is complete. Its text (`RequestSection`) is in the scratch.
    case request(slot: Int32, text: ByteRange, isWebSocket: Bool)
    /// A header section breaks a rule that has an answer of its own, such as 431; that to HEAD has no content.
    case refused(slot: Int32, fault: MessageFault, isHead: Bool)
    /// The head of a backend's answer is complete, as text of HTTP/1.1, in the scratch; 1xx too.
    case answer(slot: Int32, text: ByteRange)
    /// Content, as a range of the bytes that were received.
    case data(slot: Int32, range: ByteRange)
    /// Trailer lines, each with its CRLF, are in the scratch. `end` follows.
    case trailers(slot: Int32, text: ByteRange)
    /// The other side sends nothing more on the stream.
    case end(slot: Int32)
    /// The stream is over; its slot goes to another one when `free` is called.
    case closed(slot: Int32)
}

/// A DATA frame that is to be written: its nine bytes of header, then so many bytes of the stream's output.
public struct HTTP2DataFrame: BitwiseCopyable {
    /// The stream.
    public let slot: Int32
    /// The bytes of content.
    public let count: Int32
    /// The first eight bytes of the frame's header, the lowest first.
    public let header: UInt64
    /// The ninth.
    public let lastHeaderByte: UInt8
}

/// What sessions use while they work, the same for all that live on one thread: an idle session holds none of it.
public struct HTTP2Scratch: ~Copyable {
    /// What was received, in order.
    public internal(set) var events = GrowingArray<HTTP2Event>()
    /// The header sections of `events`.
    public internal(set) var text = ByteArray()
    /// DATA frames that are to be written before anything else.
    public internal(set) var dataFrames = GrowingArray<HTTP2DataFrame>()
    /// The header section that is being received.
    var section = FieldSection()
    /// The fields of the one that is being sent.
    let fields = FieldList()

    /// Scratch for any number of sessions.
    public init() {
        events.reserve(256)
        dataFrames.reserve(64)
    }

    /// The most that `text` may hold: what 128 requests with long tokens take, which came compressed in one read. Beyond
    /// it streams are refused, and may be tried again.
    static let textBytes = 1 << 20
    /// What `text` may keep between two uses, in bytes.
    private static let keptTextBytes = 262_144

    /// Forgets everything, when the events were taken in.
    public mutating func clear() {
        events.removeAll()
        if text.capacity > Self.keptTextBytes { text = ByteArray() } else { text.removeAll() }
    }

    /// Forgets the DATA frames, when they were written.
    public mutating func clearDataFrames() { dataFrames.removeAll() }
}
