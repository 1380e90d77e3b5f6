import Bytes
import CNghttp2
import HTTP

/// What kind of head an answer's text is.
public enum HTTP2HeadForm: Equatable, Sendable {
    /// 1xx: another head follows.
    case interim
    /// The answer's own head.
    case final(endsStream: Bool)
    /// That of a 101 to a WebSocket handshake, which is 200 here (RFC 8441 §5).
    case tunnel
}

/// What the text of a request does not say.
public struct HTTP2RequestForm: Sendable {
    /// The scheme is https.
    public var isSecure: Bool
    /// The client reads trailers.
    public var takesTrailers = false
    /// No content follows.
    public var endsStream = false
    /// It is a handshake of WebSocket: an extended CONNECT (RFC 8441 §4), whatever the method of the text.
    public var isWebSocket = false

    /// A request with that scheme, whose content follows.
    public init(isSecure: Bool) { self.isSecure = isSecure }
}

/// Room for the fields of one section, allocated once for all sessions of a thread: 80 KB, which no stack frame has.
@safe struct FieldList: ~Copyable {
    /// The most fields of one section: twice what `header_count` may allow, for what the proxy adds.
    static let capacity = 2048
    /// The first of them.
    let start: UnsafeMutablePointer<nghttp2_nv>

    init() {
        // SAFETY: freed in `deinit`; what is read of it was written before.
        unsafe start = .allocate(capacity: Self.capacity)
    }

    deinit { unsafe start.deallocate() }
}

/// Canonical lines, `name: value` CRLF, as the proxy writes them for HTTP/1, on their way into a HEADERS frame. nghttp2
/// copies names and values, and writes names in lower case (RFC 9113 §8.2.1).
enum FieldLines {
    private static var capacity: Int { FieldList.capacity }

    /// Submits the head of an answer, at the start of `text`: a status line, lines, an empty line. Gives its size in
    /// bytes, nil where memory is short.
    static func submitHead(
        _ text: Span<UInt8>, _ session: OpaquePointer, _ identifier: Int32, slot: Int32,
        _ form: HTTP2HeadForm,
        _ list: borrowing FieldList
    ) -> Int? {
        // `HTTP/1.1 200 OK`: the status is what stands at 9, 10 and 11.
        precondition(text.count > 12)
        let fields = unsafe list.start
        var end = 0
        let isSubmitted = unsafe withBytes(text) { base in
            // SAFETY: constants live as long as the process; the offset lies inside of the text.
            let status = unsafe form == .tunnel ? constant("200") : base + 9
            unsafe fields[0] = nghttp2_nv(
                name: constant(":status"), value: status, namelen: 7, valuelen: 3, flags: 0)
            let start = ASCII.firstIndex(of: 0x0A, in: text, from: 0, to: text.count) + 1
            let listed = unsafe collect(
                text, from: start, base, fields, after: 1, isOfTunnel: form == .tunnel)
            guard let listed else { return false }
            end = listed.end + 2
            return unsafe submit(session, identifier, slot, fields, listed.count, form)
        }
        return isSubmitted ? end : nil
    }

    /// The size of the head at the start of `text`, in bytes.
    static func headBytes(_ text: Span<UInt8>) -> Int {
        var end = 0
        repeat {
            end = ASCII.firstIndex(of: 0x0D, in: text, from: end, to: text.count) + 2
            precondition(end < text.count, "the head was written whole")
        } while text[end] != 0x0D
        return end + 2
    }

    /// Submits the head of a request; the stream's identifier, or 0 where none can be had. `text` is a request line of
    /// HTTP/1.1, lines, an empty line.
    static func submitRequest(
        _ text: Span<UInt8>, _ session: OpaquePointer, slot: Int32, _ form: HTTP2RequestForm,
        _ list: borrowing FieldList
    ) -> Int32 {
        let fields = unsafe list.start
        var identifier: Int32 = 0
        _ = unsafe withBytes(text) { base in
            // SAFETY: constants live as long as the process; offsets lie inside of the text; nghttp2 copies the fields
            // and the provider. What is stored for the stream is its slot and one, never an address.
            let methodEnd = ASCII.firstIndex(of: 0x20, in: text, from: 0, to: text.count)
            let pathEnd = ASCII.firstIndex(of: 0x20, in: text, from: methodEnd + 1, to: text.count)
            let scheme: StaticString = form.isSecure ? "https" : "http"
            unsafe fields[0] = nghttp2_nv(
                name: constant(":method"), value: form.isWebSocket ? constant("CONNECT") : base, namelen: 7,
                valuelen: form.isWebSocket ? 7 : methodEnd, flags: 0)
            unsafe fields[1] = nghttp2_nv(
                name: constant(":scheme"), value: constant(scheme), namelen: 7,
                valuelen: scheme.utf8CodeUnitCount, flags: 0)
            unsafe fields[2] = nghttp2_nv(
                name: constant(":path"), value: base + methodEnd + 1, namelen: 5,
                valuelen: pathEnd - methodEnd - 1, flags: 0)
            var count = 3
            if form.isWebSocket {
                unsafe fields[3] = nghttp2_nv(
                    name: constant(":protocol"), value: constant("websocket"), namelen: 9, valuelen: 9,
                    flags: 0)
                count = 4
            }
            let start = ASCII.firstIndex(of: 0x0A, in: text, from: pathEnd, to: text.count) + 1
            let listed = unsafe collect(
                text, from: start, base, fields, after: count, isOfTunnel: form.isWebSocket, isRequest: true)
            guard let listed else { return false }
            count = listed.count
            if form.takesTrailers, count < capacity {
                unsafe fields[count] = nghttp2_nv(
                    name: constant("te"), value: constant("trailers"), namelen: 2, valuelen: 8, flags: 0)
                count += 1
            }
            var provider = unsafe nghttp2_data_provider(
                source: nghttp2_data_source(fd: slot), read_callback: readAnswer)
            // SAFETY: a number, never an address; nghttp2 copies the fields and the provider.
            let owner = unsafe UnsafeMutableRawPointer(bitPattern: Int(slot) + 1)
            identifier =
                unsafe form.endsStream
                ? nghttp2_submit_request(session, nil, fields, count, nil, owner)
                : nghttp2_submit_request(session, nil, fields, count, &provider, owner)
            return identifier > 0
        }
        return max(identifier, 0)
    }

