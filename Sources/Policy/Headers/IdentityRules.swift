internal import Bytes
internal import HTTP
internal import JOSE

/// Which claims go upstream under which names, and which names no client may send: one set of rules for every
/// listener and every route (H1 to H4).
struct IdentityRules: ~Copyable {
    private let inPlace = InPlace()
    /// The largest value of one claim, or of one element of an array, in bytes: no identifier comes near it (H11).
    static var maximumElementByteCount: Int { 256 }
    /// The largest value of an array, joined, in bytes: hundreds of roles, and still a modest header.
    static var maximumValueByteCount: Int { 4096 }

    /// What each header carries: a claim, or a part of the client's certificate.
    private enum Source {
        /// `namesUser` where the header's name says that its value is who the user is.
        case claim(ClaimPath, namesUser: Bool)
        case certificate(ClientCertificate.Part)
    }

    private var sources: [Source] = []
    /// True where some header carries a part of the client's certificate.
    private(set) var namesCertificates = false
    private var names: FixedArray<ByteRange>
    private var patterns: FixedArray<StripPattern>
    private var text = ByteArray()
    /// Bit i is set where some pattern starts with the folded byte `a` + i; bit 26 stands for digits and `-`.
    private var firstBytes: UInt32 = 0
    /// Bit i stands for the field name with raw value i.
    private var strippedNames = InlineArray<4, UInt64>(repeating: 0)

    init(_ spec: IdentitySpec) throws(PolicyError) {
        names = FixedArray(capacity: max(spec.headers.count, 1))
        patterns = FixedArray(
            capacity: spec.headers.count + spec.strip.count + 1 + Self.rerouting.count)
        for header in spec.headers {
            if let part = ClientCertificate.Part(source: header.claim) {
                sources.append(.certificate(part))
                namesCertificates = true
                continue
            }
            guard let claim = ClaimPath(header.claim) else { throw .badClaim(header.claim) }
            sources.append(.claim(claim, namesUser: Self.namesUser(Array(header.name.utf8))))
        }
        for header in spec.headers {
            let bytes = Array(header.name.utf8)
            guard Self.mayCarryIdentity(bytes) else { throw .badIdentityHeader(header.name) }
            let pattern = add(folded: bytes, isPrefix: false)
            for index in 0..<patterns.count where isSame(patterns[index], pattern) {
                throw .badIdentityHeader(header.name)
            }
            _ = patterns.append(pattern)
            _ = names.append(add(bytes))
        }
        // The proxy's own: a client's is passed on as ours, or not at all, and no other spelling of it either.
        _ = patterns.append(add(folded: Array("x-request-id".utf8), isPrefix: false))
        for strip in Self.rerouting + spec.strip {
            var bytes = Array(strip.utf8)
            let isPrefix = bytes.last == UInt8(ascii: "*")
            if isPrefix { bytes.removeLast() }
            guard !bytes.isEmpty, bytes.allSatisfy({ ASCII.isToken($0) && $0 != UInt8(ascii: "*") }) else {
                throw .badStripPattern(strip)
            }
            _ = patterns.append(add(folded: bytes, isPrefix: isPrefix))
        }
        markKnownNames()
    }

    /// How many identity headers there are.
    var count: Int { names.count }

    /// True where no client may send a field of this name: it is an identity header, or matches a strip pattern,
    /// after every byte that is no letter and no digit has become `-` and letters are lower case (H1, H2).
    func strips(_ name: Span<UInt8>) -> Bool {
        guard name.count > 0, firstBytes & Self.firstBit(Self.folded(name[0])) != 0 else { return false }
        for index in 0..<patterns.count where matches(patterns[index], name) { return true }
        return false
    }

    /// `strips` for a field of a parsed head, by its interned name where it has one.
    @inline(__always)
    func strips(_ line: FieldLine, _ bytes: Span<UInt8>) -> Bool {
        guard line.name == .other else {
            let raw = Int(line.name.rawValue)
            return strippedNames[raw >> 6] & (1 << UInt64(raw & 63)) != 0
        }
        return strips(bytes.slice(line.nameRange))
    }

    /// Adds the header lines that carry this token's claims; false where a claim is there that cannot stand in a
    /// header. A claim that is absent, null or empty has no line, and the client's own is stripped all the same (H3).
    func appendLines(_ token: borrowing VerifiedToken, to output: inout ByteArray) -> Bool {
        for index in 0..<names.count {
            guard case .claim(let claim, let namesUser) = sources[index] else { continue }
            let start = output.count
            output.append(text.span(names[index]))
            output.append(": ")
            let valueStart = output.count
            guard appendValue(claim, of: token, allowed: namesUser ? .ascii : .text, to: &output) else {
                return false
            }
            if output.count == valueStart {
                output.truncate(to: start)
            } else {
                output.append("\r\n")
            }
        }
        return true
    }

