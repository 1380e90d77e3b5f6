/// Why an exchange ended as it did: the closed list of `code` in problem+json (RFC 9457) and of `reason` in the log.
public enum ReasonCode: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    // Only in the log.
    case ok, clientClosed, upgraded, shutDown, upstreamTruncated, idleTimeout
    // 4xx: the request is at fault.
    case badRequest, tooLarge, uriTooLong, headersTooLarge, methodNotAllowed, expectationFailed,
        requestTimeout
    case tokenMissing, tokenInvalid, tokenExpired
    case insufficientScope, notYours, forbidden, originRefused
    case noRoute, notFound, rateLimited
    // 5xx: this side is.
    case notImplemented, versionNotSupported
    case upstreamUnavailable, upstreamTimeout, upstreamInvalidResponse, keysUnavailable,
        authenticationUnavailable, sharedUnavailable, overloaded
    case internalError

    /// The status of the answer, or 0 where no answer is made and the code is for the log alone.
    public var status: UInt16 {
        switch self {
        case .ok, .clientClosed, .upgraded, .shutDown, .upstreamTruncated, .idleTimeout: 0
        case .badRequest: 400
        case .tokenMissing, .tokenInvalid, .tokenExpired: 401
        case .insufficientScope, .notYours, .forbidden, .originRefused: 403
        case .noRoute, .notFound: 404
        case .methodNotAllowed: 405
        case .requestTimeout: 408
        case .tooLarge: 413
        case .uriTooLong: 414
        case .expectationFailed: 417
        case .rateLimited: 429
        case .headersTooLarge: 431
        case .internalError: 500
        case .notImplemented: 501
        case .upstreamInvalidResponse: 502
        case .upstreamUnavailable, .keysUnavailable, .authenticationUnavailable, .sharedUnavailable,
            .overloaded:
            503
        case .upstreamTimeout: 504
        case .versionNotSupported: 505
        }
    }

    /// The code as it stands in `code` and in the access log.
    public var text: StaticString {
        switch self {
        case .ok: "ok"
        case .clientClosed: "client_closed"
        case .upgraded: "upgraded"
        case .shutDown: "shut_down"
        case .upstreamTruncated: "upstream_truncated"
        case .idleTimeout: "idle_timeout"
        case .badRequest: "bad_request"
        case .tooLarge: "too_large"
        case .uriTooLong: "uri_too_long"
        case .headersTooLarge: "headers_too_large"
        case .methodNotAllowed: "method_not_allowed"
        case .expectationFailed: "expectation_failed"
        case .requestTimeout: "request_timeout"
        case .tokenMissing: "token_missing"
        case .tokenInvalid: "token_invalid"
        case .tokenExpired: "token_expired"
        case .insufficientScope: "insufficient_scope"
        case .notYours: "not_yours"
        case .forbidden: "forbidden"
        case .originRefused: "origin_refused"
        case .noRoute: "no_route"
        case .notFound: "not_found"
        case .rateLimited: "rate_limited"
        case .notImplemented: "not_implemented"
        case .versionNotSupported: "version_not_supported"
        case .upstreamUnavailable: "upstream_unavailable"
        case .upstreamTimeout: "upstream_timeout"
        case .upstreamInvalidResponse: "upstream_invalid_response"
        case .keysUnavailable: "keys_unavailable"
        case .authenticationUnavailable: "authentication_unavailable"
        case .sharedUnavailable: "shared_unavailable"
        case .overloaded: "overloaded"
        case .internalError: "internal_error"
        }
    }

    /// The `title` of the problem: one short sentence that is the same for every occurrence.
    public var title: StaticString {
        switch self {
        case .ok, .clientClosed, .upgraded, .shutDown, .upstreamTruncated, .idleTimeout: ""
        case .badRequest: "The request is malformed."
        case .tooLarge: "The request body is too large."
        case .uriTooLong: "The request target is too long."
        case .headersTooLarge: "The request header is too large."
        case .methodNotAllowed: "The method is not allowed."
        case .expectationFailed: "The expectation cannot be met."
        case .requestTimeout: "The request took too long to arrive."
        case .tokenMissing: "A token is required."
        case .tokenInvalid: "The token is not valid."
        case .tokenExpired: "The token has expired."
        case .insufficientScope: "The token lacks a scope."
        case .notYours: "This belongs to somebody else."
        case .forbidden: "Access is denied."
        case .originRefused: "The origin is not trusted."
        case .noRoute, .notFound: "There is nothing here."
        case .rateLimited: "Too many requests."
        case .notImplemented: "The request needs something that is not implemented."
        case .versionNotSupported: "The HTTP version is not supported."
        case .upstreamUnavailable: "The backend is not available."
        case .upstreamTimeout: "The backend took too long."
        case .upstreamInvalidResponse: "The backend gave an invalid answer."
        case .keysUnavailable: "The keys to verify tokens are not available."
        case .authenticationUnavailable: "The server that knows these credentials is not available."
        case .sharedUnavailable: "The store that proxies share is not available."
        case .overloaded: "The proxy is overloaded."
        case .internalError: "The proxy failed."
        }
    }

    /// The reason phrase of a status line (RFC 9110 §15), empty for a status that the proxy does not make.
    public static func phrase(for status: UInt16) -> StaticString {
        switch status {
        case 100: "Continue"
        case 101: "Switching Protocols"
        case 200: "OK"
        case 204: "No Content"
        case 302: "Found"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 417: "Expectation Failed"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: ""
        }
    }
}
