internal import Bytes
internal import Crypto
internal import HTTP

/// What each upstream gets as `Authorization`, ready to be written.
struct UpstreamAuthorizationTable: ~Copyable {
    /// How one upstream is served.
    enum Mode: BitwiseCopyable {
        case remove
        case forward
        /// A whole line, as a range of the table's text.
        case line(ByteRange)
        /// The mint with that number.
        case mint(Int)

        var isForward: Bool {
            if case .forward = self { true } else { false }
        }
    }

    private var modes: FixedArray<Mode>
    private var preserving: FixedArray<Bool>
    private var text = ByteArray()
    /// The mints, in the order of the upstreams that have one.
    private var mints: Slab<TokenMint>

    init(_ specs: [UpstreamPolicySpec]) throws(PolicyError) {
        modes = FixedArray(capacity: max(specs.count, 1))
        preserving = FixedArray(capacity: max(specs.count, 1))
        mints = Slab(capacity: max(specs.count, 1))
        for (index, spec) in specs.enumerated() {
            _ = preserving.append(spec.preserveHost)
            switch spec.authorization {
            case .remove: _ = modes.append(.remove)
            case .forward: _ = modes.append(.forward)
            case .bearer(let token):
                guard !token.isEmpty, token.allSatisfy(ASCII.isVisible) else {
                    throw .badBearer(upstream: index)
                }
                let start = text.count
                text.append("Authorization: Bearer ")
                text.append(token.span)
                text.append("\r\n")
                _ = modes.append(.line(text.range(since: start)))
            case .mint(let mint):
                guard let mint = TokenMint(mint) else { throw .badMint(upstream: index) }
                _ = modes.append(.mint(Int(mints.insert(mint).index)))
            }
        }
    }

    /// How the upstream is served.
    func mode(_ upstream: Int) -> Mode { modes[upstream] }

    /// True where the upstream gets the client's Host.
    func preservesHost(_ upstream: Int) -> Bool { preserving[upstream] }

    /// The whole line with CRLF.
    @_lifetime(borrow self)
    func line(_ range: ByteRange) -> Span<UInt8> { text.span(range) }

    /// Mints for the subject of the entry, unless that was done lately; false where the system failed.
    func refresh(_ entry: inout VerifiedTokenEntry, mint: Int, now: Int64) -> Bool {
        entry.refresh(mints[UInt32(mint)], number: mint, now: now)
    }
}

/// Makes HS256 tokens for one upstream (RFC 7519, RFC 7518 §3.2).
struct TokenMint: ~Copyable {
    /// `{"alg":"HS256","typ":"JWT"}` in base64url, and the dot.
    private static var header: StaticString { "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." }
    /// The shortest lifetime in seconds: half of it is the time for which a minted token is used again.
    private static var minimumLifetimeSeconds: Int64 { 2 }

    private let key: HMACKey
    private let lifetimeSeconds: Int64
    /// The further claims as JSON members, each with a comma before it, and the closing brace.
    private let tail: ByteArray

    /// The mint of a specification; nil where that is not usable.
    init?(_ spec: MintSpec) {
        guard spec.secret.count >= 32, spec.lifetimeSeconds >= Self.minimumLifetimeSeconds,
            let key = HMACKey(algorithm: .hs256, secret: spec.secret.span)
        else { return nil }
        var tail = ByteArray()
        var names: Set<String> = ["sub", "iat", "nbf", "exp"]
        for claim in spec.claims {
            guard names.insert(claim.name).inserted else { return nil }
            tail.append(UInt8(ascii: ","))
            JSONText.append(Array(claim.name.utf8).span, to: &tail)
            tail.append(UInt8(ascii: ":"))
            switch claim.value {
            case .text(let text): JSONText.append(Array(text.utf8).span, to: &tail)
            case .integer(let number): tail.append(Array(String(number).utf8).span)
            case .boolean(let isTrue): isTrue ? tail.append("true") : tail.append("false")
            }
        }
        tail.append(UInt8(ascii: "}"))
        self.key = key
        self.tail = tail
        lifetimeSeconds = spec.lifetimeSeconds
    }

