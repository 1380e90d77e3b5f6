public import Bytes

/// The form of a request target (RFC 9112 §3.2).
public enum TargetForm: UInt8, Sendable, BitwiseCopyable {
    /// `/path?query`
    case origin
    /// `http://authority/path?query`
    case absolute
    /// `*`, of OPTIONS alone
    case asterisk
}

/// The head of a request: ranges of the bytes that were parsed, and what the message rules make of them.
///
/// One value is used again for request after request (`reset`). The parser of either version calls `begin`, `add` for
/// each field and `finish`; from then on it is read-only. All ranges are offsets in the span that was parsed.
public struct RequestHead: ~Copyable {
    /// The method; its text is in `methodRange`.
    public internal(set) var method: Method = .other
    /// The version of the request.
    public internal(set) var version: HTTPVersion = .http11
    /// The method's text.
    public internal(set) var methodRange: ByteRange = .empty
    /// The target as it came.
    public internal(set) var target: ByteRange = .empty
    /// The form of the target.
    public internal(set) var targetForm: TargetForm = .origin
    /// The path of the target; empty where an absolute target has none, which means `/`.
    public internal(set) var path: ByteRange = .empty
    /// The query without its `?`.
    public internal(set) var query: ByteRange = .empty
    /// True where the target has a `?`, though the query may be empty.
    public internal(set) var hasQuery = false
    /// The authority of an absolute target, with its port; else empty.
    public internal(set) var targetAuthority: ByteRange = .empty
    /// What the Host of the forwarded request is: the absolute target's authority (RFC 9112 §3.2.2), else the value of
    /// Host; empty only for HTTP/1.0 without one.
    public internal(set) var host: ByteRange = .empty
    /// The parts of `host`, for routing.
    public internal(set) var authority: Authority = .none
    /// The field lines in order.
    public internal(set) var fields: FieldTable
    /// How the end of the body is known; `untilClose` for HTTP/2 alone, where the stream's end is the body's.
    public internal(set) var framing: BodyFraming = .none
    /// True where the connection may be used again after this request (RFC 9112 §9.3).
    public internal(set) var isPersistent = true
    /// True where the client waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1).
    public internal(set) var expectsContinue = false
    /// True for HTTP/1.1 with `Connection: upgrade` and an Upgrade field (RFC 9110 §7.8).
    public internal(set) var wantsUpgrade = false
    /// True where that is a WebSocket handshake (RFC 6455 §4.1): GET, without a body, for `websocket` among others.
    public internal(set) var wantsWebSocket = false
    /// True where the client accepts trailers: `TE: trailers`.
    public internal(set) var acceptsTrailers = false
    /// The size of the head in bytes, empty lines before it included; the body starts there.
    public internal(set) var byteCount = 0
    /// The index of the first Authorization line, or -1.
    public internal(set) var authorizationIndex: Int32 = -1
    /// How many Authorization lines there are (rule H7: more than one are refused).
    public internal(set) var authorizationCount: Int32 = 0
    /// The index of the first Cookie line, or -1.
    public internal(set) var cookieIndex: Int32 = -1
    /// How many Cookie lines there are.
    public internal(set) var cookieCount: Int32 = 0
    /// The index of the Upgrade line, or -1.
    public internal(set) var upgradeIndex: Int32 = -1
    /// The index of the Origin line, or -1.
    public internal(set) var originIndex: Int32 = -1
    /// The index of the first X-Request-Id line, or -1.
    public internal(set) var requestIDIndex: Int32 = -1

    /// Scratch for heads of at most `fieldCapacity` lines.
    public init(fieldCapacity: Int) {
        fields = FieldTable(capacity: fieldCapacity)
    }

    private let inPlace = InPlace()
    private var framingFields = FramingFields()
    private var connection = ConnectionOptions()
    /// True where `Connection` names fields that must not be passed on, in a trailer section neither (RFC 9110 §7.6.1).
    public private(set) var dropsTrailers = false
    private var hostLine: ByteRange = .empty
    private var hasExpectation = false
    /// One bit for each name with `singleton` that came.
    private var singletons: (low: UInt64, high: UInt64) = (0, 0)

    /// Forgets the request.
    public mutating func reset() {
        fields.removeAll()
        // Scratch serves one client after another: an answer must not follow somebody else's method (no body for HEAD).
        (method, version, methodRange, path, isPersistent) = (.other, .http11, .empty, .empty, true)
        (framing, byteCount) = (.none, 0)
        (targetForm, hasQuery) = (.origin, false)
        (targetAuthority, host, authority, hostLine) = (.empty, .empty, .none, .empty)
        (expectsContinue, wantsUpgrade, acceptsTrailers, hasExpectation) = (false, false, false, false)
        wantsWebSocket = false
        (authorizationIndex, authorizationCount, cookieIndex, cookieCount) = (-1, 0, -1, 0)
        (upgradeIndex, originIndex, requestIDIndex) = (-1, -1, -1)
        framingFields = FramingFields()
        connection = ConnectionOptions()
        dropsTrailers = false
        singletons = (0, 0)
    }

