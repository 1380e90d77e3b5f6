extension ConfigurationReader {
    static let issuerKeys = Section.Keys(
        known: [
            "issuer", "audience", "secret", "public_key", "jwks", "algorithms", "subject", "types",
            "required_type", "leeway", "maximum_lifetime", "refuse_claims", "token_from",
        ], later: ["provider", "url", "introspection", "dpop"],
        laterNested: ["introspection": ["url", "client_id", "client_secret", "cache_for"]])

    /// What a route's set of issuers has room for.
    static let maximumIssuers = 64

    /// All `[issuer.NAME]`; those whose keys cannot be had are left out, with an error.
    func issuers(_ section: Section) -> [IssuerConfiguration] {
        let tables = section.namedTables("issuer")
        if tables.count > Self.maximumIssuers {
            loader.error(
                tables[Self.maximumIssuers].name.position,
                "there are \(tables.count) issuers; at most \(Self.maximumIssuers) are possible")
        }
        return tables.compactMap(issuer)
    }

    private func issuer(_ named: NamedTable) -> IssuerConfiguration? {
        if named.name.value == "none" {
            loader.error(
                named.name.position, "an issuer cannot be named \"none\": auth = \"none\" means nobody")
        }
        let section = Section(
            "[issuer.\(named.name.value)]", named.table, at: named.position, keys: Self.issuerKeys,
            loader: loader)
        checkTokenFrom(section)
        let issuer = exactIssuer(section)
        let audience = audience(section)
        let keys = keySource(section)
        let algorithms = algorithms(section, named.table)
        let zero = Duration.zero
        let lifetime = section.setting("maximum_lifetime", .duration, in: .seconds(1) ... .days(3650))
        let leeway = section.duration("leeway", default: .seconds(30), in: zero ... .seconds(600))
        let subject = claimPaths(section, "subject") ?? ["sub"]
        let types = names(section, "types", "accepted types such as [\"JWT\"]") ?? ["JWT", "at+jwt"]
        let refused = section.strings("refuse_claims") ?? []
        let requiredType = section.boolean("required_type", default: false)
        refuseEmpty(refused, "a claim's name in \"refuse_claims\"")
        guard let keys else { return nil }
        let configuration = IssuerConfiguration(
            name: named.name.value, issuer: issuer, audience: audience, keySource: keys.value,
            keyPosition: keys.position, algorithms: algorithms, subject: subject, types: types,
            requiredType: requiredType, leeway: leeway, maximumLifetime: lifetime.value(default: nil),
            refuseClaims: refused.map(\.value), position: named.position)
        checkKeys(configuration)
        return configuration
    }

    /// Nil = not checked.
    private func exactIssuer(_ section: Section) -> String? {
        if section.table["issuer"] == nil, section.table["provider"] == nil {
            section.missing("issuer", "the exact \"iss\" of its tokens, or \"*\"")
        }
        guard let text = section.string("issuer") else { return nil }
        if text.value.isEmpty {
            loader.error(text.position, "\"issuer\" is empty; \"*\" would mean: not checked")
        }
        return text.value == "*" ? nil : text.value
    }

    /// Nil = not checked. Never left out: a token for another service must not pass by an oversight (J14).
    private func audience(_ section: Section) -> [String]? {
        guard let entry = section.table["audience"] else {
            if section.table["provider"] == nil {
                section.missing("audience", "the \"aud\" values that mean this service, or \"*\" (J14)")
            }
            return nil
        }
        guard let values = section.strings("audience", single: true) else { return nil }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"audience\" is empty; \"*\" would mean: not checked (J14)")
        }
        refuseEmpty(values, "an audience")
        if values.contains(where: { $0.value == "*" }) {
            if values.count > 1 {
                loader.error(entry.node.start, "\"*\" stands alone: it means that \"aud\" is not checked")
            }
            return nil
        }
        return values.map(\.value)
    }

    private func refuseEmpty(_ values: [Located<String>], _ what: String) {
        for value in values where value.value.isEmpty { loader.error(value.position, "\(what) is empty") }
    }

    /// A list of names that is not empty and has none twice.
    private func names(_ section: Section, _ key: String, _ example: String) -> [String]? {
        guard let entry = section.table[key], let values = section.strings(key) else { return nil }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"\(key)\" is empty; list \(example), or leave it out")
        }
        refuseEmpty(values, "a value of \"\(key)\"")
        return values.map(\.value)
    }

    private func claimPaths(_ section: Section, _ key: String) -> [String]? {
        guard let entry = section.table[key], let values = section.strings(key, single: true) else {
            return nil
        }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"\(key)\" is empty; name the claims that may hold the user")
        }
        return values.filter { loader.isClaimPath($0) }.map(\.value)
    }

    private func checkTokenFrom(_ section: Section) {
        guard let entry = section.table["token_from"], let places = section.strings("token_from") else {
            return
        }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"token_from\" is empty; leave it out for [\"header\"]")
        }
        for place in places where place.value != "header" {
            let isLater =
                place.value == "websocket" || place.value.hasPrefix("cookie:")
                || place.value.hasPrefix("query:")
            if isLater {
                loader.error(place.position, "token_from \"\(place.value)\" is not supported yet")
            } else {
                loader.error(
                    place.position, "\"token_from\" must hold \"header\", not \"\(place.value)\"",
                    didYouMean: Suggestion.nearest(to: place.value, among: ["header", "websocket"]))
            }
        }
    }
}

// MARK: - Keys

extension ConfigurationReader {
    private static let keySourceKeys = ["secret", "public_key", "jwks"]

