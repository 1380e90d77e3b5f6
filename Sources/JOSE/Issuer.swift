internal import Crypto

/// An `IssuerSpec` made ready: names as bytes, keys loaded.
final class Issuer {
    /// A subject has at most as many bytes (rule H11).
    static let largestSubjectBytes = 256

    let name: [UInt8]?
    let algorithms: AlgorithmSet
    let leewaySeconds: Int64
    let requiresNamedKeys: Bool
    let fetchesKeys: Bool
    /// nil while no keys were ever loaded.
    private(set) var keys: KeySet?
    private let index: Int
    private let audiences: [[UInt8]]?
    private let subject: [ClaimPath]
    private let types: [[UInt8]]
    private let requiresType: Bool
    private let maximumLifetimeSeconds: Int64?
    private let refusedClaims: [[UInt8]]

    init(_ spec: IssuerSpec, index: Int) throws(IssuerError) {
        guard spec.audiences.map({ !$0.isEmpty }) ?? true else { throw .emptyAudience }
        guard !spec.subject.isEmpty else { throw .emptySubject }
        guard spec.leewaySeconds >= 0, spec.maximumLifetimeSeconds ?? 1 > 0 else { throw .badDuration }
        algorithms = spec.effectiveAlgorithms
        guard !algorithms.isEmpty else { throw .algorithmsDoNotFitKeySource }
        self.index = index
        name = spec.issuer.map { Array($0.utf8) }
        audiences = spec.audiences?.map { Array($0.utf8) }
        subject = spec.subject
        types = spec.types.map { TokenType.canonical(Array($0.utf8)) }
        requiresType = spec.requiresType
        requiresNamedKeys = spec.requiresNamedKeys
        fetchesKeys = spec.fetchesKeys
        leewaySeconds = min(spec.leewaySeconds, JSONNumber.largestSecond)
        maximumLifetimeSeconds = spec.maximumLifetimeSeconds
        refusedClaims = spec.refusedClaims.map { Array($0.utf8) }
        if case .pending = spec.keys { return }
        keys = try load(spec.keys)
    }

    /// Exchanges all keys at once; after an error the old ones stay (rule J7).
    func replaceKeys(_ source: IssuerSpec.KeySource) throws(IssuerError) {
        if case .pending = source { return }
        keys = try load(source)
    }

    /// Drops all keys: there are none until the next exchange.
    func removeKeys() {
        keys = nil
    }

    private func load(_ source: IssuerSpec.KeySource) throws(IssuerError) -> KeySet {
        var isSecret = false
        if case .secret = source { isSecret = true }
        guard isSecret ? algorithms.isSubset(of: .hmac) : algorithms.isDisjoint(with: .hmac) else {
            throw .algorithmsDoNotFitKeySource
        }
        return try KeySet(
            source, issuer: index, algorithms: algorithms, requiresKeyAlgorithm: requiresNamedKeys)
    }

    /// Checks `typ` (RFC 7519 §5.1); `node` is -1 where the header has none.
    func accepts(type node: Int32, _ header: borrowing JSONDocument) -> Bool {
        guard node >= 0 else { return !requiresType }
        let text = header.bytes(of: Int(node))
        for type in types where TokenType.matches(text, type.span) { return true }
        return false
    }

    /// Checks all claims of a payload whose signature holds, or that the issuer itself answered with. `expired` comes
    /// last: it alone is told to the client, and so only where nothing else is wrong. `end` stands for an `exp` that
    /// need not be there.
    func check(
        _ claims: RegisteredClaims, _ payload: borrowing JSONDocument, now: Int64, orUntil end: Int64? = nil
    ) throws(TokenRefusal) -> AcceptedClaims {
        let binding = try TokenBinding(claims.confirmation, payload)
        guard claims.expires >= 0 || (end != nil && maximumLifetimeSeconds == nil) else {
            throw .missingClaim
        }
        let expires = claims.expires < 0 ? end ?? now : try seconds(claims.expires, payload)
        let notBefore = claims.notBefore < 0 ? nil : try seconds(claims.notBefore, payload)
        let issuedAt = claims.issuedAt < 0 ? nil : try seconds(claims.issuedAt, payload)
        try checkLifetime(expires, issuedAt)
        try checkAudience(claims.audience, payload)
        for name in refusedClaims where payload.member(name.span, of: 0) != nil { throw .refusedClaim }
        let subject = try self.subject(payload)
        let latest = now + leewaySeconds
        if let notBefore, notBefore > latest { throw .notYetValid }
        if let issuedAt, issuedAt > latest { throw .issuedInTheFuture }
        guard expires + leewaySeconds > now else { throw .expired }
        // Rounded down for revocation: what was issued a moment before a second is revoked with that second.
        let issued = claims.issuedAt < 0 ? nil : try seconds(claims.issuedAt, payload, roundingUp: false)
        return AcceptedClaims(
            expires: expires, notBefore: notBefore, issuedAt: issued, subject: subject, binding: binding)
    }

