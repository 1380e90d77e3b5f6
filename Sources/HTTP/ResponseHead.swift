public import Bytes

/// The head of a response: ranges of the bytes that were parsed, and what the message rules make of them.
///
/// Used again for response after response, as `RequestHead` is.
public struct ResponseHead: ~Copyable {
    /// The status, 100 to 599.
    public internal(set) var status: UInt16 = 0
    /// The version of the response.
    public internal(set) var version: HTTPVersion = .http11
    /// The reason phrase, maybe empty.
    public internal(set) var reason: ByteRange = .empty
    /// The field lines in order.
    public internal(set) var fields: FieldTable
    /// How the end of the body is known, the request's method considered.
    public internal(set) var framing: BodyFraming = .none
    /// The value of Content-Length, also where no body follows (HEAD, 304).
    public internal(set) var contentLength: UInt64?
    /// True where the connection may be used again after this response (RFC 9112 §9.3).
    public internal(set) var isPersistent = true
    /// The size of the head in bytes; the body starts there.
    public internal(set) var byteCount = 0
    /// The index of the Upgrade line, or -1.
    public internal(set) var upgradeIndex: Int32 = -1
    /// True where a 101 says that WebSocket follows (RFC 6455 §4.2.2): in both Connection and Upgrade.
    public internal(set) var switchesToWebSocket = false

    /// True for 1xx but 101: another response follows.
    public var isInformational: Bool { status < 200 && status != 101 }
    /// True for 101 (Switching Protocols): what follows is no longer HTTP.
    public var isUpgrade: Bool { status == 101 }

    /// Scratch for heads of at most `fieldCapacity` lines.
    public init(fieldCapacity: Int) {
        fields = FieldTable(capacity: fieldCapacity)
    }

    private let inPlace = InPlace()
    private var framingFields = FramingFields()
    private var connection = ConnectionOptions()
    /// True where `Connection` names fields that must not be passed on, in a trailer section neither (RFC 9110 §7.6.1).
    public private(set) var dropsTrailers = false

    /// Forgets the response.
    public mutating func reset() {
        fields.removeAll()
        framingFields = FramingFields()
        connection = ConnectionOptions()
        dropsTrailers = false
        upgradeIndex = -1
        switchesToWebSocket = false
    }

    /// Takes the status line, the first thing of a response: forgets the one before. A status outside 100 to 599 is a
    /// fault (RFC 9110 §15).
    public mutating func begin(status: UInt16, reason: ByteRange, version: HTTPVersion) -> MessageFault? {
        reset()
        self.status = status
        self.reason = reason
        self.version = version
        return status >= 100 && status <= 599 ? nil : .badStatus
    }

    /// Takes one field line whose syntax has been checked; nil, or what is wrong with it.
    public mutating func add(
        _ bytes: Span<UInt8>, name: ByteRange, value: ByteRange, line: ByteRange
    ) -> MessageFault? {
        add(bytes, FieldLine(bytes, name: name, value: value, line: line))
    }

    /// As above, of a line whose name was looked up.
    public mutating func add(_ bytes: Span<UInt8>, _ field: FieldLine) -> MessageFault? {
        let index = Int32(truncatingIfNeeded: fields.count)
        guard fields.append(field) else { return .tooManyFields }
        switch field.name {
        case .contentLength: return framingFields.addContentLength(bytes, field.valueRange)
        case .transferEncoding: return framingFields.addTransferEncoding(bytes, field.valueRange)
        case .connection: return connection.add(bytes, field.valueRange)
        case .upgrade: if upgradeIndex < 0 { upgradeIndex = index }
        default: break
        }
        return nil
    }

    /// Draws the conclusions, when all lines are there: framing, persistence, nominations.
    public mutating func finish(
        _ bytes: Span<UInt8>, requestMethod: Method, byteCount: Int
    ) -> MessageFault? {
        self.byteCount = byteCount
        contentLength = framingFields.contentLength
        if let fault = framingFields.fault(version) ?? bodyFault { return fault }
        framing = hasNoBody(requestMethod) ? .none : framingFields.framing(silent: .untilClose)
        isPersistent = connection.isPersistent(version) && framing != .untilClose && !isUpgrade
        switchesToWebSocket =
            isUpgrade && version == .http11 && connection.upgrade && upgradeIndex >= 0
            && UpgradeField.isWebSocket(bytes, fields[Int(upgradeIndex)].valueRange)
        connection.markNominated(bytes, &fields)
        dropsTrailers = connection.nominatesMore
        return nil
    }

    /// RFC 9112 §6.3: no body whatever the fields say.
    private func hasNoBody(_ requestMethod: Method) -> Bool {
        requestMethod == .head || status < 200 || status == 204 || status == 304
    }

    /// RFC 9112 §6.1 and RFC 9110 §8.6: 1xx and 204 announce no body. One that does may send it, and it would be read
    /// as the next response.
    private var bodyFault: MessageFault? {
        guard status < 200 || status == 204 else { return nil }
        return framingFields.isEncoded || (contentLength ?? 0) > 0 ? .bodyNotAllowed : nil
    }
}
