public import Bytes
internal import Crypto

/// Verifies the sessions of one Better Auth: signed tokens, the cache in the cookie, and what the server says.
///
/// One for each worker: contexts and scratch memory are used again for every session.
public final class SessionVerifier {
    /// The largest cache, its chunks joined, in bytes.
    public static let largestCacheBytes = 65_536
    /// The largest answer of the server, in bytes.
    public static let largestAnswerBytes = largestCacheBytes

    /// The largest session token as a bearer, in bytes: one of 256 characters, signed and percent-encoded.
    public static let largestBearerBytes = 3 * (SignedSession.largestTokenBytes + 45)

    private let place: Int
    private let spec: SessionSpec
    private let version: [UInt8]
    private let keyIssuerNames: [[UInt8]]
    private let current: HMACKey
    private let identity: KeyIdentity
    private let signed: SignedSession
    private let sealed: SealedSession
    private var header = JSONDocument(capacity: 1024, limits: .token)
    /// The memory for the next payload; a verified session takes it away, and `recycle` brings it back.
    private var spare: JSONDocument?

    /// A verifier whose sessions say that they are of the issuer at `place`.
    public init(_ spec: SessionSpec, place: Int) throws(IssuerError) {
        guard let secret = spec.secrets.first else { throw .secretTooShort }
        for secret in spec.secrets {
            guard secret.count >= KeySet.smallestSecretBytes else { throw .secretTooShort }
            guard !KeySet.isPublic(secret) else { throw .secretIsPublic }
        }
        guard let current = HMACKey(algorithm: .hs256, secret: secret.span),
            let sealed = SealedSession(spec.secrets, place: place)
        else { throw .badKey(.operationFailed) }
        self.place = place
        self.spec = spec
        version = Array(spec.version.utf8)
        keyIssuerNames = spec.keyIssuerNames.map { Array($0.utf8) }
        self.current = current
        identity = KeyIdentity(issuer: place, keyID: nil, algorithms: [], material: secret)
        signed = SignedSession(current)
        self.sealed = sealed
    }

    /// True where the cookie with the cache is looked at.
    public var readsCache: Bool { spec.cache != .off }

    /// Gives the memory of a session back, so that the next one allocates nothing. Optional.
    public func recycle(_ session: consuming VerifiedToken) { spare = session.takeDocument() }

    /// Adds the token of a signed cookie's value, without quotes, to `token`; false where it is not signed with the
    /// current secret.
    public func open(cookie value: Span<UInt8>, into token: inout ByteArray) -> Bool {
        signed.open(cookie: value, into: &token)
    }

    /// The same for a bearer token in its signed form; the form without a dot is proven by nothing, and is added as it
    /// stands.
    public func open(bearer value: Span<UInt8>, into token: inout ByteArray) -> Bool {
        for index in 0..<value.count where value[index] == UInt8(ascii: ".") {
            return signed.open(bearer: value, into: &token)
        }
        token.append(value)
        return true
    }

    /// Verifies the cache of the session with that token. `verifier` has the keys of the issuer that the cache may be
    /// signed by.
    public func verify(
        cache: Span<UInt8>, token: Span<UInt8>, now: Int64, _ verifier: inout TokenVerifier
    ) -> SessionVerdict {
        guard cache.count <= Self.largestCacheBytes else { return .unusable(.tooLarge) }
        switch form(cache) {
        case .published(let issuer): return verifySigned(cache, token, issuer, now, &verifier)
        case .compact:
            return verify(token, now) { (document) throws(TokenRefusal) in
                try self.readCompact(cache, now, &document)
            }
        case .jwt:
            return verify(token, now) { (document) throws(TokenRefusal) in
                try self.readJWT(cache, now, &document)
            }
        case .jwe:
            return verify(token, now) { (document) throws(TokenRefusal) in
                let key = try self.sealed.open(cache, &self.header, into: &document)
                return Proof(key: key, root: 0, until: try Self.expiry(document, now))
            }
        case .none: return .unusable(.malformed)
        }
    }