    // MARK: Certificates

    /// What `append(_:to:)` writes at most, in bytes.
    func byteBound(_ certificate: borrowing ClientCertificate) -> Int {
        guard namesCertificates, !certificate.isNone else { return 0 }
        return text.count + 4 * names.count + names.count * certificate.byteCount
    }

    /// Adds the header lines that carry parts of the client's certificate; the room was checked. A part that is not
    /// there has no line, and the client's own is stripped all the same.
    func append(_ certificate: borrowing ClientCertificate, to buffer: inout Buffer) {
        guard namesCertificates, !certificate.isNone else { return }
        for index in 0..<names.count {
            guard case .certificate(let part) = sources[index], certificate.value(part).count > 0 else {
                continue
            }
            HeaderWriter.put(text.span(names[index]), &buffer)
            HeaderWriter.put(": ", certificate.value(part), &buffer)
        }
    }

    // MARK: Values

    /// What a value may be made of.
    private enum Alphabet {
        /// Visible ASCII, and spaces in between.
        case ascii
        /// All text but control characters (C0, DEL and C1), and spaces in between. What is beyond ASCII is `obs-text`
        /// (RFC 9110 §5.5), and UTF-8.
        case text
    }

    private func appendValue(
        _ path: ClaimPath, of token: borrowing VerifiedToken, allowed: Alphabet, to output: inout ByteArray
    ) -> Bool {
        if path == .subject { return Self.append(token.subject, .ascii, to: &output) }
        guard let value = token.claim(at: path) else { return true }
        switch value.kind {
        case .null: return true
        case .object: return false
        case .string, .number, .boolean: return Self.append(token.bytes(of: value), allowed, to: &output)
        case .array: return Self.appendElements(value, of: token, allowed, to: &output)
        }
    }

    private static func appendElements(
        _ array: ClaimValue, of token: borrowing VerifiedToken, _ allowed: Alphabet,
        to output: inout ByteArray
    ) -> Bool {
        let start = output.count
        var element = token.firstElement(of: array)
        while let current = element {
            if output.count > start { output.append(UInt8(ascii: ",")) }
            switch current.kind {
            case .null, .array, .object: return false
            case .string, .number, .boolean:
                let bytes = token.bytes(of: current)
                // An element with a comma would arrive as two, an empty one as none.
                guard bytes.count > 0, !contains(UInt8(ascii: ","), in: bytes),
                    append(bytes, allowed, to: &output)
                else { return false }
            }
            guard output.count - start <= maximumValueByteCount else { return false }
            element = token.element(after: current, in: array)
        }
        return true
    }

    /// Adds a value of what is allowed; false for any other.
    private static func append(
        _ value: Span<UInt8>, _ allowed: Alphabet, to output: inout ByteArray
    ) -> Bool {
        guard value.count <= maximumElementByteCount else { return false }
        guard value.count > 0 else { return true }
        for index in value.indices {
            let byte = value[index]
            if byte < 0x80 {
                guard ASCII.isVisible(byte) || byte == ASCII.space else { return false }
            } else {
                guard allowed == .text, !isC1Control(value, at: index) else { return false }
            }
        }
        guard value[0] != ASCII.space, value[value.count - 1] != ASCII.space, !hasLooseEnd(value) else {
            return false
        }
        output.append(value)
        return true
    }

    /// True where what stands at either end of a text beyond ASCII is white space, or is not seen: backends cut it off.
    private static func hasLooseEnd(_ value: Span<UInt8>) -> Bool {
        guard value[0] >= 0x80 || value[value.count - 1] >= 0x80 else { return false }
        let scalars = String(decoding: value.indices.map { value[$0] }, as: UTF8.self).unicodeScalars
        return [scalars.first, scalars.last].contains { scalar in
            guard let properties = scalar?.properties else { return false }
            return properties.isWhitespace || properties.isDefaultIgnorableCodePoint
        }
    }

    /// True for the first of the two bytes of U+0080 to U+009F. A claim is well-formed UTF-8: the JSON that it is from is.
    private static func isC1Control(_ value: Span<UInt8>, at index: Int) -> Bool {
        value[index] == 0xc2 && (index + 1 == value.count || value[index + 1] < 0xa0)
    }

    private static func contains(_ byte: UInt8, in bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices where bytes[index] == byte { return true }
        return false
    }

    // MARK: Names

    /// A letter or digit in lower case, or `-` for anything else.
    private static func folded(_ byte: UInt8) -> UInt8 {
        ASCIISet.alphanumeric.contains(byte) ? ASCII.lowercased(byte) : UInt8(ascii: "-")
    }