    /// For how long a minted token is used again, in seconds: what is left of its life is never less than half.
    var freshSeconds: Int64 { lifetimeSeconds / 2 }

    /// Adds the whole line `Authorization: Bearer …` with CRLF, for a token minted at `now`; false where OpenSSL
    /// failed.
    func append(subject: Span<UInt8>, now: Int64, to output: inout ByteArray) -> Bool {
        var payload = ByteArray()
        payload.append("{\"sub\":")
        JSONText.append(subject, to: &payload)
        payload.append(",\"iat\":")
        JSONText.append(now, to: &payload)
        payload.append(",\"exp\":")
        JSONText.append(now + lifetimeSeconds, to: &payload)
        payload.append(tail.span)
        output.append("Authorization: Bearer ")
        let start = output.count
        output.append(Self.header)
        guard Self.append(encoding: payload.span, to: &output) else { return false }
        var code = InlineArray<32, UInt8>(repeating: 0)
        var room = code.mutableSpan
        guard key.authenticate(output.span(output.range(since: start)), into: &room) == 32 else {
            return false
        }
        output.append(UInt8(ascii: "."))
        guard Self.append(encoding: code.span, to: &output) else { return false }
        output.append("\r\n")
        return true
    }

    private static func append(encoding bytes: Span<UInt8>, to output: inout ByteArray) -> Bool {
        var encoded = [UInt8](repeating: 0, count: Base64URL.encodedCount(bytes.count))
        var room = encoded.mutableSpan
        guard let count = Base64URL.encode(bytes, into: &room), count == room.count else { return false }
        output.append(encoded.span)
        return true
    }
}

/// Writes JSON (RFC 8259 §7).
enum JSONText {
    /// Adds the text as a JSON string with its quotes; it must be UTF-8.
    static func append(_ text: Span<UInt8>, to output: inout ByteArray) {
        output.append(UInt8(ascii: "\""))
        for index in text.indices {
            let byte = text[index]
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                output.append(UInt8(ascii: "\\"))
                output.append(byte)
            case 0..<0x20:
                output.append("\\u00")
                output.append(byte >> 4 + 48)
                let digit = byte & 15
                output.append(digit < 10 ? digit + 48 : digit + 87)
            default:
                output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// Adds a number.
    static func append(_ number: Int64, to output: inout ByteArray) {
        if number < 0 { output.append(UInt8(ascii: "-")) }
        var divisor: UInt64 = 1
        let magnitude = number.magnitude
        while magnitude / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            output.append(UInt8(truncatingIfNeeded: magnitude / divisor % 10) + 48)
            divisor /= 10
        }
    }
}

/// The networks that each listener believes.
struct TrustedProxyTable: ~Copyable {
    private var blocks: FixedArray<AddressBlock>
    private var listeners: FixedArray<ByteRange>

    init(_ specs: [ListenerPolicySpec]) throws(PolicyError) {
        blocks = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.trustedProxies.count }, 1))
        listeners = FixedArray(capacity: max(specs.count, 1))
        for (index, spec) in specs.enumerated() {
            let start = blocks.count
            for block in spec.trustedProxies {
                guard !block.isEverything else { throw .trustsEverybody(listener: index) }
                _ = blocks.append(block)
            }
            _ = listeners.append(ByteRange(from: start, to: blocks.count))
        }
    }

    /// True where the peer's forwarding headers are believed.
    func trusts(_ peer: PeerFacts) -> Bool {
        guard peer.listener >= 0, peer.listener < listeners.count else { return false }
        for index in listeners[peer.listener].bounds where blocks[index].contains(peer.address) {
            return true
        }
        return false
    }
}