    /// Takes in what the server says of the session with that token: it is good for `seconds`, unless it ends before.
    public func accept(answer: Span<UInt8>, token: Span<UInt8>, seconds: Int64, now: Int64) -> SessionVerdict
    {
        guard answer.count <= Self.largestAnswerBytes else { return .unusable(.tooLarge) }
        return verify(token, now, isAnswer: true) { (document) throws(TokenRefusal) in
            guard document.load(answer) else { throw .malformed }
            return Proof(key: self.identity, root: 0, until: now + seconds)
        }
    }

    // MARK: The forms

    /// What of a document is proven.
    private struct Proof {
        let key: KeyIdentity
        var keyIssuer = -1
        /// The node with `session` and `user`.
        let root: Int
        /// The end of the cache, in Unix seconds.
        let until: Int64

        init(key: KeyIdentity, root: Int, until: Int64) {
            self.key = key
            self.root = root
            self.until = until
        }
    }

    private enum Form {
        case compact, jwt, jwe
        /// A JWT with a key of that issuer.
        case published(issuer: Int)
        /// None that is accepted.
        case none
    }

    /// The form that a cache has, as far as it is one that is accepted.
    private func form(_ cache: Span<UInt8>) -> Form {
        var dots = 0
        for index in 0..<cache.count where cache[index] == UInt8(ascii: ".") { dots += 1 }
        switch (spec.cache, dots) {
        case (.compact, 0), (.any, 0): return .compact
        case (.jwt, 2): return .jwt
        case (.jwe, 4), (.any, 4): return .jwe
        case (.jwks, 2): return spec.keyIssuer.map { .published(issuer: $0) } ?? .none
        case (.any, 2):
            guard let issuer = spec.keyIssuer, namesPublicKey(cache) else { return .jwt }
            return .published(issuer: issuer)
        default: return .none
        }
    }

    /// True for a JWT whose `alg` is one of a public key. Each of the two ways refuses the algorithms of the other, so that
    /// nothing is proven by which of them is taken (rule J1).
    private func namesPublicKey(_ cache: Span<UInt8>) -> Bool {
        guard let parts = CompactToken(cache), header.load(base64URL: cache.extracting(0..<parts.headerEnd)),
            let fields = try? TokenHeader(header)
        else { return false }
        return !fields.algorithm.isHMAC
    }

    private func verify(
        _ token: Span<UInt8>, _ now: Int64, isAnswer: Bool = false,
        _ read: (inout JSONDocument) throws(TokenRefusal) -> Proof
    ) -> SessionVerdict {
        var document = takeDocument()
        do throws(TokenRefusal) {
            let proof = try read(&document)
            let facts = try facts(document, proof, token, now, isAnswer: isAnswer)
            return .verified(VerifiedToken(facts, document: document))
        } catch {
            spare = consume document
            return Self.isFinal(error) ? .refused(error) : .unusable(error)
        }
    }

    /// True for what is proven and wrong: no other answer can make it right.
    private static func isFinal(_ refusal: TokenRefusal) -> Bool {
        refusal == .contradictory || refusal == .malformedSubject
    }

    private func takeDocument() -> JSONDocument {
        if let document = spare.take() { return document }
        return JSONDocument(capacity: Self.largestCacheBytes, limits: .token)
    }

    /// `{"session":D,"expiresAt":MS,"signature":"…"}`: what is signed is D with the expiry as its last member, byte for
    /// byte as it was written. Nothing is parsed before the signature holds.
    private func readCompact(
        _ cache: Span<UInt8>, _ now: Int64, _ document: inout JSONDocument
    ) throws(TokenRefusal) -> Proof {
        guard document.decode(base64URL: cache) else { throw .malformed }
        try prove(compact: document)
        guard document.readDecoded(), let root = document.member("session", of: 0),
            let expiry = document.member("expiresAt", of: 0),
            let milliseconds = JSONNumber.seconds(document.bytes(of: expiry))
        else { throw .malformed }
        guard milliseconds / 1000 > now else { throw .expired }
        return Proof(key: identity, root: root, until: milliseconds / 1000)
    }