    private static func firstBit(_ folded: UInt8) -> UInt32 {
        folded >= UInt8(ascii: "a") ? 1 << UInt32(folded - UInt8(ascii: "a")) : 1 << 26
    }

    private func matches(_ pattern: StripPattern, _ name: Span<UInt8>) -> Bool {
        let count = Int(pattern.name.count)
        guard pattern.isPrefix ? name.count >= count : name.count == count else { return false }
        let expected = text.span(pattern.name)
        var index = 0
        while index < count {
            let byte = name[index]
            // Most names are in order already, or differ at once.
            guard expected[index] == byte || expected[index] == Self.folded(byte) else { return false }
            index &+= 1
        }
        return true
    }

    private func isSame(_ a: StripPattern, _ b: StripPattern) -> Bool {
        ASCII.equals(text.span(a.name), text.span(b.name))
    }

    /// False for what is no token, and for fields that the proxy itself writes or that frame the message.
    private static func mayCarryIdentity(_ name: [UInt8]) -> Bool {
        guard !name.isEmpty, name.allSatisfy({ ASCII.isToken($0) }) else { return false }
        let known = FieldName.lookUp(name.span, ByteRange(start: 0, count: name.count))
        guard known.flags.isDisjoint(with: [.hopByHop, .framing, .neverForwarded, .singleton]) else {
            return false
        }
        switch known.name {
        case .host, .authorization, .cookie, .via, .forwarded, .xForwardedFor, .xForwardedHost,
            .xForwardedProto,
            .xRequestID:
            return false
        default:
            return true
        }
    }

    /// Fields of a request by which a proxy in front tells a backend of another path, host, scheme or client than it sees, or what
    /// is behind it already: `SCRIPT_NAME: /public` makes gunicorn serve `/admin` for `/public/admin`, which is another
    /// route's. Beside those that `FieldFlags.forwarding` knows. A trusted proxy's go too: it speaks of what stands right behind it,
    /// and that is not the backend (H8).
    private static let rerouting = [
        // gunicorn, as it comes (`forwarder_headers`), and what many Flask applications took over from a snippet.
        "Script-Name", "Path-Info", "X-Script-Name", "X-Scheme",
        // Next.js about itself: CVE-2025-29927, and its servers without a router of their own. `X-Middleware-Prefetch` is a
        // browser's to send, but some applications skip their checks for it; without it they render what is fetched ahead.
        "X-Middleware-*", "X-Invoke-*", "X-Matched-Path", "X-Now-Route-Matches",
        // Rack::Sendfile: CVE-2025-61780.
        "X-Sendfile-Type", "X-Accel-*",
        "X-HTTP-Host-Override", "X-URL-Scheme", "Front-End-Https",
        // An address that PHP applications read before X-Forwarded-For, and what WebLogic and an AWS balancer say of it and
        // of the certificate (H6).
        "Client-IP", "WL-Proxy-*", "X-Amzn-Mtls-*",
        // The certificate, or that there is one, as many configurations of nginx and HAProxy name it (H6).
        "X-SSL-Cert", "X-SSL-Client",
    ]

    /// The names under which backends take a value for the user, or for the address that they know one by. It is ASCII
    /// there, whichever claim it is of: a backend that drops or folds what it cannot read must not take one user for another.
    private static let userNames: [[UInt8]] = [
        "x-user-id", "x-user", "x-forwarded-user", "x-remote-user", "remote-user", "x-auth-request-user",
        "x-webauth-user",
        "x-user-email", "x-forwarded-email", "x-remote-email", "remote-email", "x-auth-request-email",
        "x-webauth-email",
    ].map { Array($0.utf8) }

    private static func namesUser(_ name: [UInt8]) -> Bool {
        let name = name.map(folded)
        return userNames.contains(name) || name.suffix(preferred.count).elementsEqual(preferred)
    }

    /// The end of the names that many authenticators have for it, each with a beginning of its own.
    private static let preferred = Array("preferred-username".utf8)

    private mutating func add(folded name: [UInt8], isPrefix: Bool) -> StripPattern {
        let folded = name.map(Self.folded)
        if let first = folded.first { firstBytes |= Self.firstBit(first) }
        return StripPattern(name: add(folded), isPrefix: isPrefix)
    }

    private mutating func add(_ bytes: [UInt8]) -> ByteRange {
        let start = text.count
        text.append(bytes.span)
        return text.range(since: start)
    }

    private mutating func markKnownNames() {
        for name in FieldName.allCases where name != .other {
            let known = ByteArray(name.text)
            guard strips(known.span) else { continue }
            strippedNames[Int(name.rawValue) >> 6] |= 1 << UInt64(name.rawValue & 63)
        }
    }
}

/// A folded name, or the start of one.
struct StripPattern: BitwiseCopyable {
    let name: ByteRange
    let isPrefix: Bool
}
