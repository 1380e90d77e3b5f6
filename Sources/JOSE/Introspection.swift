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

extension TokenVerifier {
    /// Takes in an issuer's answer about a token, a JSON object. The rules for claims are those for signed tokens, but
    /// that `exp` may be missing. The verdict is good for `seconds` at most. A token that is a JWT counts for nothing
    /// where those may speak that it names itself, whatever the answer says (rule J4).
    public mutating func accept(
        introspection answer: Span<UInt8>, about token: Span<UInt8>, ofIssuer index: Int, seconds: Int64,
        now: Int64
    ) -> IntrospectionVerdict {
        let namedOthers = othersNamed(inUnverified: token, than: index)
        var payload = takeDocument()
        guard payload.load(answer), let active = payload.member("active", of: 0),
            payload.node(active).kind == .boolean
        else { return .unusable }
        // "true" and "false" differ in their length.
        guard payload.bytes(of: active).count == 4 else { return .refused(.inactive) }
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
            return .active(
                VerifiedToken(
                    issuer: index, namedOthers: namedOthers.union(self.namedOthers(index, payload)),
                    key: KeyIdentity(high: 0, low: 0), claims: checked,
                    leewaySeconds: claims.expires < 0 ? 0 : issuer.leewaySeconds, until: now + seconds,
                    document: payload))
        } catch {
            return .refused(error)
        }
    }
}
