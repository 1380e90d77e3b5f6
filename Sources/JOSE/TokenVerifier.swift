internal import Bytes
internal import Crypto

/// What became of a token.
public enum Verdict: ~Copyable {
    /// Signature and claims hold.
    case verified(VerifiedToken)
    /// They hold, but the token proves nothing before the request has proven possession of what `binding` names
    /// (rule J20).
    case bound(VerifiedToken)
    /// Something does not hold.
    case refused(TokenRefusal)
    /// The issuer's keys were never loaded: not the client's fault.
    case keysUnavailable
}

/// Verifies compact tokens (RFC 7515 §7.1, RFC 7519 §7.2) against the keys and rules of their issuers.
///
/// One for each worker: contexts and scratch memory are used again for every token.
public struct TokenVerifier: ~Copyable {
    /// A token may have at most as many bytes where nothing else is said: far above real ones, far below harm.
    public static let defaultTokenLimitBytes = 8192
    /// A higher limit cannot be configured: no header field is larger.
    public static let largestTokenLimitBytes = 65_536
    /// An `IssuerSet` is one machine word.
    public static let largestIssuerCount = 64
    /// The signature of the largest RSA key.
    private static let largestSignatureBytes = PublicKey.largestModulusBits / 8

    /// The index of the issuer that the last token was for, whatever became of it; nil where none was found.
    public private(set) var chosenIssuer: Int?
    /// True where the last token named no key, and none of its issuer's made the signature: another may have, since
    /// keys without names change unnoticed.
    public private(set) var missesNamelessKey = false
    let issuers: [Issuer]
    private let tokenLimitBytes: Int
    private var header: JSONDocument
    /// The memory for the next payload; a verified token takes it away, and `recycle` brings it back.
    private var spare: JSONDocument?
    private var signature = [UInt8](repeating: 0, count: TokenVerifier.largestSignatureBytes)

    /// A verifier for these issuers, at most 64; an `IssuerSet` names them by their indices.
    /// `tokenLimitBytes` is 1 to 65,536.
    public init(
        issuers: [IssuerSpec], tokenLimitBytes: Int = TokenVerifier.defaultTokenLimitBytes
    ) throws(IssuerFault) {
        precondition(tokenLimitBytes >= 1 && tokenLimitBytes <= Self.largestTokenLimitBytes)
        guard issuers.count <= Self.largestIssuerCount else {
            throw IssuerFault(index: Self.largestIssuerCount, error: .tooManyIssuers)
        }
        var ready: [Issuer] = []
        for (index, spec) in issuers.enumerated() {
            do throws(IssuerError) {
                ready.append(try Issuer(spec, index: index))
            } catch {
                throw IssuerFault(index: index, error: error)
            }
        }
        self.issuers = ready
        self.tokenLimitBytes = tokenLimitBytes
        header = JSONDocument(capacity: tokenLimitBytes, limits: .token)
        spare = JSONDocument(capacity: tokenLimitBytes, limits: .token)
    }

    /// Verifies a token that these issuers may have made. `route` are all that may speak on its route, where not each of
    /// them looks where the token was found: what names one of those is for nobody else (rule J4). `now` is in Unix
    /// seconds.
    public mutating func verify(
        _ token: Span<UInt8>, acceptedBy accepted: IssuerSet, of route: IssuerSet = [], now: Int64
    ) -> Verdict {
        chosenIssuer = nil
        missesNamelessKey = false
        var payload = takeDocument()
        do throws(Failure) {
            let proof = try check(token, accepted, route.union(accepted), now, &payload)
            let token = VerifiedToken(
                issuer: proof.issuer, namedOthers: namedOthers(proof.issuer, payload), key: proof.key,
                claims: proof.claims, leewaySeconds: issuers[proof.issuer].leewaySeconds, document: payload)
            return proof.claims.binding.isNone ? .verified(token) : .bound(token)
        } catch {
            spare = consume payload
            switch error {
            case .refused(let refusal): return .refused(refusal)
            case .keysUnavailable: return .keysUnavailable
            }
        }
    }

