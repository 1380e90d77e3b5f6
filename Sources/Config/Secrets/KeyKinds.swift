/// What is known of the file's keys: whether their values may be shown.
///
/// A key that stands nowhere here may hold anything, so that its value is not shown.
enum KeyKinds {
    /// Keys whose values are secrets, or may be: claims of minted tokens and attributes are whatever the user makes them.
    static let secret: Set<String> = [
        "secret", "secrets", "token", "bearer", "client_secret", "password", "claims", "resource",
    ]

    /// Keys whose value is a secret in some of its forms.
    static let guarded: Set<String> = ["redis", "authorization", "mint", "introspection"]

    /// Keys of the root below which the user names tables.
    static let named: Set<String> = ["listen", "upstream", "issuer", "session", "cors", "rate_limit"]

    /// Keys that hold a path, where somebody may put what belongs into the file.
    static let paths: Set<String> = [
        "ca", "certificate", "client_ca", "file", "jwks", "key", "ocsp", "public_key", "takeover",
    ]

    /// Tables where secrets are at home, with the keys that they may have: another key there may hold one.
    static let strict: [String: Set<String>] = [
        "authorization": ["bearer", "mint"], "mint": ["algorithm", "secret", "lifetime", "claims"],
        "introspection": Set(ConfigurationReader.introspectionKeys), "admin": ["address", "token", "names"],
        "shared": Set(ConfigurationReader.sharedKeys), "tracing": Set(ConfigurationReader.tracingKeys),
    ]

    /// All other keys.
    static let plain: Set<String> = [
        "1xx", "2xx", "3xx", "4xx", "5xx", "access", "access_format", "address", "admin", "algorithm",
        "algorithms",
        "audience", "auth", "balance", "body_timeout", "buffer_bytes", "burst", "cache_for", "certificates",
        "client_auth", "client_id", "connect_timeout", "connections", "connections_per_address",
        "consecutive_failures", "continue_from", "cookie_cache", "cookie_cache_version", "cookie_prefix",
        "cooldown",
        "cors", "credentials", "denied", "dpop", "dpop_lifetime", "dpop_nonce", "drain_timeout", "eject",
        "env",
        "expose_headers", "failed_authentications", "for", "format", "handshake_timeout", "header_bytes",
        "header_count", "header_timeout", "headers", "health", "healthy_after", "host", "hsts", "identity",
        "idle_timeout", "include", "include_subdomains", "interval", "issuer", "leeway", "level",
        "lifetime", "limits", "listen", "log", "max_age", "max_body", "max_connections", "max_pending",
        "maximum_lifetime", "methods", "minimum_version", "mode", "names", "origins", "path", "per", "prefix",
        "preload", "preserve_host", "protocol", "protocols", "provider", "proxy_protocol", "rate_limit",
        "redirect",
        "refresh", "refuse_claims", "requests", "require", "required_type", "resolve_interval",
        "response_timeout",
        "retries", "revocation", "revocations_kept", "rewrite", "route", "sample", "sampled_by", "scopes",
        "secure_cookies", "server_name", "servers", "service", "session", "shared", "sign_in", "slow_start",
        "stale_for", "stream_lifetime", "strip", "strip_prefix", "subject", "target_bytes", "tickets",
        "timeout",
        "tls", "token_bytes", "token_from", "tokens_cached", "tracing", "trusted_origins", "trusted_proxies",
        "types",
        "unhealthy_after", "upstream", "url", "watch", "weight", "when_unavailable", "workers",
    ]

    /// All of them.
    static let all = secret.union(guarded).union(paths).union(plain)

    private static let notPlain = all.subtracting(plain)

    /// What names of secrets are made of.
    private static let suspicious = [
        "secret", "token", "pass", "pw", "key", "auth", "bearer", "cred", "priv", "salt", "hmac", "redis",
        "cookie", "api",
        "hash", "pin", "code", "seed",
    ]

    /// Whether an unknown key is a slip of a plain one, and of no other: its value may be shown like that one's. `table` is
    /// the key of the table that it stands in.
    static func isSlip(_ key: String, in table: String = "") -> Bool {
        let folded = key.lowercased()
        let meant = strict[table].map(plain.intersection) ?? plain
        return Suggestion.nearest(to: key, among: meant) != nil
            && Suggestion.nearest(to: key, among: notPlain) == nil
            && !suspicious.contains { folded.range(ofFirst: $0) != nil }
    }

    /// Whether a key may be shown where keys of secrets are expected: what is longer may be one.
    static func isShort(_ key: String) -> Bool {
        key.utf8.count <= 12 && key.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == 0x5F }
    }
}