    private func keySource(_ section: Section) -> Located<KeySource>? {
        let sources = section.table.entries.filter { Self.keySourceKeys.contains($0.key) }
        guard let first = sources.first else {
            if section.table["provider"] == nil, section.table["introspection"] == nil {
                section.missing("secret", "or \"public_key\" or \"jwks\": exactly one source of keys")
            }
            return nil
        }
        for other in sources.dropFirst() {
            loader.error(
                other.position,
                "\(section.title) has both \"\(first.key)\" and \"\(other.key)\": exactly one source of keys")
        }
        let source: KeySource? =
            switch first.key {
            case "secret": hmacKey(first).map { .secret($0) }
            case "public_key": publicKey(first)
            default: keySet(first)
            }
        return source.map { Located(value: $0, position: first.node.start) }
    }

    /// A PEM text as an HMAC secret is the classic confusion of algorithms (J1).
    private func hmacKey(_ entry: TOMLEntry) -> Secret? {
        guard let secret = loader.secret(entry, for: .hmacKey) else { return nil }
        if Self.isPEM(secret.bytes) {
            loader.error(
                entry.node.start, "\"secret\" is a PEM text; a public key belongs under \"public_key\" (J1)")
            return nil
        }
        return secret
    }

    private func publicKey(_ entry: TOMLEntry) -> KeySource? {
        guard let (bytes, origin) = keyFile(entry, example: "issuer.pem") else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        if text.contains("PRIVATE KEY-----") {
            loader.error(
                entry.node.start,
                "\"\(origin)\" is a private key; give usher the public one (`openssl pkey -pubout`)")
            return nil
        }
        guard Self.isPEM(bytes) else {
            loader.error(entry.node.start, "\"\(origin)\" is not PEM (\"-----BEGIN PUBLIC KEY-----\")")
            return nil
        }
        return .publicKey(pem: bytes, origin: origin)
    }

    private func keySet(_ entry: TOMLEntry) -> KeySource? {
        if case .string("discover") = entry.node.value {
            loader.error(entry.node.start, "jwks = \"discover\" is not supported yet")
            return nil
        }
        guard let (bytes, origin) = keyFile(entry, example: "jwks.json") else { return nil }
        guard bytes.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) == UInt8(ascii: "{") else {
            loader.error(entry.node.start, "\"\(origin)\" is not a JWK Set, a JSON object with \"keys\"")
            return nil
        }
        return .keySet(json: bytes, origin: origin)
    }

    private static func isPEM(_ bytes: [UInt8]) -> Bool {
        String(decoding: bytes, as: UTF8.self).contains("-----BEGIN ")
    }

    /// What `{ file = "…" }` names.
    private func keyFile(_ entry: TOMLEntry, example: String) -> (bytes: [UInt8], origin: String)? {
        guard case .table(let table) = entry.node.value else {
            var hint: String?
            if case .string(let path) = entry.node.value, !path.contains("-----") {
                hint = "{ file = '\(path)' }"
            }
            loader.error(
                entry.node.start,
                "\"\(entry.key)\" must be { file = \"\(example)\" }, not \(entry.node.value.kind)",
                didYouMean: hint)
            return nil
        }
        let later = entry.key == "jwks" ? ["url", "refresh", "cooldown", "stale_for", "ca"] : []
        let section = Section(
            "\"\(entry.key)\"", table, at: entry.node.start, keys: .init(known: ["file"], later: later),
            loader: loader)
        if table.entries.isEmpty { section.missing("file", "the path of \(example)") }
        guard let path = section.string("file"), let bytes = loader.read(path: path.value, at: path.position)
        else { return nil }
        return (bytes, loader.resolve(path: path.value))
    }

    /// The algorithms that the file names, or the defaults of its key source.
    private func algorithms(_ section: Section, _ table: TOMLTable) -> [TokenAlgorithm] {
        let isSecret = table["secret"] != nil
        let fallback: [TokenAlgorithm] = isSecret ? [.hs256] : [.rs256, .es256, .edDSA]
        guard let entry = table["algorithms"], let names = section.strings("algorithms") else {
            return fallback
        }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"algorithms\" is empty; leave it out for the default")
        }
        var algorithms: [TokenAlgorithm] = []
        for name in names {
            guard let algorithm = algorithm(name) else { continue }
            if algorithms.contains(algorithm) {
                loader.error(name.position, "the algorithm \(algorithm.rawValue) is named twice")
            } else if algorithm.isHMAC != isSecret,
                table["secret"] != nil || table["public_key"] != nil
                    || table["jwks"] != nil
            {
                let keys =
                    isSecret ? "a secret is for HS256, HS384 and HS512" : "HMAC never mixes with public keys"
                loader.error(name.position, "\(algorithm.rawValue) does not fit the keys: \(keys) (J1)")
            }
            algorithms.append(algorithm)
        }
        return algorithms
    }

    private func algorithm(_ name: Located<String>) -> TokenAlgorithm? {
        if let algorithm = TokenAlgorithm(rawValue: name.value) { return algorithm }
        if name.value.lowercased() == "none" {
            loader.error(
                name.position, "\"\(name.value)\" is no algorithm: unsigned tokens are never accepted (J2)")
            return nil
        }
        let known = TokenAlgorithm.allCases.map(\.rawValue)
        let better = name.value == "Ed25519" ? "EdDSA" : Suggestion.nearest(to: name.value, among: known)
        loader.error(
            name.position, "unknown algorithm \"\(name.value)\" (known: \(known.joined(separator: ", ")))",
            didYouMean: better)
        return nil
    }
}

extension Loader {
    /// A claim's name, or names joined by dots, at most 256 bytes; else an error.
    func isClaimPath(_ text: Located<String>) -> Bool {
        let steps = text.value.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if steps.allSatisfy({ !$0.isEmpty }), text.value.utf8.count <= 256 { return true }
        error(text.position, "\"\(text.value)\" is not a claim: a name, or names joined by dots")
        return false
    }
}
