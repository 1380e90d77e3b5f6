/// The name of a field, interned: every name that a rule is about, or that is looked at or written often, is a
/// number. All others are `other`, and their text is in the line.
public enum FieldName: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    /// A name that no rule is about.
    case other = 0
    /// `host`
    case host
    /// `content-length`
    case contentLength
    /// `transfer-encoding`
    case transferEncoding
    /// `connection`
    case connection
    /// `keep-alive`
    case keepAlive
    /// `proxy-connection`
    case proxyConnection
    /// `te`
    case te
    /// `trailer`
    case trailer
    /// `upgrade`
    case upgrade
    /// `expect`
    case expect
    /// `authorization`
    case authorization
    /// `proxy-authorization`
    case proxyAuthorization
    /// `proxy-authenticate`
    case proxyAuthenticate
    /// `proxy-authentication-info`
    case proxyAuthenticationInfo
    /// `proxy`
    case proxy
    /// `http2-settings`
    case http2Settings
    /// `cookie`
    case cookie
    /// `set-cookie`
    case setCookie
    /// `via`
    case via
    /// `max-forwards`
    case maxForwards
    /// `forwarded`
    case forwarded
    /// `x-forwarded-for`
    case xForwardedFor
    /// `x-forwarded-host`
    case xForwardedHost
    /// `x-forwarded-proto`
    case xForwardedProto
    /// `x-forwarded-port`
    case xForwardedPort
    /// `x-forwarded-prefix`
    case xForwardedPrefix
    /// `x-forwarded-uri`
    case xForwardedURI
    /// `x-forwarded-method`
    case xForwardedMethod
    /// `x-forwarded-server`
    case xForwardedServer
    /// `x-forwarded-scheme`
    case xForwardedScheme
    /// `x-forwarded-ssl`
    case xForwardedSSL
    /// `x-forwarded-path`
    case xForwardedPath
    /// `x-forwarded-by`
    case xForwardedBy
    /// `x-forwarded-user`
    case xForwardedUser
    /// `x-forwarded-email`
    case xForwardedEmail
    /// `x-forwarded-groups`
    case xForwardedGroups
    /// `x-forwarded-preferred-username`
    case xForwardedPreferredUsername
    /// `x-forwarded-access-token`
    case xForwardedAccessToken
    /// `x-forwarded`
    case xForwarded
    /// `x-real-ip`
    case xRealIP
    /// `x-client-ip`
    case xClientIP
    /// `x-cluster-client-ip`
    case xClusterClientIP
    /// `true-client-ip`
    case trueClientIP
    /// `forwarded-for`
    case forwardedFor
    /// `x-original-forwarded-for`
    case xOriginalForwardedFor
    /// `x-original-url`
    case xOriginalURL
    /// `x-original-uri`
    case xOriginalURI
    /// `x-original-host`
    case xOriginalHost
    /// `x-original-method`
    case xOriginalMethod
    /// `x-rewrite-url`
    case xRewriteURL
    /// `x-host`
    case xHost
    /// `x-http-method-override`
    case xHTTPMethodOverride
    /// `x-http-method`
    case xHTTPMethod
    /// `x-method-override`
    case xMethodOverride
    /// `x-forwarded-client-cert`
    case xForwardedClientCertificate
    /// `x-client-cert`
    case xClientCertificate
    /// `x-ssl-client-cert`
    case xSSLClientCertificate
    /// `x-ssl-client-verify`
    case xSSLClientVerify
    /// `x-ssl-client-dn`
    case xSSLClientDN
    /// `ssl-client-cert`
    case sslClientCertificate
    /// `ssl-client-verify`
    case sslClientVerify
    /// `ssl-client-dn`
    case sslClientDN
    /// `client-cert`
    case clientCertificate
    /// `client-cert-chain`
    case clientCertificateChain
    /// `x-client-verify`
    case xClientVerify
    /// `x-client-dn`
    case xClientDN
    /// `x-arr-clientcert`
    case xArrClientCertificate
    /// `xfcc`
    case xfcc
    /// `x-request-id`
    case xRequestID
    /// `traceparent`
    case traceParent
    /// `date`
    case date
    /// `server`
    case server
    /// `content-type`
    case contentType
    /// `content-encoding`
    case contentEncoding
    /// `content-range`
    case contentRange
    /// `origin`
    case origin
    /// `referer`
    case referer
    /// `accept`
    case accept
    /// `user-agent`
    case userAgent
    /// `accept-encoding`
    case acceptEncoding
    /// `accept-language`
    case acceptLanguage
    /// `cache-control`
    case cacheControl
    /// `pragma`
    case pragma
    /// `if-none-match`
    case ifNoneMatch
    /// `if-modified-since`
    case ifModifiedSince
    /// `range`
    case range
    /// `dpop`
    case dpop
    /// `sec-websocket-key`
    case secWebSocketKey
    /// `sec-websocket-version`
    case secWebSocketVersion
    /// `sec-websocket-protocol`
    case secWebSocketProtocol
    /// `sec-websocket-extensions`
    case secWebSocketExtensions
    /// `sec-websocket-accept`
    case secWebSocketAccept
    /// `sec-fetch-mode`
    case secFetchMode
    /// `sec-fetch-site`
    case secFetchSite
    /// `access-control-request-method`
    case accessControlRequestMethod
    /// `access-control-request-headers`
    case accessControlRequestHeaders
    /// `access-control-allow-origin`
    case accessControlAllowOrigin
    /// `access-control-allow-methods`
    case accessControlAllowMethods
    /// `access-control-allow-headers`
    case accessControlAllowHeaders
    /// `access-control-allow-credentials`
    case accessControlAllowCredentials
    /// `access-control-expose-headers`
    case accessControlExposeHeaders
    /// `access-control-max-age`
    case accessControlMaxAge
    /// `www-authenticate`
    case wwwAuthenticate
    /// `location`
    case location
    /// `vary`
    case vary
    /// `age`
    case age
    /// `retry-after`
    case retryAfter
    /// `etag`
    case eTag
    /// `last-modified`
    case lastModified
    /// `content-disposition`
    case contentDisposition
    /// `allow`
    case allow
    /// `grpc-status`
    case grpcStatus
    /// `grpc-message`
    case grpcMessage
    /// `priority`
    case priority
    /// `dnt`
    case dnt
}