    /// Gives the memory of a token back, so that the next one allocates nothing. Optional.
    public mutating func recycle(_ token: consuming VerifiedToken) {
        let document = token.takeDocument()
        // What an issuer has answered may hold more than a token (rule J12).
        guard document.limits == .token else { return }
        spare = consume document
    }

    /// Exchanges all keys of an issuer at once (rules J7, J22); after an error the old ones stay.
    public mutating func replaceKeys(
        ofIssuer index: Int, with source: IssuerSpec.KeySource
    ) throws(IssuerError) {
        try issuers[index].replaceKeys(source)
    }

    /// Drops all keys of an issuer: its tokens get `keysUnavailable` from now on.
    public mutating func removeKeys(ofIssuer index: Int) { issuers[index].removeKeys() }

    /// True where the keys of an issuer are fetched, so that one which is not known may come.
    public func fetchesKeys(ofIssuer index: Int) -> Bool { issuers[index].fetchesKeys }

    /// True while the key is among its issuer's: cached verdicts of other keys are void (rule J6).
    public func contains(_ key: KeyIdentity, ofIssuer index: Int) -> Bool {
        issuers[index].keys?.keys.contains { $0.identity == key } ?? false
    }

    /// What became of the keys of an issuer; nil where it has none yet.
    public func keyReport(ofIssuer index: Int) -> KeySetReport? { issuers[index].keys?.report }

    private enum Failure: Error {
        case refused(TokenRefusal)
        case keysUnavailable
    }

    /// What `check` found: all that a verified token is made of, apart from its payload.
    private struct Proof {
        let issuer: Int
        let key: KeyIdentity
        let claims: AcceptedClaims
    }

    /// The way of a token: parts, header, issuer, type, key and signature, claims.
    private mutating func check(
        _ token: Span<UInt8>, _ accepted: IssuerSet, _ route: IssuerSet, _ now: Int64,
        _ payload: inout JSONDocument
    ) throws(Failure) -> Proof {
        guard token.count <= tokenLimitBytes else { throw .refused(.tooLarge) }
        guard let parts = CompactToken(token), header.load(base64URL: token.extracting(0..<parts.headerEnd)),
            payload.load(base64URL: token.extracting(parts.headerEnd + 1..<parts.payloadEnd))
        else { throw .refused(.malformed) }
        do throws(TokenRefusal) {
            let fields = try TokenHeader(header)
            let claims = RegisteredClaims(payload)
            let index = try choose(accepted, route, fields.algorithm, claims, payload)
            chosenIssuer = index
            let issuer = issuers[index]
            guard issuer.accepts(type: fields.type, header) else { throw .wrongType }
            guard let keys = issuer.keys else { throw .unknownKey }
            let key = try findKey(keys, issuer, fields, token, parts)
            let checked = try issuer.check(claims, payload, now: now)
            return Proof(issuer: index, key: key, claims: checked)
        } catch {
            if let chosenIssuer, error == .unknownKey, issuers[chosenIssuer].keys == nil {
                throw .keysUnavailable
            }
            throw .refused(error)
        }
    }

    /// The issuer that the token names: by `iss`, and by `alg` where two share one; never by trying. Only the keys
    /// of this issuer decide whether the token was right to name it (rule J4). An issuer whose `iss` is not checked
    /// serves where none of the route has the token's, whatever the `alg` and wherever that one looks: its key does not
    /// vouch for those who are named.
    private func choose(
        _ accepted: IssuerSet, _ route: IssuerSet, _ algorithm: SignatureAlgorithm,
        _ claims: RegisteredClaims,
        _ payload: borrowing JSONDocument
    ) throws(TokenRefusal) -> Int {
        guard claims.issuer < 0 || payload.node(claims.issuer).kind == .string else { throw .malformedClaim }
        let named = named(by: claims.issuer, payload)
        let isNamed = !named.isDisjoint(with: route)
        var (isKnown, fitting, count) = (false, 0, 0)
        for index in 0..<issuers.count where accepted.contains(index: index) {
            guard isNamed ? named.contains(index: index) : issuers[index].name == nil else { continue }
            isKnown = true
            guard issuers[index].algorithms.contains(algorithm) else { continue }
            (fitting, count) = (index, count + 1)
        }
        guard count > 0 else { throw isKnown ? .algorithmNotAllowed : .wrongIssuer }
        guard count == 1 else { throw .ambiguousIssuer }
        return fitting
    }

