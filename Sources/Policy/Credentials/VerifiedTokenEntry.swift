internal import Bytes
internal import HTTP
internal import JOSE

/// What is remembered of one verified token: its bytes, and everything that requests with it need, ready made. All
/// of it lies in one piece of memory.
struct VerifiedTokenEntry: ~Copyable {
    /// The hash of the token, filled in by the cache.
    var hash: UInt64 = 0
    /// The next entry of the bucket, filled in by the cache.
    var next: UInt32 = .max
    /// True where a request found it since the cache last looked. A token that comes once only never is, so that a
    /// flood of them does not drive out the ones in use.
    var wasUsed = false
    /// What stands for the credential where a server may be asked about it, filled in by whoever knows; else 0.
    var mark: UInt64 = 0
    /// The key that made the signature.
    private(set) var key: KeyIdentity?
    /// The issuer that the key belongs to.
    private(set) var issuer = -1
    /// The issuers that its `iss` names though it is none of theirs.
    private(set) var namedOthers: IssuerSet = []
    /// What whoever sends the token must prove to have.
    private(set) var binding = TokenBinding()
    /// The issuer whose key was used, which may be another for a session; -1 for a session's own secret.
    private(set) var keyIssuer = -1
    /// When what the token permits must end, in seconds since 1970.
    private(set) var permitsUntil: Int64 = 0
    /// `exp`, in seconds since 1970.
    private(set) var expires: Int64 = 0
    private var verifiedAt: Int64 = 0
    /// `exp` and the leeway, in seconds since 1970.
    private(set) var acceptedUntil: Int64 = 0
    private var issuers: IssuerSet = []
    private var memory = ByteArray()
    private var tokenRange = ByteRange.empty
    private var subjectRange = ByteRange.empty
    private var linesRange = ByteRange.empty
    private var scopesRange = ByteRange.empty
    /// The `jti`; empty where the token has none.
    private var tokenIDRange = ByteRange.empty
    private var issuedAt: Int64?
    private var claimsStart = 0
    /// `authorization` as minted for the upstream with that place among those that mint, good until that second.
    private var minted = ByteArray()
    private var mintedFor = -1
    private var mintedUntil: Int64 = 0

    /// An entry for no token.
    init() {}

    /// Every byte of the token.
    var token: Span<UInt8> {
        @_lifetime(borrow self)
        get { memory.span(tokenRange) }
    }

    /// The verified subject.
    var subject: Span<UInt8> {
        @_lifetime(borrow self)
        get { memory.span(subjectRange) }
    }

    /// The identity headers as they go upstream: whole lines with CRLF.
    var lines: Span<UInt8> {
        @_lifetime(borrow self)
        get { memory.span(linesRange) }
    }

    /// The bytes of a range that `nextValue` gave.
    @_lifetime(borrow self)
    func bytes(_ range: ByteRange) -> Span<UInt8> { memory.span(range) }

    /// What the entry takes, in bytes.
    var byteCount: Int { MemoryLayout<Self>.size + memory.capacity + minted.capacity }

    /// True where this is what became of exactly that token under exactly that set of issuers.
    func matches(_ token: Span<UInt8>, _ issuers: IssuerSet) -> Bool {
        self.issuers == issuers && memory.hasBytes(token, at: tokenRange)
    }

    /// True where the verdict still stands: the token has not expired, and the clock was not put back behind the
    /// second in which it was verified (which `nbf` and `iat` were compared with).
    func isGood(at now: Int64) -> Bool { now >= verifiedAt && now < acceptedUntil }

    // MARK: Filling

    /// Takes what is needed of a token that was just verified; a refusal where a claim cannot stand in its header.
    mutating func fill(
        _ token: borrowing VerifiedToken, text: Span<UInt8>, issuers: IssuerSet, now: Int64,
        _ identity: borrowing IdentityRules, _ requirements: borrowing RequirementTable
    ) -> TokenRefusal? {
        key = token.key
        issuer = token.issuer
        namedOthers = token.namedOthers
        binding = token.binding
        keyIssuer = token.keyIssuer
        permitsUntil = token.permitsUntil
        expires = token.expires
        verifiedAt = now
        acceptedUntil = token.acceptedUntil
        self.issuers = issuers
        mintedFor = -1
        memory.removeAll()
        memory.append(text)
        tokenRange = memory.range(since: 0)
        let subjectStart = memory.count
        memory.append(token.subject)
        subjectRange = memory.range(since: subjectStart)
        let linesStart = memory.count
        guard identity.appendLines(token, to: &memory) else { return .malformedClaim }
        linesRange = memory.range(since: linesStart)
        let scopesStart = memory.count
        if requirements.wantsScopes { Scopes.append(of: token, to: &memory) }
        scopesRange = memory.range(since: scopesStart)
        let tokenIDStart = memory.count
        // It should be a string (RFC 7519 §4.1.7), but a number can be named in a list, too.
        if let tokenID = token.tokenID, tokenID.kind == .string || tokenID.kind == .number {
            memory.append(token.bytes(of: tokenID))
        }
        tokenIDRange = memory.range(since: tokenIDStart)
        issuedAt = token.issuedAt
        claimsStart = memory.count
        for index in requirements.claims.indices { appendValues(requirements.claims[index], of: token) }
        return nil
    }