    private func prove(compact document: borrowing JSONDocument) throws(TokenRefusal) {
        let text = document.bytes
        guard let parts = CompactSession(text) else { throw .malformed }
        var input = ByteArray()
        input.append(text.extracting(parts.payload.lowerBound..<parts.payload.upperBound - 1))
        input.append(",\"expiresAt\":")
        input.append(text.extracting(parts.expiry))
        input.append(UInt8(ascii: "}"))
        var code = [32 of UInt8](repeating: 0)
        var room = code.mutableSpan
        guard Base64URL.decode(text.extracting(parts.signature), into: &room) == 32 else { throw .malformed }
        guard current.isValid(code.span, for: input.span) else { throw .badSignature }
    }

    /// A JWT with HS256 and no other algorithm, under the current secret.
    private func readJWT(
        _ cache: Span<UInt8>, _ now: Int64, _ document: inout JSONDocument
    ) throws(TokenRefusal) -> Proof {
        guard let parts = CompactToken(cache), header.load(base64URL: cache.extracting(0..<parts.headerEnd))
        else { throw .malformed }
        try Self.check(header)
        var code = [32 of UInt8](repeating: 0)
        var room = code.mutableSpan
        guard Base64URL.decode(cache.extracting(parts.payloadEnd + 1..<cache.count), into: &room) == 32 else {
            throw .malformed
        }
        guard current.isValid(code.span, for: cache.extracting(0..<parts.payloadEnd)) else {
            throw .badSignature
        }
        guard document.load(base64URL: cache.extracting(parts.headerEnd + 1..<parts.payloadEnd)) else {
            throw .malformed
        }
        return Proof(key: identity, root: 0, until: try Self.expiry(document, now))
    }

    private static func check(_ header: borrowing JSONDocument) throws(TokenRefusal) {
        let fields = try TokenHeader(header)
        guard fields.algorithm == .hs256 else { throw .algorithmNotAllowed }
        guard fields.type < 0 || ASCII.equals(header.bytes(of: Int(fields.type)), "JWT") else {
            throw .wrongType
        }
    }

    /// `exp`, with no leeway.
    private static func expiry(_ document: borrowing JSONDocument, _ now: Int64) throws(TokenRefusal) -> Int64
    {
        guard let node = document.member("exp", of: 0) else { throw .missingClaim }
        guard document.node(node).kind == .number, let until = JSONNumber.seconds(document.bytes(of: node))
        else { throw .malformedClaim }
        guard until > now else { throw .expired }
        return until
    }

    /// A JWT with a published key: its issuer's rules demand the type, the audience and the subject.
    private func verifySigned(
        _ cache: Span<UInt8>, _ token: Span<UInt8>, _ issuer: Int, _ now: Int64,
        _ verifier: inout TokenVerifier
    ) -> SessionVerdict {
        switch verifier.verify(cache, acceptedBy: IssuerSet(index: issuer), now: now) {
        case .keysUnavailable: return .lacksKey(issuer: issuer)
        case .refused(let refusal):
            return refusal == .unknownKey ? .lacksKey(issuer: issuer) : .unusable(refusal)
        case .bound: return .unusable(.boundToKey)
        case .verified(let proven):
            var proof = Proof(key: proven.key, root: 0, until: proven.acceptedUntil)
            proof.keyIssuer = issuer
            let document = proven.takeDocument()
            do throws(TokenRefusal) {
                let facts = try facts(document, proof, token, now, isAnswer: false)
                guard Self.isAbout(facts, token, document) else { throw .contradictory }
                guard isIssued(document) else { throw .wrongIssuer }
                return .verified(VerifiedToken(facts, document: document))
            } catch {
                return Self.isFinal(error) ? .refused(error) : .unusable(error)
            }
        }
    }