    /// All issuers that bear this `iss`, a node of the payload, or -1.
    private func named(by claim: Int, _ payload: borrowing JSONDocument) -> IssuerSet {
        guard claim >= 0, payload.node(claim).kind == .string else { return [] }
        var named: IssuerSet = []
        for index in 0..<issuers.count {
            if let name = issuers[index].name, payload.equal(claim, name.span) {
                named.formUnion(IssuerSet(index: index))
            }
        }
        return named
    }

    /// The issuers that a token which nobody has verified may be for instead of this one: those that it names, unless
    /// this one bears the name, too; all others with a name where it is a JWT whose payload is beyond our limits, or is
    /// not strict; none where it is no JWT. Whatever the token is worth, it is for nobody else than those.
    public mutating func othersNamed(inUnverified token: Span<UInt8>, than index: Int) -> IssuerSet {
        guard token.count <= tokenLimitBytes, let parts = CompactToken(token) else { return [] }
        var payload = takeDocument()
        let isRead = payload.load(base64URL: token.extracting(parts.headerEnd + 1..<parts.payloadEnd))
        var named = isRead ? named(by: RegisteredClaims(payload).issuer, payload) : []
        spare = consume payload
        if !isRead, header.load(base64URL: token.extracting(0..<parts.headerEnd)),
            header.member("alg", of: 0) != nil
        {
            let others = issuers.indices.filter { $0 != index && issuers[$0].name != nil }
            named = IssuerSet(others.map { IssuerSet(index: $0) })
        }
        return named.contains(index: index) ? [] : named
    }

    /// The issuers that a payload of this one names, where its own `iss` is not checked.
    func namedOthers(_ issuer: Int, _ payload: borrowing JSONDocument) -> IssuerSet {
        guard issuers[issuer].name == nil else { return [] }
        return named(by: RegisteredClaims(payload).issuer, payload)
    }

    /// The key that made the signature.
    private mutating func findKey(
        _ keys: KeySet, _ issuer: Issuer, _ fields: TokenHeader, _ token: Span<UInt8>, _ parts: CompactToken
    ) throws(TokenRefusal) -> KeyIdentity {
        guard fields.keyID >= 0 || !issuer.requiresNamedKeys else { throw .unknownKey }
        let text = token.extracting(parts.payloadEnd + 1..<token.count)
        guard let size = Base64URL.decodedCount(text.count) else { throw .malformed }
        guard size <= Self.largestSignatureBytes else { throw .badSignature }
        guard Self.decode(text, into: &signature) != nil else { throw .malformed }
        let signed = token.extracting(0..<parts.payloadEnd)
        let found = keys.find(
            fields.algorithm, keyID: fields.keyID < 0 ? nil : Int(fields.keyID), in: header, signed: signed,
            signature: signature.span.extracting(0..<size))
        switch found {
        case .found(let key): return key
        case .refused(let refusal):
            missesNamelessKey = fields.keyID < 0 && (refusal == .badSignature || refusal == .keyDoesNotFit)
            throw refusal
        }
    }

    private static func decode(_ text: Span<UInt8>, into signature: inout [UInt8]) -> Int? {
        var span = signature.mutableSpan
        return Base64URL.decode(text, into: &span)
    }

    mutating func takeDocument() -> JSONDocument {
        if let document = spare.take() { return document }
        return JSONDocument(capacity: tokenLimitBytes, limits: .token)
    }
}