    /// Submits the trailers of a message.
    static func submitTrailers(
        _ text: Span<UInt8>, _ session: OpaquePointer?, _ identifier: Int32, _ list: borrowing FieldList
    ) {
        let fields = unsafe list.start
        _ = unsafe withBytes(text) { base in
            // SAFETY: nghttp2 copies the fields before it returns.
            guard let listed = unsafe collect(text, from: 0, base, fields, after: 0) else { return false }
            return unsafe nghttp2_submit_trailer(session, identifier, fields, listed.count) == 0
        }
    }

    /// Calls `body` with the address of the text.
    private static func withBytes(
        _ text: Span<UInt8>, _ body: (UnsafeMutablePointer<UInt8>) -> Bool
    ) -> Bool {
        unsafe text.withUnsafeBufferPointer { bytes in
            // SAFETY: nghttp2 reads what it takes as mutable; the memory is live for the length of the call.
            guard let start = bytes.baseAddress else { return false }
            return unsafe body(UnsafeMutablePointer(mutating: start))
        }
    }

    private static func constant(_ text: StaticString) -> UnsafeMutablePointer<UInt8> {
        // SAFETY: constant memory, which nghttp2 only reads.
        unsafe UnsafeMutablePointer(mutating: text.utf8Start)
    }

    /// Lists the lines from `start` on, up to an empty one or the end; gives how many fields there are then, and
    /// where the lines end. Nil where one is broken, or they are too many: what comes last is the identity, and half a head is none.
    private static func collect(
        _ text: Span<UInt8>, from start: Int, _ base: UnsafeMutablePointer<UInt8>,
        _ fields: UnsafeMutablePointer<nghttp2_nv>, after used: Int, isOfTunnel: Bool = false,
        isRequest: Bool = false
    ) -> (count: Int, end: Int)? {
        var count = used
        var offset = start
        while offset < text.count, text[offset] != 0x0D, count < capacity {
            let nameEnd = ASCII.firstIndex(of: 0x3A, in: text, from: offset, to: text.count)
            let end = ASCII.firstIndex(of: 0x0D, in: text, from: nameEnd + 1, to: text.count)
            // The proxy writes canonical lines. Were one broken, its own message would fail, and nobody else's.
            guard nameEnd + 2 <= end && end < text.count else { return nil }
            let name = text.extracting(offset..<nameEnd)
            // SAFETY: all offsets lie inside of the text, whose address is `base`; `count` is below the capacity.
            if isRequest, name.count == 4, ASCII.equalsIgnoringCase(name, "host") {
                // Pseudo-fields come first.
                for place in stride(from: count, to: 0, by: -1) { unsafe fields[place] = fields[place - 1] }
                unsafe fields[0] = nghttp2_nv(
                    name: constant(":authority"), value: base + nameEnd + 2, namelen: 10,
                    valuelen: end - nameEnd - 2, flags: 0)
                count += 1
            } else if !isOfTunnel || !isOfHandshake(name) {
                unsafe fields[count] = nghttp2_nv(
                    name: base + offset, value: base + nameEnd + 2, namelen: nameEnd - offset,
                    valuelen: end - nameEnd - 2, flags: flags(name))
                count += 1
            }
            offset = end + 2
        }
        guard offset >= text.count || text[offset] == 0x0D else { return nil }
        return (count, offset)
    }

    /// HTTP/2 has no key that a server would have to prove it has read (RFC 8441 §5).
    private static func isOfHandshake(_ name: Span<UInt8>) -> Bool {
        ASCII.equalsIgnoringCase(name, "sec-websocket-accept")
            || ASCII.equalsIgnoringCase(name, "sec-websocket-key")
    }

    /// What is new with each answer does not drive others out of the table.
    private static func flags(_ name: Span<UInt8>) -> UInt8 {
        guard name.count == 12, ASCII.equalsIgnoringCase(name, "x-request-id") else { return 0 }
        return UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue)
    }

    private static func submit(
        _ session: OpaquePointer, _ identifier: Int32, _ slot: Int32,
        _ fields: UnsafeMutablePointer<nghttp2_nv>, _ count: Int, _ form: HTTP2HeadForm
    ) -> Bool {
        // SAFETY: nghttp2 copies the fields and the provider before it returns.
        switch form {
        case .interim:
            return unsafe nghttp2_submit_headers(session, 0, identifier, nil, fields, count, nil) == 0
        case .final(endsStream: true):
            return unsafe nghttp2_submit_response(session, identifier, fields, count, nil) == 0
        case .final(endsStream: false), .tunnel:
            var provider = unsafe nghttp2_data_provider(
                source: nghttp2_data_source(fd: slot), read_callback: readAnswer)
            return unsafe nghttp2_submit_response(session, identifier, fields, count, &provider) == 0
        }
    }
}