    /// True where the claims of the token itself name the session and the user that it holds.
    private static func isAbout(
        _ facts: SessionFacts, _ token: Span<UInt8>, _ document: borrowing JSONDocument
    ) -> Bool {
        guard let sid = document.member("sid", of: 0), let sub = document.member("sub", of: 0) else {
            return false
        }
        return document.equal(sid, token) && document.equal(sub, document.bytes(of: facts.subject))
    }

    /// True where the claims name who may issue it.
    private func isIssued(_ document: borrowing JSONDocument) -> Bool {
        guard let issuer = document.member("iss", of: 0), document.node(issuer).kind == .string else {
            return false
        }
        for name in keyIssuerNames where document.equal(issuer, name.span) { return true }
        return false
    }

    // MARK: The content

    /// What a proven document says, where it all fits together.
    private func facts(
        _ document: borrowing JSONDocument, _ proof: Proof, _ token: Span<UInt8>, _ now: Int64, isAnswer: Bool
    ) throws(TokenRefusal) -> SessionFacts {
        guard let session = document.member("session", of: proof.root),
            let user = document.member("user", of: proof.root), document.node(session).kind == .object,
            document.node(user).kind == .object
        else { throw .malformed }
        if !isAnswer, !hasVersion(document, proof.root) { throw .otherVersion }
        let ends = try Self.seconds("expiresAt", of: session, document)
        guard isAnswer || ends != nil else { throw .missingClaim }
        if let ends, ends <= now { throw .expired }
        guard let subject = document.member("id", of: user) else { throw .missingSubject }
        guard document.node(subject).kind == .string, Issuer.isSubject(document.bytes(of: subject)) else {
            throw .malformedSubject
        }
        try Self.require("token", of: session, in: document, toBe: token, isAnswer)
        try Self.require("userId", of: session, in: document, toBe: document.bytes(of: subject), isAnswer)
        let identifier = document.member("id", of: session) ?? -1
        return SessionFacts(
            place: place, keyIssuer: proof.keyIssuer, key: proof.key, expires: ends ?? proof.until,
            acceptedUntil: min(proof.until, ends ?? proof.until),
            createdAt: try Self.seconds("createdAt", of: session, document), root: proof.root, user: user,
            subject: subject, identifier: identifier)
    }

    /// A server may leave out what it was asked about; a cache may not.
    private static func require(
        _ name: StaticString, of session: Int, in document: borrowing JSONDocument,
        toBe expected: Span<UInt8>,
        _ mayBeAbsent: Bool
    ) throws(TokenRefusal) {
        guard let node = document.member(name, of: session) else {
            if mayBeAbsent { return }
            throw .missingClaim
        }
        guard document.node(node).kind == .string, document.equal(node, expected) else {
            throw .contradictory
        }
    }

    private func hasVersion(_ document: borrowing JSONDocument, _ root: Int) -> Bool {
        guard let node = document.member("version", of: root) else { return spec.version == "1" }
        let version = version
        return document.node(node).kind == .string && document.equal(node, version.span)
    }

    /// A moment of the session; nil where it is not there, or null.
    private static func seconds(
        _ name: StaticString, of object: Int, _ document: borrowing JSONDocument
    ) throws(TokenRefusal) -> Int64? {
        guard let node = document.member(name, of: object), document.node(node).kind != .null else {
            return nil
        }
        guard document.node(node).kind == .string, let seconds = ISODate.seconds(document.bytes(of: node))
        else { throw .malformedClaim }
        return seconds
    }
}

extension JSONDocument {
    /// The value of the member with that name, or nil.
    func member(_ name: StaticString, of object: Int) -> Int? {
        guard node(object).kind == .object else { return nil }
        var index = firstChild(of: object)
        while let current = index {
            if ASCII.equals(bytes(of: current), name) { return current + 1 }
            index = sibling(after: current + 1, in: object)
        }
        return nil
    }
}