    /// A copy of exactly the size that it needs, for the cache.
    func compactCopy() -> VerifiedTokenEntry {
        var copy = VerifiedTokenEntry()
        copy.mark = mark
        copy.key = key
        copy.issuer = issuer
        copy.namedOthers = namedOthers
        copy.binding = binding
        copy.keyIssuer = keyIssuer
        copy.permitsUntil = permitsUntil
        copy.expires = expires
        copy.verifiedAt = verifiedAt
        copy.acceptedUntil = acceptedUntil
        copy.issuers = issuers
        copy.memory.append(memory.span)
        copy.tokenRange = tokenRange
        copy.subjectRange = subjectRange
        copy.linesRange = linesRange
        copy.scopesRange = scopesRange
        copy.tokenIDRange = tokenIDRange
        copy.issuedAt = issuedAt
        copy.claimsStart = claimsStart
        return copy
    }

    /// True where the list names this token; `issuer` is the `iss` that was checked, if any.
    func isRevoked(by list: RevocationList, issuer: [UInt8]?) -> Bool {
        let tokenID = tokenIDRange.isEmpty ? nil : copy(tokenIDRange)
        return list.revokes(
            issuer: issuer, tokenID: tokenID, subject: copy(subjectRange), issuedAt: issuedAt)
    }

    private func copy(_ range: ByteRange) -> [UInt8] {
        let bytes = memory.span(range)
        return bytes.indices.map { bytes[$0] }
    }

    // MARK: Claims that routes ask for

    /// Where the values of a claim are found: how many are left, and the offset of the next one.
    struct ValueCursor {
        var left: Int
        var offset: Int
    }

    /// The values of the claim with that number.
    func values(ofClaim number: Int) -> ValueCursor {
        var offset = claimsStart
        var number = number
        while true {
            let count = readCount(offset)
            offset &+= 4
            guard number > 0 else { return ValueCursor(left: count, offset: offset) }
            for _ in 0..<count { offset &+= 4 &+ readCount(offset) }
            number &-= 1
        }
    }

    /// The next value, or nil behind the last.
    func nextValue(_ cursor: inout ValueCursor) -> ByteRange? {
        guard cursor.left > 0 else { return nil }
        let range = ByteRange(start: cursor.offset &+ 4, count: readCount(cursor.offset))
        cursor.left &-= 1
        cursor.offset = range.end
        return range
    }

    /// True where the token has that scope.
    func hasScope(_ scope: Span<UInt8>) -> Bool { Scopes.contains(scope, in: memory.span(scopesRange)) }

    /// Writes a claim's values: their number, then each with its size before it; counts have four bytes.
    private mutating func appendValues(_ path: ClaimPath, of token: borrowing VerifiedToken) {
        let start = memory.count
        appendCount(0)
        if path == .subject {
            appendValue(token.subject)
            return setCount(1, at: start)
        }
        guard let value = token.claim(at: path) else { return }
        guard value.kind == .array else {
            guard appendScalar(value, of: token) else { return }
            return setCount(1, at: start)
        }
        var count = 0
        var element = token.firstElement(of: value)
        while let current = element {
            if appendScalar(current, of: token) { count += 1 }
            element = token.element(after: current, in: value)
        }
        setCount(count, at: start)
    }

    /// False, and nothing written, for what is no string, number or boolean: nothing equals it.
    private mutating func appendScalar(_ value: ClaimValue, of token: borrowing VerifiedToken) -> Bool {
        switch value.kind {
        case .string, .number, .boolean: appendValue(token.bytes(of: value))
        case .null, .array, .object: return false
        }
        return true
    }

    private mutating func appendValue(_ bytes: Span<UInt8>) {
        appendCount(bytes.count)
        memory.append(bytes)
    }

    private mutating func appendCount(_ count: Int) {
        for shift in 0..<4 { memory.append(UInt8(truncatingIfNeeded: count >> (8 * shift))) }
    }

    private mutating func setCount(_ count: Int, at offset: Int) {
        for shift in 0..<4 { memory[offset + shift] = UInt8(truncatingIfNeeded: count >> (8 * shift)) }
    }

    private func readCount(_ offset: Int) -> Int {
        let bytes = memory.span
        return Int(bytes[offset]) | Int(bytes[offset &+ 1]) << 8 | Int(bytes[offset &+ 2]) << 16
            | Int(bytes[offset &+ 3]) << 24
    }

    // MARK: Minted authorization

    /// The minted credentials as a whole line: what `refresh` made last.
    var mintedLine: Span<UInt8> {
        @_lifetime(borrow self)
        get { minted.span }
    }

    /// Mints anew, unless what is there is good for a while yet; false where the system failed.
    mutating func refresh(_ mint: inout Mint, number: Int, now: Int64) -> Bool {
        if mintedFor == number, now < mintedUntil, now >= verifiedAt { return true }
        var line = ByteArray()
        swap(&line, &minted)
        line.removeAll()
        let isMade = mint.append(subject: memory.span(subjectRange), now: now, to: &line)
        swap(&line, &minted)
        mintedFor = isMade ? number : -1
        guard isMade else { return false }
        mintedUntil = now + mint.freshSeconds
        return true
    }
}