    /// Takes the request line, the first thing of a request: forgets the one before. `target` must hold visible ASCII
    /// only. Faults: CONNECT and TRACE (rule P8), methods that are not in upper case, targets of another form than the
    /// method has (RFC 9112 §3.2).
    public mutating func begin(
        _ bytes: Span<UInt8>, method: ByteRange, target: ByteRange, version: HTTPVersion
    ) -> MessageFault? {
        reset()
        methodRange = method
        self.target = target
        self.version = version
        self.method = Method(bytes, method)
        if self.method == .connect || self.method == .trace { return .methodNotAllowed }
        // A route for GET does not serve `get`, and a backend may (Django, Werkzeug): no method is written so.
        if self.method == .other, hasLowerCase(bytes.slice(method)) { return .badMethod }
        guard let parts = TargetParts(bytes, target) else { return .badTarget }
        if parts.form == .asterisk, self.method != .options { return .badTarget }
        targetForm = parts.form
        targetAuthority = parts.authority
        path = parts.path
        query = parts.query
        hasQuery = parts.hasQuery
        return nil
    }

    private func hasLowerCase(_ text: Span<UInt8>) -> Bool {
        for index in text.indices where text[index] >= 0x61 && text[index] <= 0x7A { return true }
        return false
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
        if field.flags.contains(.singleton), let fault = noteSingleton(field.name) { return fault }
        return note(field, index, bytes)
    }

    /// What one line says that the head as a whole must know.
    @inline(__always)
    private mutating func note(_ field: FieldLine, _ index: Int32, _ bytes: Span<UInt8>) -> MessageFault? {
        switch field.name {
        case .other: return nil
        case .host: hostLine = field.valueRange
        case .contentLength: return framingFields.addContentLength(bytes, field.valueRange)
        case .transferEncoding: return framingFields.addTransferEncoding(bytes, field.valueRange)
        case .connection: return connection.add(bytes, field.valueRange)
        case .te: noteTE(bytes, field.valueRange)
        case .upgrade: if upgradeIndex < 0 { upgradeIndex = index }
        case .origin: originIndex = index
        case .xRequestID: if requestIDIndex < 0 { requestIDIndex = index }
        case .authorization:
            authorizationIndex = index
            authorizationCount += 1
        case .cookie:
            if cookieIndex < 0 { cookieIndex = index }
            cookieCount += 1
        case .expect:
            guard ASCII.equalsIgnoringCase(bytes.slice(field.valueRange), "100-continue") else {
                return .expectationFailed
            }
            hasExpectation = true
        default: return nil
        }
        return nil
    }

    /// Rule H7: what decides something has one value. Aliases do not count: they are never read.
    private mutating func noteSingleton(_ name: FieldName) -> MessageFault? {
        guard name != .other else { return nil }
        let bit: UInt64 = 1 << UInt64(name.rawValue & 63)
        let isSecond = (name.rawValue < 64 ? singletons.low : singletons.high) & bit != 0
        if name.rawValue < 64 { singletons.low |= bit } else { singletons.high |= bit }
        guard isSecond else { return nil }
        return switch name {
        case .host: .severalHosts
        case .contentLength: .severalContentLengths
        case .expect: .expectationFailed
        default: .severalValues
        }
    }

    private mutating func noteTE(_ bytes: Span<UInt8>, _ value: ByteRange) {
        var elements = ListElements(value)
        while let coding = elements.next(bytes) {
            if ASCII.equalsIgnoringCase(bytes.slice(coding), "trailers") { acceptsTrailers = true }
        }
    }

    /// Draws the conclusions, when all lines are there: host, framing, persistence, nominations.
    ///
    /// - Parameters:
    ///   - silent: how the body ends where no field says so; HTTP/2 has frames for that.
    ///   - isWebSocket: the head stands for an extended CONNECT of HTTP/2, which is a handshake (RFC 8441 §5).
    public mutating func finish(
        _ bytes: Span<UInt8>, byteCount: Int, silent: BodyFraming = .none, isWebSocket: Bool = false
    ) -> MessageFault? {
        self.byteCount = byteCount
        if let fault = settleHost(bytes) ?? framingFields.fault(version) { return fault }
        framing = framingFields.framing(silent: silent)
        isPersistent = connection.isPersistent(version)
        // HTTP/1.0 has neither (RFC 9110 §10.1.1, §7.8); without content there is nothing to wait for.
        expectsContinue = hasExpectation && version != .http10 && framing != .none && framing != .length(0)
        wantsUpgrade = connection.upgrade && upgradeIndex >= 0 && version == .http11
        wantsWebSocket =
            wantsUpgrade && method == .get && (framing == .none || framing == .length(0))
            && UpgradeField.offersWebSocket(bytes, fields[Int(upgradeIndex)].valueRange)
        if isWebSocket {
            // CONNECT has no content (RFC 9110 §9.3.6): behind a handshake the backend would read it as the next request.
            guard (framingFields.contentLength ?? 0) == 0 else { return .bodyNotAllowed }
            (wantsUpgrade, wantsWebSocket) = (true, true)
        }
        connection.markNominated(bytes, &fields)
        dropsTrailers = connection.nominatesMore
        return nil
    }

    /// RFC 9112 §3.2: HTTP/1.1 has exactly one Host, and an absolute target's authority replaces it (rule P3).
    private mutating func settleHost(_ bytes: Span<UInt8>) -> MessageFault? {
        let hasHost = singletons.low & (1 << UInt64(FieldName.host.rawValue)) != 0
        if hasHost {
            guard let parsed = Authority.parse(bytes, hostLine) else { return .badHost }
            (host, authority) = (hostLine, parsed)
        } else if version != .http10 {
            return .missingHost
        }
        if targetForm == .absolute {
            guard let parsed = Authority.parse(bytes, targetAuthority) else { return .badHost }
            (host, authority) = (targetAuthority, parsed)
        }
        return nil
    }
}