extension FieldName {
    /// The name in lower case, empty for `other`.
    public var text: StaticString {
        switch self {
        case .other: ""
        case .host: "host"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .connection: "connection"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .te: "te"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .authorization: "authorization"
        case .proxyAuthorization: "proxy-authorization"
        case .proxyAuthenticate: "proxy-authenticate"
        case .proxyAuthenticationInfo: "proxy-authentication-info"
        case .proxy: "proxy"
        case .http2Settings: "http2-settings"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .via: "via"
        case .maxForwards: "max-forwards"
        case .forwarded: "forwarded"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedHost: "x-forwarded-host"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedPort: "x-forwarded-port"
        case .xForwardedPrefix: "x-forwarded-prefix"
        case .xForwardedURI: "x-forwarded-uri"
        case .xForwardedMethod: "x-forwarded-method"
        case .xForwardedServer: "x-forwarded-server"
        case .xForwardedScheme: "x-forwarded-scheme"
        case .xForwardedSSL: "x-forwarded-ssl"
        case .xForwardedPath: "x-forwarded-path"
        case .xForwardedBy: "x-forwarded-by"
        case .xForwardedUser: "x-forwarded-user"
        case .xForwardedEmail: "x-forwarded-email"
        case .xForwardedGroups: "x-forwarded-groups"
        case .xForwardedPreferredUsername: "x-forwarded-preferred-username"
        case .xForwardedAccessToken: "x-forwarded-access-token"
        case .xForwarded: "x-forwarded"
        case .xRealIP: "x-real-ip"
        case .xClientIP: "x-client-ip"
        case .xClusterClientIP: "x-cluster-client-ip"
        case .trueClientIP: "true-client-ip"
        case .forwardedFor: "forwarded-for"
        case .xOriginalForwardedFor: "x-original-forwarded-for"
        case .xOriginalURL: "x-original-url"
        case .xOriginalURI: "x-original-uri"
        case .xOriginalHost: "x-original-host"
        case .xOriginalMethod: "x-original-method"
        case .xRewriteURL: "x-rewrite-url"
        case .xHost: "x-host"
        case .xHTTPMethodOverride: "x-http-method-override"
        case .xHTTPMethod: "x-http-method"
        case .xMethodOverride: "x-method-override"
        case .xForwardedClientCertificate: "x-forwarded-client-cert"
        case .xClientCertificate: "x-client-cert"
        case .xSSLClientCertificate: "x-ssl-client-cert"
        case .xSSLClientVerify: "x-ssl-client-verify"
        case .xSSLClientDN: "x-ssl-client-dn"
        case .sslClientCertificate: "ssl-client-cert"
        case .sslClientVerify: "ssl-client-verify"
        case .sslClientDN: "ssl-client-dn"
        case .clientCertificate: "client-cert"
        case .clientCertificateChain: "client-cert-chain"
        case .xClientVerify: "x-client-verify"
        case .xClientDN: "x-client-dn"
        case .xArrClientCertificate: "x-arr-clientcert"
        case .xfcc: "xfcc"
        case .xRequestID: "x-request-id"
        case .traceParent: "traceparent"
        case .date: "date"
        case .server: "server"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .contentRange: "content-range"
        case .origin: "origin"
        case .referer: "referer"
        case .accept: "accept"
        case .userAgent: "user-agent"
        case .acceptEncoding: "accept-encoding"
        case .acceptLanguage: "accept-language"
        case .cacheControl: "cache-control"
        case .pragma: "pragma"
        case .ifNoneMatch: "if-none-match"
        case .ifModifiedSince: "if-modified-since"
        case .range: "range"
        case .dpop: "dpop"
        case .secWebSocketKey: "sec-websocket-key"
        case .secWebSocketVersion: "sec-websocket-version"
        case .secWebSocketProtocol: "sec-websocket-protocol"
        case .secWebSocketExtensions: "sec-websocket-extensions"
        case .secWebSocketAccept: "sec-websocket-accept"
        case .secFetchMode: "sec-fetch-mode"
        case .secFetchSite: "sec-fetch-site"
        case .accessControlRequestMethod: "access-control-request-method"
        case .accessControlRequestHeaders: "access-control-request-headers"
        case .accessControlAllowOrigin: "access-control-allow-origin"
        case .accessControlAllowMethods: "access-control-allow-methods"
        case .accessControlAllowHeaders: "access-control-allow-headers"
        case .accessControlAllowCredentials: "access-control-allow-credentials"
        case .accessControlExposeHeaders: "access-control-expose-headers"
        case .accessControlMaxAge: "access-control-max-age"
        case .wwwAuthenticate: "www-authenticate"
        case .location: "location"
        case .vary: "vary"
        case .age: "age"
        case .retryAfter: "retry-after"
        case .eTag: "etag"
        case .lastModified: "last-modified"
        case .contentDisposition: "content-disposition"
        case .allow: "allow"
        case .grpcStatus: "grpc-status"
        case .grpcMessage: "grpc-message"
        case .priority: "priority"
        case .dnt: "dnt"
        }
    }
}
