public import Bytes
public import HTTP

/// The text of the answers that the proxy makes itself: problem+json (RFC 9457) and the challenge (RFC 6750 §3).
///
/// The text depends on the code alone, so that nobody learns from it which check a token failed (J21).
public enum Problem {
    /// The largest body, in bytes: a bound for whoever makes room.
    public static let maximumByteCount = 512

    /// The media type of the body.
    public static var mediaType: StaticString { "application/problem+json" }

    /// A 405 names what can be asked (RFC 9110 §15.5.6): any method but those two that nobody's backend gets.
    public static var allowField: StaticString { "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" }

    /// The exact size of the body for this code, in bytes.
    public static func byteCount(_ code: ReasonCode) -> Int {
        let code = shown(code)
        return fixedByteCount + 2 * code.text.utf8CodeUnitCount + code.title.utf8CodeUnitCount
            + detail(code).utf8CodeUnitCount
    }

    /// Adds the body for this code, which has a status; false, and nothing is written, where it does not fit.
    public static func append(_ code: ReasonCode, to buffer: inout Buffer) -> Bool {
        precondition(code.status >= 400, "a code for the log alone has no answer")
        guard buffer.room >= byteCount(code) else { return false }
        let code = shown(code)
        HeaderWriter.put(opening, &buffer)
        HeaderWriter.put(code.text, &buffer)
        HeaderWriter.put(title, &buffer)
        HeaderWriter.put(code.title, &buffer)
        HeaderWriter.put(status, &buffer)
        var divisor: UInt16 = 100
        while divisor > 0 {
            _ = buffer.append(UInt8(truncatingIfNeeded: code.status / divisor % 10) + 48)
            divisor /= 10
        }
        HeaderWriter.put(detailMember, &buffer)
        HeaderWriter.put(detail(code), &buffer)
        HeaderWriter.put(codeMember, &buffer)
        HeaderWriter.put(code.text, &buffer)
        HeaderWriter.put(ending, &buffer)
        return true
    }

    /// What the client is told: with `denied = 404` the same as where there is no route, or it would tell that there is
    /// something. The log tells the two apart.
    private static func shown(_ code: ReasonCode) -> ReasonCode { code == .notFound ? .noRoute : code }

    private static var opening: StaticString { "{\"type\":\"urn:problem-type:usher:" }
    private static var title: StaticString { "\",\"title\":\"" }
    private static var status: StaticString { "\",\"status\":" }
    private static var detailMember: StaticString { ",\"detail\":\"" }
    private static var codeMember: StaticString { "\",\"code\":\"" }
    private static var ending: StaticString { "\"}\n" }

    private static var fixedByteCount: Int {
        opening.utf8CodeUnitCount + title.utf8CodeUnitCount + status.utf8CodeUnitCount + 3
            + detailMember.utf8CodeUnitCount + codeMember.utf8CodeUnitCount + ending.utf8CodeUnitCount
    }

    /// What the client can do about it: one sentence for each code, without a character that JSON escapes.
    static func detail(_ code: ReasonCode) -> StaticString {
        switch code {
        case .ok, .clientClosed, .upgraded, .shutDown, .upstreamTruncated, .idleTimeout: ""
        case .badRequest: "The request breaks a rule of HTTP and was not passed on."
        case .tooLarge: "Send a smaller body."
        case .uriTooLong: "Send a shorter target."
        case .headersTooLarge: "Send fewer or shorter header fields."
        case .methodNotAllowed: "This method is not passed on."
        case .expectationFailed: "Only 100-continue can be expected."
        case .requestTimeout: "Send the whole request in time."
        case .tokenMissing: "Send a bearer token in the Authorization header."
        case .tokenInvalid: "The token was not accepted. Get a new one."
        case .tokenExpired: "Get a new token."
        case .insufficientScope: "Get a token with the scopes named in WWW-Authenticate."
        case .notYours: "The token is good, but this is for another user or role."
        case .forbidden: "Whoever asks is not allowed to ask here."
        case .originRefused: "The request comes from an origin that is not trusted."
        case .noRoute, .notFound: "Nothing is served under this method, host and path."
        case .rateLimited: "Wait as long as Retry-After says."
        case .notImplemented: "Send the request in another way."
        case .versionNotSupported: "Use HTTP/1.1."
        case .upstreamUnavailable: "Try again later."
        case .upstreamTimeout: "The answer did not come in time."
        case .upstreamInvalidResponse: "The answer broke a rule of HTTP and was not passed on."
        case .keysUnavailable: "Try again later: the token could not be checked."
        case .authenticationUnavailable: "Try again later: it could not be checked who sends this."
        case .sharedUnavailable: "Try again later: it could not be checked whether this may pass."
        case .overloaded: "Try again later."
        case .internalError: "The failure was logged."
        }
    }
}

extension PolicySnapshot {
    /// Adds the value of `WWW-Authenticate` for a rejection that `challenges` (RFC 6750 §3): no `error` where no
    /// token came, and no reason ever. False where it does not fit; what was written then is to be dropped.
    public func appendChallenge(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        precondition(rejection.challenges, "only 401 and insufficient_scope challenge")
        let schemes = proofs.schemes(route: rejection.route)
        guard !schemes.bearer || appendBearerChallenge(rejection, to: &buffer) else { return false }
        guard schemes.proof else { return true }
        return (!schemes.bearer || buffer.append(", ")) && appendProofChallenge(rejection, to: &buffer)
    }

    /// The length in bytes of the scopes that a challenge names, once for each scheme; the rest is short.
    public func scopeByteCount(_ rejection: Rejection) -> Int {
        guard rejection.code == .insufficientScope, let route = rejection.route else { return 0 }
        return 2 * routes.requirements.scopeByteCount(route)
    }

    private func appendBearerChallenge(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        buffer.append("Bearer realm=\"usher\"") && appendTokenError(rejection, to: &buffer)
    }

    /// Adds what RFC 6750 §3.1 says of a token.
    func appendTokenError(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        switch rejection.code {
        case .tokenInvalid:
            return buffer.append(", error=\"invalid_token\", error_description=\"The token is not valid\"")
        case .tokenExpired:
            return buffer.append(", error=\"invalid_token\", error_description=\"The token has expired\"")
        case .insufficientScope:
            guard let route = rejection.route else { return true }
            return buffer.append(", error=\"insufficient_scope\", scope=\"")
                && routes.requirements.appendScopes(route, to: &buffer) && buffer.append("\"")
        default:
            return true
        }
    }
}