    private func seconds(
        _ node: Int, _ payload: borrowing JSONDocument, roundingUp: Bool = true
    ) throws(TokenRefusal) -> Int64 {
        guard payload.node(node).kind == .number,
            let value = JSONNumber.seconds(payload.bytes(of: node), roundingUp: roundingUp)
        else {
            throw .malformedClaim
        }
        return value
    }

    private func checkLifetime(_ expires: Int64, _ issuedAt: Int64?) throws(TokenRefusal) {
        guard let maximumLifetimeSeconds else { return }
        guard let issuedAt else { throw .missingClaim }
        // An `exp` before `iat` is not too long: like every other it is told by the clock whether it is over.
        guard expires - issuedAt <= maximumLifetimeSeconds else { throw .lifetimeTooLong }
    }

    /// `aud` is a string or an array of strings (RFC 7519 §4.1.3; rules J14, J16).
    private func checkAudience(_ node: Int, _ payload: borrowing JSONDocument) throws(TokenRefusal) {
        guard node >= 0 else {
            if audiences == nil { return }
            throw .wrongAudience
        }
        let claim = payload.claim(node)
        var holds = audiences == nil
        switch claim.kind {
        case .string:
            holds = holds || isAudience(node, payload)
        case .array:
            var element = payload.firstElement(of: claim)
            while let current = element {
                guard current.kind == .string else { throw .malformedClaim }
                holds = holds || isAudience(Int(current.node), payload)
                element = payload.element(after: current, in: claim)
            }
        default:
            throw .malformedClaim
        }
        guard holds else { throw .wrongAudience }
    }

    private func isAudience(_ node: Int, _ payload: borrowing JSONDocument) -> Bool {
        guard let audiences else { return true }
        for audience in audiences where payload.equal(node, audience.span) { return true }
        return false
    }

    /// The first subject claim that is present names the user; it must be fit to stand in a header (J16, H11).
    private func subject(_ payload: borrowing JSONDocument) throws(TokenRefusal) -> Int32 {
        for path in subject {
            guard let value = payload.value(at: path) else { continue }
            guard value.kind == .string, Self.isSubject(payload.bytes(of: Int(value.node))) else {
                throw .malformedSubject
            }
            return value.node
        }
        throw .missingSubject
    }

    /// 1 to 256 visible ASCII characters, and neither comma nor semicolon: servers join repeated headers by them.
    static func isSubject(_ text: Span<UInt8>) -> Bool {
        guard text.count >= 1, text.count <= largestSubjectBytes else { return false }
        for index in 0..<text.count {
            let byte = text[index]
            guard byte >= 0x21, byte <= 0x7e, byte != 0x2c, byte != 0x3b else { return false }
        }
        return true
    }
}

/// Media types in `typ` (RFC 7515 §4.1.9): without regard to case, and `application/` may be left out where no
/// other slash follows.
enum TokenType {
    private static let prefix = Array("application/".utf8)

    /// The lower-case form without the prefix.
    static func canonical(_ text: [UInt8]) -> [UInt8] {
        let lower = text.map { lowerCase($0) }
        guard lower.starts(with: prefix), !lower.dropFirst(prefix.count).contains(0x2f) else { return lower }
        return Array(lower.dropFirst(prefix.count))
    }

    /// True where `text` means the type whose canonical form is `type`.
    static func matches(_ text: Span<UInt8>, _ type: Span<UInt8>) -> Bool {
        if text.count == type.count { return equal(text, from: 0, type) }
        guard text.count == type.count + prefix.count, equal(text, from: prefix.count, type) else {
            return false
        }
        for index in 0..<type.count where type[index] == 0x2f { return false }
        for index in 0..<prefix.count where lowerCase(text[index]) != prefix[index] { return false }
        return true
    }

    private static func equal(_ text: Span<UInt8>, from start: Int, _ type: Span<UInt8>) -> Bool {
        for index in 0..<type.count where lowerCase(text[start + index]) != type[index] { return false }
        return true
    }

    private static func lowerCase(_ byte: UInt8) -> UInt8 {
        byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
    }
}
