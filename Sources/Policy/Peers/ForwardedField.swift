internal import Bytes
internal import HTTP

/// What a proxy in front says of the request as it left the client.
struct ToldOrigin {
    /// The last address that is no trusted proxy's; nil where the peer's own is all that is known.
    var address: IPAddress?
    /// The scheme that the client spoke, as it was written; empty where nobody said it.
    var proto = ByteRange.empty
    /// The authority that the client named; empty where nobody said it.
    var host = ByteRange.empty
    /// Two schemes are said: which one counts is nothing to guess.
    var isSchemeAmbiguous = false
    /// Two authorities are.
    var isHostAmbiguous = false
    /// It is said in `Forwarded`, and not in the older fields.
    var isForwarded = false
    /// Nothing stands before it in `Forwarded`: that may be invented.
    var isFirst = false
    /// An address was named in a way that is not read here, and may be read elsewhere.
    var hasUnreadNode = false
    /// `Forwarded` may go on to the backend: it is what counts, or says nothing else than what does.
    var keepsForwarded = false
}

extension PolicySnapshot {
    /// What a trusted peer says in `X-Forwarded-For`, `-Proto` and `-Host`, or, where none of them is there, in `Forwarded`
    /// (RFC 7239): a proxy sets one of the two kinds, and may let its client's own of the other through. Nil of any other
    /// peer (H8).
    func toldOrigin(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: PeerFacts
    ) -> ToldOrigin? {
        guard trust.trusts(peer) else { return nil }
        var older = ToldOrigin()
        var newer: ToldOrigin?
        var (saysOlder, isMalformed) = (false, false)
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.flags.isDisjoint(with: [.alias, .nominated]), !line.valueRange.isEmpty else {
                continue
            }
            switch line.name {
            case .xForwardedFor: saysOlder = true
            case .xForwardedProto:
                if !older.proto.isEmpty, !Self.isSame(older.proto, line.valueRange, bytes) {
                    older.isSchemeAmbiguous = true
                }
                older.proto = line.valueRange
                saysOlder = true
            case .xForwardedHost:
                if !older.host.isEmpty, !Self.isSame(older.host, line.valueRange, bytes) {
                    older.isHostAmbiguous = true
                }
                older.host = line.valueRange
                saysOlder = true
            case .forwarded:
                var elements = ForwardedElements(line.valueRange)
                while let element = elements.next(bytes) {
                    newer = follow(newer, element, bytes, listener: peer.listener)
                }
                isMalformed = isMalformed || elements.isMalformed
            default: continue
            }
        }
        // What cannot be read says nothing: nobody knows then which hop said what.
        if isMalformed { newer = nil }
        guard saysOlder else {
            newer?.keepsForwarded = true
            return newer ?? ToldOrigin()
        }
        older.address = lastForwardedAddress(head, bytes, listener: peer.listener)
        older.keepsForwarded = newer.map { Self.agrees($0, with: older, bytes) } ?? false
        return older
    }

    /// True where `newer` says nothing that `older` does not say, too.
    private static func agrees(
        _ newer: ToldOrigin, with older: ToldOrigin, _ bytes: Span<UInt8>
    ) -> Bool {
        newer.isFirst && !newer.hasUnreadNode && newer.address == older.address
            && isSame(newer.proto, older.proto, bytes)
            && isSame(newer.host, older.host, bytes)
    }

    private static func isSame(_ newer: ByteRange, _ older: ByteRange, _ bytes: Span<UInt8>) -> Bool {
        newer.isEmpty || ASCII.equalsIgnoringCase(bytes.slice(newer), bytes.slice(older))
    }

    /// The last address of `X-Forwarded-For` that is no trusted proxy's, as far as it can be read; nil where there is none.
    /// What stands before that one may be invented.
    private func lastForwardedAddress(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, listener: Int
    ) -> IPAddress? {
        var known: IPAddress?
        var index = head.fields.count
        while index > 0 {
            index -= 1
            let line = head.fields[index]
            guard line.name == .xForwardedFor, line.flags.isDisjoint(with: [.alias, .nominated]) else {
                continue
            }
            var end = line.valueRange.end
            while end > Int(line.valueRange.start) {
                var start = end
                while start > Int(line.valueRange.start), bytes[start - 1] != UInt8(ascii: ",") { start -= 1 }
                guard let address = Self.address(bytes.extracting(start..<end)) else { return known }
                known = address
                guard trust.trusts(address, listener: listener) else { return known }
                end = start - 1
            }
        }
        return known
    }

    /// The address in an element; nil where it cannot be read, and for the unspecified one, which nobody has: whoever were
    /// known by it would not be counted.
    private static func address(_ element: Span<UInt8>) -> IPAddress? {
        guard let address = AddressReader.read(AddressReader.host(of: element)), !address.isNone else {
            return nil
        }
        return address
    }

    /// The origin after one element of `Forwarded` more, the next one towards us. Each hop adds one, so that the last is
    /// the peer's word. Who is trusted is believed in what it says of the hop before it; what stands before the first who
    /// is not may be invented.
    private func follow(
        _ before: ToldOrigin?, _ element: ForwardedElement, _ bytes: Span<UInt8>, listener: Int
    ) -> ToldOrigin {
        var origin = ToldOrigin(
            proto: element.proto, host: element.host, isForwarded: true, isFirst: before == nil)
        origin.address = Self.address(bytes.slice(element.node))
        origin.hasUnreadNode = origin.address == nil && !element.node.isEmpty
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
