internal import Bytes
internal import HTTP

/// What `Forwarded` (RFC 7239) says of the request as it left the client.
struct ForwardedOrigin {
    /// The last address that is no trusted proxy's; nil where the peer's own is all that is known.
    var address: IPAddress?
    /// The scheme that the client spoke, as it was written; empty where nobody said it.
    var proto = ByteRange.empty
    /// The authority that the client named; empty where nobody said it.
    var host = ByteRange.empty
}

extension PolicySnapshot {
    /// What a trusted peer says in `Forwarded`; nil of any other peer (H8), and where it says something in the older
    /// `X-Forwarded-` fields: a proxy sets one of the two, and may let its client's own of the other kind through.
    ///
    /// Each hop adds an element, so that the last is the peer's word. One who is trusted is believed in what it says of
    /// the hop before it; what stands before the first who is not may be invented.
    func forwardedOrigin(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: PeerFacts
    ) -> ForwardedOrigin? {
        guard trust.trusts(peer) else { return nil }
        var origin: ForwardedOrigin?
        var isMalformed = false
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.flags.isDisjoint(with: [.alias, .nominated]), !line.valueRange.isEmpty else {
                continue
            }
            switch line.name {
            case .xForwardedFor, .xForwardedProto, .xForwardedHost: return nil
            case .forwarded:
                var elements = ForwardedElements(line.valueRange)
                while let element = elements.next(bytes) {
                    origin = follow(origin, element, bytes, listener: peer.listener)
                }
                if elements.isMalformed { isMalformed = true }
            default: continue
            }
        }
        // Nobody knows then which hop said what.
        return isMalformed ? ForwardedOrigin() : origin
    }

    /// The origin after one element more, the next one towards us.
    private func follow(
        _ before: ForwardedOrigin?, _ element: ForwardedElement, _ bytes: Span<UInt8>, listener: Int
    ) -> ForwardedOrigin {
        var origin = ForwardedOrigin(proto: element.proto, host: element.host)
        origin.address = AddressReader.read(AddressReader.host(of: bytes.slice(element.node)))
        guard let address = origin.address, trust.trusts(address, listener: listener), var before else {
            return origin
        }
        before.address = before.address ?? address
        return before
    }
}

/// The scheme that a proxy in front names.
enum ForwardedScheme {
    /// True for one over TLS, false for one without; nil for any other. Some proxies name those of WebSocket.
    static func isSecure(_ scheme: Span<UInt8>) -> Bool? {
        if ASCII.equalsIgnoringCase(scheme, "https") || ASCII.equalsIgnoringCase(scheme, "wss") {
            return true
        }
        if ASCII.equalsIgnoringCase(scheme, "http") || ASCII.equalsIgnoringCase(scheme, "ws") { return false }
        return nil
    }
}

/// One hop: what a proxy says of the request that it got (RFC 7239 §4). Each is empty where it is not said.
struct ForwardedElement {
    /// `for`: who sent it, maybe with brackets and a port.
    var node = ByteRange.empty
    /// `proto`: the scheme.
    var proto = ByteRange.empty
    /// `host`: the authority.
    var host = ByteRange.empty
}

/// The elements of a value of `Forwarded`, from the first to the last.
struct ForwardedElements {
    private var offset: Int
    private let end: Int
    /// The value breaks the grammar, and what was read of it means nothing.
    private(set) var isMalformed = false

    init(_ value: ByteRange) {
        offset = Int(value.start)
        end = value.end
    }

    /// The next element; nil at the end, and where the rest cannot be read.
    mutating func next(_ bytes: Span<UInt8>) -> ForwardedElement? {
        skip(bytes) { ASCII.isWhitespace($0) || $0 == UInt8(ascii: ",") }
        guard offset < end, !isMalformed else { return nil }
        var element = ForwardedElement()
        while isAtPairsEnd(bytes) || takePair(bytes, &element) {
            skip(bytes, ASCII.isWhitespace)
            guard offset < end, bytes[offset] == UInt8(ascii: ";") else { break }
            offset += 1
            skip(bytes, ASCII.isWhitespace)
        }
        if offset < end, bytes[offset] != UInt8(ascii: ",") { isMalformed = true }
        return isMalformed ? nil : element
    }

    /// A pair may be left out.
    private func isAtPairsEnd(_ bytes: Span<UInt8>) -> Bool {
        offset == end || bytes[offset] == UInt8(ascii: ";") || bytes[offset] == UInt8(ascii: ",")
    }

    private mutating func skip(_ bytes: Span<UInt8>, _ isSkipped: (UInt8) -> Bool) {
        while offset < end, isSkipped(bytes[offset]) { offset += 1 }
    }

    /// Takes `name=value`; false where it breaks the grammar.
    private mutating func takePair(_ bytes: Span<UInt8>, _ element: inout ForwardedElement) -> Bool {
        let start = offset
        skip(bytes, ASCII.isToken)
        let name = bytes.extracting(start..<offset)
        guard name.count > 0, offset < end, bytes[offset] == UInt8(ascii: "=") else { return fail() }
        offset += 1
        guard let value = takeValue(bytes) else { return fail() }
        // Each parameter stands once (RFC 7239 §4).
        if ASCII.equalsIgnoringCase(name, "for") { return set(&element.node, value) }
        if ASCII.equalsIgnoringCase(name, "proto") { return set(&element.proto, value) }
        if ASCII.equalsIgnoringCase(name, "host") { return set(&element.host, value) }
        return true
    }

    private mutating func fail() -> Bool {
        isMalformed = true
        return false
    }

    private mutating func set(_ range: inout ByteRange, _ value: ByteRange) -> Bool {
        guard range.isEmpty, !value.isEmpty else { return fail() }
        range = value
        return true
    }

    /// A token, or what stands between quotes: with a backslash it is nothing that this proxy reads.
    private mutating func takeValue(_ bytes: Span<UInt8>) -> ByteRange? {
        guard offset < end, bytes[offset] == UInt8(ascii: "\"") else {
            let start = offset
            // An address without the quotes that its colon or brackets need is common, and means one thing only.
            skip(bytes) { ASCII.isToken($0) || $0 == 0x3A || $0 == 0x5B || $0 == 0x5D }
            return offset > start ? ByteRange(from: start, to: offset) : nil
        }
        offset += 1
        let start = offset
        skip(bytes) { $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
        guard offset < end, bytes[offset] == UInt8(ascii: "\"") else { return nil }
        offset += 1
        return ByteRange(from: start, to: offset - 1)
    }
}
