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

/// Canonical lines, `name: value` CRLF, as the proxy writes them for HTTP/1, on their way into a HEADERS frame. nghttp2
/// copies names and values, and writes names in lower case (RFC 9113 §8.2.1).
enum FieldLines {
    /// The most lines of one section: more than an answer may have and the proxy adds. 40 bytes each on the stack.
    private static let capacity = 1100

    /// Submits the head of an answer; false where memory is short. `text` is a status line, lines, an empty line.
    static func submitHead(
        _ text: Span<UInt8>, _ session: OpaquePointer, _ identifier: Int32, slot: Int32, _ form: HTTP2HeadForm
    ) -> Bool {
        // `HTTP/1.1 200 OK`: the status is what stands at 9, 10 and 11.
        precondition(text.count > 12)
        return unsafe withFields(text) { base, fields in
            // SAFETY: constants live as long as the process; the offset lies inside of the text.
            let status = unsafe form == .tunnel ? constant("200") : base + 9
            unsafe fields[0] = nghttp2_nv(
                name: constant(":status"), value: status, namelen: 7, valuelen: 3, flags: 0)
            let start = ASCII.firstIndex(of: 0x0A, in: text, from: 0, to: text.count) + 1
            let count = unsafe collect(text, from: start, base, fields, after: 1, isTunnel: form == .tunnel)
            return unsafe submit(session, identifier, slot, fields, count, form)
        }
    }

    /// Submits the trailers of an answer.
    static func submitTrailers(_ text: Span<UInt8>, _ session: OpaquePointer?, _ identifier: Int32) {
        _ = unsafe withFields(text) { base, fields in
            // SAFETY: nghttp2 copies the fields before it returns.
            let count = unsafe collect(text, from: 0, base, fields, after: 0, isTunnel: false)
            return unsafe nghttp2_submit_trailer(session, identifier, fields, count) == 0
        }
    }

    /// Calls `body` with the address of the text and room for its fields.
    private static func withFields(
        _ text: Span<UInt8>,
        _ body: (UnsafeMutablePointer<UInt8>, UnsafeMutablePointer<nghttp2_nv>) -> Bool
    ) -> Bool {
        unsafe text.withUnsafeBufferPointer { bytes in
            unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: capacity) { fields in
                // SAFETY: nghttp2 reads what it takes as mutable; the memory is live for the length of the call.
                guard let start = bytes.baseAddress, let first = fields.baseAddress else {
                    return false
                }
                return unsafe body(UnsafeMutablePointer(mutating: start), first)
            }
        }
    }

    private static func constant(_ text: StaticString) -> UnsafeMutablePointer<UInt8> {
        // SAFETY: constant memory, which nghttp2 only reads.
        unsafe UnsafeMutablePointer(mutating: text.utf8Start)
    }

    /// Lists the lines from `start` on, up to an empty one or the end; gives how many fields there are then.
    private static func collect(
        _ text: Span<UInt8>, from start: Int, _ base: UnsafeMutablePointer<UInt8>,
        _ fields: UnsafeMutablePointer<nghttp2_nv>, after used: Int, isTunnel: Bool
    ) -> Int {
        var count = used
        var offset = start
        while offset < text.count, text[offset] != 0x0D, count < capacity {
            let nameEnd = ASCII.firstIndex(of: 0x3A, in: text, from: offset, to: text.count)
            let end = ASCII.firstIndex(of: 0x0D, in: text, from: nameEnd, to: text.count)
            precondition(nameEnd + 2 <= end && end < text.count, "the proxy writes canonical lines")
            let name = text.extracting(offset..<nameEnd)
            // SAFETY: all offsets lie inside of the text, whose address is `base`; `count` is below the capacity.
            if !isTunnel || !isOfHandshake(name) {
                unsafe fields[count] = nghttp2_nv(
                    name: base + offset, value: base + nameEnd + 2, namelen: nameEnd - offset,
                    valuelen: end - nameEnd - 2, flags: flags(name))
                count += 1
            }
            offset = end + 2
        }
        return count
    }

    /// HTTP/2 has no key that a server would have to prove it has read (RFC 8441 §5).
    private static func isOfHandshake(_ name: Span<UInt8>) -> Bool {
        ASCII.equalsIgnoringCase(name, "sec-websocket-accept")
    }

    /// What is new with each answer does not drive others out of the table.
    private static func flags(_ name: Span<UInt8>) -> UInt8 {
        ASCII.equalsIgnoringCase(name, "x-request-id") ? UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) : 0
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
