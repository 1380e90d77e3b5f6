internal import Bytes

/// What an issuer's own answer about a token came to (RFC 7662 §2.2).
public enum IntrospectionVerdict: ~Copyable {
    /// The token is active, and its claims hold.
    case active(VerifiedToken)
    /// It is not active, or not for this service.
    case refused(TokenRefusal)
    /// The answer is none that RFC 7662 describes.
    case unusable
}

extension JSONDocument {
    /// The member `active`, which every answer has; nil where it is not there, or no truth value.
    fileprivate var isActive: Bool? {
        guard let active = member("active", of: 0), node(active).kind == .boolean else { return nil }
        // "true" and "false" differ in their length.
        return bytes(of: active).count == 4
    }
}

/// What an introspection endpoint says of a token, as far as commands want to know it.
public enum IntrospectionAnswer {
    /// The member `active` of an answer (RFC 7662 §2.2); nil where it is no such answer.
    public static func isActive(_ text: [UInt8]) -> Bool? {
        var document = JSONDocument(forAnswer: text.span)
        return document.load(text.span) ? document.isActive : nil
    }
}

extension TokenVerifier {
    /// Takes in an issuer's answer about a token, a JSON object. The rules for claims are those for signed tokens, but
    /// that `exp` may be missing. The verdict is good for `seconds` at most, and not beyond `exp` (RFC 7662 §4). A token
    /// that is a JWT counts for nothing where those may speak that it names itself, whatever the answer says (rule J4).
    public mutating func accept(
        introspection answer: Span<UInt8>, about token: Span<UInt8>, ofIssuer index: Int, seconds: Int64,
        now: Int64
    ) -> IntrospectionVerdict {
        let namedOthers = othersNamed(inUnverified: token, than: index)
        // Not the memory for tokens: an answer may be longer than one, and have more in it.
        var payload = JSONDocument(forAnswer: answer)
        guard payload.load(answer), let isActive = payload.isActive else { return .unusable }
        guard isActive else { return .refused(.inactive) }
        guard TokenUse.isAccess(payload) else { return .refused(.wrongType) }
        let issuer = issuers[index]
        let claims = RegisteredClaims(payload)
        do throws(TokenRefusal) {
            if let name = issuer.name {
                guard claims.issuer >= 0, payload.node(claims.issuer).kind == .string,
                    payload.equal(claims.issuer, name.span)
                else { throw .wrongIssuer }
            }
            let checked = try issuer.check(claims, payload, now: now, orUntil: now + seconds)
            // Where the issuer's clock is behind, its yes may come after `exp`: whoever waits for it gets it, and nobody else.
            let end = max(now + 1, min(now + seconds, checked.expires))
            return .active(
                VerifiedToken(
                    issuer: index, namedOthers: namedOthers.union(self.namedOthers(index, payload)),
                    key: KeyIdentity(high: 0, low: 0), claims: checked,
                    leewaySeconds: claims.expires < 0 ? 0 : issuer.leewaySeconds, until: end,
                    document: payload))
        } catch {
            return .refused(error)
        }
    }
}
