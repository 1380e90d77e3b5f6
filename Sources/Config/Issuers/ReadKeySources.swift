internal import Crypto

// Where an issuer's keys come from.

extension ConfigurationReader {
    private static let keySourceKeys = ["secret", "public_key", "jwks", "introspection"]

    /// `issuer` is the text of that key or what stands for it, where it is there.
    func keySource(
        _ section: Section, _ preset: ProviderPreset?, issuer: Located<String>?
    ) -> Located<KeySource>? {
        let sources = section.table.entries.filter { Self.keySourceKeys.contains($0.key) }
        guard let first = sources.first else {
            if let preset {
                return Located(value: .remote(RemoteKeys(preset.keySet)), position: preset.position)
            }
            if section.table["provider"] == nil {
                section.missing(
                    "secret", "or \"public_key\" or \"jwks\" or \"introspection\": exactly one source of keys"
                )
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
            case "secret": loader.secret(first, for: .hmacKey).map { .secret($0) }
            case "public_key": publicKey(first)
            case "introspection": introspection(first, section)
            default: keySet(first, issuer, preset)
            }
        return source.map { Located(value: $0, position: first.node.start) }
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
        let keys = PEMLabel.all(in: bytes.span).count
        guard keys > 0 else {
            loader.error(entry.node.start, "\"\(origin)\" is not PEM (\"-----BEGIN PUBLIC KEY-----\")")
            return nil
        }
        guard keys == 1 else {
            loader.error(
                entry.node.start,
                "\"\(origin)\" has \(keys) PEM texts, and a public key is one; take a JWK Set for several keys"
            )
            return nil
        }
        return .publicKey(pem: bytes, origin: origin)
    }

    private func keySet(
        _ entry: TOMLEntry, _ issuer: Located<String>?, _ preset: ProviderPreset?
    ) -> KeySource? {
        if case .string("discover") = entry.node.value { return issuer.flatMap { discovered(entry, $0) } }
        if case .table(let table) = entry.node.value, table["file"] == nil,
            preset != nil || Self.isRemote(table)
        {
            return remoteKeys(entry, table, preset)
        }
        if case .table(let table) = entry.node.value, let url = table["url"] {
            loader.error(url.position, "\"jwks\" has both \"file\" and \"url\": exactly one source of keys")
            return nil
        }
        guard let (bytes, origin) = keyFile(entry, example: "jwks.json") else { return nil }
        guard bytes.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) == UInt8(ascii: "{") else {
            loader.error(entry.node.start, "\"\(origin)\" is not a JWK Set, a JSON object with \"keys\"")
            return nil
        }
        return .keySet(json: bytes, origin: origin)
    }

    static func isPEM(_ bytes: [UInt8]) -> Bool {
        String(decoding: bytes, as: UTF8.self).contains("-----BEGIN ")
    }

    /// What `{ file = "…" }` names.
    private func keyFile(_ entry: TOMLEntry, example: String) -> (bytes: [UInt8], origin: String)? {
        guard case .table(let table) = entry.node.value else {
            loader.error(
                entry.node.start,
                "\"\(entry.key)\" must be { file = \"\(own: example)\" }, not \(own: entry.node.value.kind)",
                didYouMean: keyFileMeant(by: entry))
            return nil
        }
        let section = Section(
            "\"\(entry.key)\"", table, at: entry.node.start, keys: ["file"], loader: loader)
        if table.entries.isEmpty { section.missing("file", "the path of \(example)") }
        guard let path = section.string("file"), let bytes = loader.read(path: path.value, at: path.position)
        else { return nil }
        return (bytes, loader.resolve(path: path.value))
    }

    /// What somebody meant who wrote a string in the place of a table.
    private func keyFileMeant(by entry: TOMLEntry) -> String? {
        guard case .string(let text) = entry.node.value, !text.contains("-----") else { return nil }
        // A URL may have a key in its query: the form of it tells enough.
        if loader.hides(valueAt: entry.node.start) { return text.contains("://") ? "{ url = '…' }" : nil }
        guard entry.key == "jwks" else { return "{ file = '\(text)' }" }
        if text.contains("://") { return "{ url = '\(text)' }" }
        return Suggestion.nearest(to: text, among: ["discover"]) ?? "{ file = '\(text)' }"
    }

    /// The algorithms that the file names, or the defaults of its key source.
    func algorithms(
        _ section: Section, _ table: TOMLTable, _ preset: ProviderPreset?
    ) -> [TokenAlgorithm] {
        let isSecret = table["secret"] != nil
        let fallback = isSecret ? [.hs256] : preset?.algorithms ?? [.rs256, .es256, .edDSA]
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
                    || table["jwks"] != nil || preset != nil
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
            name.position,
            "unknown algorithm \"\(name.value)\" (known: \(own: known.joined(separator: ", ")))",
            didYouMean: better)
        return nil
    }
}
