public import Bytes
public import Crypto

/// The tokens that an upstream gets in place of the client's: plain values, from which each worker builds its own
/// `TokenMinter`.
public struct MintSpec: Sendable, Equatable {
    /// The value of a claim that is the same in every token.
    public enum Value: Sendable, Equatable {
        /// A JSON value of that type.
        case string(String), integer(Int64), boolean(Bool), strings([String])
    }

    /// A claim that is the same in every token.
    public struct Claim: Sendable, Equatable {
        /// The name, as it stands in the payload.
        public var name: String
        /// The value.
        public var value: Value

        /// A claim of that name and value.
        public init(name: String, value: Value) {
            self.name = name
            self.value = value
        }
    }

    /// HS256, HS384 or HS512.
    public var algorithm: SignatureAlgorithm
    /// The secret that the upstream knows too, at least 32 bytes.
    public var secret: [UInt8]
    /// `exp` - `iat`, in seconds.
    public var lifetimeSeconds: Int64
    /// What else every token says; `sub`, `iat` and `exp` are the minter's own.
    public var claims: [Claim]

    /// Tokens like these.
    public init(
        algorithm: SignatureAlgorithm = .hs256, secret: [UInt8], lifetimeSeconds: Int64, claims: [Claim] = []
    ) {
        self.algorithm = algorithm
        self.secret = secret
        self.lifetimeSeconds = lifetimeSeconds
        self.claims = claims
    }
}

/// Makes short-lived HMAC tokens for an upstream (RFC 7519 §7.1), in memory that is taken once.
public struct TokenMinter: ~Copyable {
    /// A subject of the verifier is never longer.
    public static let largestSubjectBytes = 256
    /// The most that a subject and two times take in the payload: each byte escaped, and 20 digits for each time.
    private static let largestVariableBytes = largestSubjectBytes * 6 + 80

    private static let subjectName = Array("{\"sub\":".utf8)
    private static let issuedAtName = Array(",\"iat\":".utf8)
    private static let expiresName = Array(",\"exp\":".utf8)

    private let key: HMACKey
    private let lifetimeSeconds: Int64
    /// The encoded header and the dot behind it: the same in every token.
    private let prefix: [UInt8]
    /// What stands behind `exp` in every payload.
    private let suffix: [UInt8]
    private var payload: [UInt8] = []
    private var text: [UInt8] = []
    private var code: [UInt8]

    /// A minter of such tokens.
    public init(_ spec: MintSpec) throws(SigningError) {
        guard spec.lifetimeSeconds > 0 else { throw .badLifetime }
        guard spec.secret.count >= KeySet.smallestSecretBytes else { throw .secretTooShort }
        guard let key = HMACKey(algorithm: spec.algorithm, secret: spec.secret.span) else {
            throw .algorithmDoesNotFitKey
        }
        let suffix = try Self.suffix(spec.claims)
        self.key = key
        self.suffix = suffix
        lifetimeSeconds = spec.lifetimeSeconds
        code = [UInt8](repeating: 0, count: key.byteCount)
        var start: [UInt8] = []
        start.append(base64URL: TokenHeader.text(spec.algorithm, keyID: nil, type: "JWT").span)
        start.append(0x2e)
        prefix = start
        payload.reserveCapacity(Self.largestVariableBytes + suffix.count)
        text.reserveCapacity(prefix.count + 2 * (Self.largestVariableBytes + suffix.count) + 128)
    }

    /// The token that `mint` made last, valid until the next call.
    public var token: Span<UInt8> {
        @_lifetime(borrow self)
        get { text.span }
    }

    /// Makes a token for `subject`, valid from `now` (Unix seconds); false where the subject is empty or longer
    /// than 256 bytes, or OpenSSL failed.
    public mutating func mint(subject: Span<UInt8>, now: Int64) -> Bool {
        text.removeAll(keepingCapacity: true)
        guard subject.count > 0, subject.count <= Self.largestSubjectBytes else { return false }
        payload.removeAll(keepingCapacity: true)
        payload.append(contentsOf: Self.subjectName)
        JSONWriter.append(string: subject, to: &payload)
        payload.append(contentsOf: Self.issuedAtName)
        JSONWriter.append(integer: now, to: &payload)
        payload.append(contentsOf: Self.expiresName)
        JSONWriter.append(integer: now + lifetimeSeconds, to: &payload)
        payload.append(contentsOf: suffix)
        text.append(contentsOf: prefix)
        Self.encode(payload, to: &text)
        guard Self.authenticate(key, text, into: &code) else {
            text.removeAll(keepingCapacity: true)
            return false
        }
        text.append(0x2e)
        Self.encode(code, to: &text)
        return true
    }

    /// Makes a token and adds it to `output`; false, and nothing added, where that is not possible.
    public mutating func mint(subject: Span<UInt8>, now: Int64, into output: inout Buffer) -> Bool {
        guard mint(subject: subject, now: now) else { return false }
        return output.append(text.span)
    }

    private static func encode(_ bytes: [UInt8], to text: inout [UInt8]) {
        text.append(base64URL: bytes.span)
    }

    private static func authenticate(_ key: HMACKey, _ text: [UInt8], into code: inout [UInt8]) -> Bool {
        var span = code.mutableSpan
        return key.authenticate(text.span, into: &span) != nil
    }

    private static func suffix(_ claims: [MintSpec.Claim]) throws(SigningError) -> [UInt8] {
        var names = ["sub", "iat", "exp"]
        var text: [UInt8] = []
        for claim in claims {
            guard !names.contains(claim.name) else { throw .reservedClaim(claim.name) }
            names.append(claim.name)
            text.append(0x2c)
            JSONWriter.append(string: claim.name, to: &text)
            text.append(0x3a)
            append(claim.value, to: &text)
        }
        text.append(0x7d)
        return text
    }

    private static func append(_ value: MintSpec.Value, to text: inout [UInt8]) {
        switch value {
        case .string(let string): JSONWriter.append(string: string, to: &text)
        case .integer(let integer): JSONWriter.append(integer: integer, to: &text)
        case .boolean(let boolean): text += Array((boolean ? "true" : "false").utf8)
        case .strings(let strings):
            text.append(0x5b)
            for (index, string) in strings.enumerated() {
                if index > 0 { text.append(0x2c) }
                JSONWriter.append(string: string, to: &text)
            }
            text.append(0x5d)
        }
    }
}
