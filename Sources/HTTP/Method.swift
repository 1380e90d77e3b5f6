public import Bytes

/// A request method (RFC 9110 §9). Methods are case-sensitive: `get` is `other`.
public enum Method: UInt8, Sendable, BitwiseCopyable {
    case get, head, post, put, patch, delete, options, connect, trace
    /// Any other token; its text is in the head's `methodRange`.
    case other

    /// The method that these bytes name. Never fails: an unknown one is `other`.
    public init(_ bytes: Span<UInt8>, _ range: ByteRange) {
        guard range.count <= 8 else {
            self = .other
            return
        }
        self =
            switch ASCII.word(bytes, at: Int(range.start), count: Int(range.count)) {
            case 0x54_4547: .get
            case 0x4441_4548: .head
            case 0x5453_4F50: .post
            case 0x54_5550: .put
            case 0x48_4354_4150: .patch
            case 0x4554_454C_4544: .delete
            case 0x53_4E4F_4954_504F: .options
            case 0x54_4345_4E4E_4F43: .connect
            case 0x45_4341_5254: .trace
            default: .other
            }
    }

    /// True for methods that ask for no change (RFC 9110 §9.2.1). `other` is not safe.
    @inlinable
    public var isSafe: Bool {
        switch self {
        case .get, .head, .options, .trace: true
        default: false
        }
    }

    /// True for methods whose repetition changes nothing more (RFC 9110 §9.2.2). `other` is not idempotent.
    @inlinable
    public var isIdempotent: Bool { isSafe || self == .put || self == .delete }

    /// The method as it stands on the wire, empty for `other`.
    public var text: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .patch: "PATCH"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .connect: "CONNECT"
        case .trace: "TRACE"
        case .other: ""
        }
    }
}
