extension Loader {
    /// What a secret is for: how long it must be.
    enum SecretUse {
        /// An HMAC key: at least 32 bytes (J19).
        case hmacKey
        /// A bearer token: characters that can stand in a header.
        case bearerToken
        /// Something that the proxy logs in with.
        case password
        /// What an OAuth client has besides its name.
        case clientSecret
        /// The value of a header field: no line ends, no control characters.
        case headerValue
    }

    /// Better Auth's default, which is in its public source code.
    static let publicDefaultSecret = "better-auth-secret-12345678901234567890"

    /// HMAC keys shorter than SHA-256's output can be guessed (RFC 7518, 3.2).
    static let leastHMACKeyBytes = 32

    /// `{ env = "NAME" }`, `{ file = "path" }` or, with a warning, the text itself; checked for its use.
    func secret(_ entry: TOMLEntry, for use: SecretUse) -> Secret? {
        guard let bytes = secretBytes(entry) else { return nil }
        note(secret: bytes, at: entry.node.start)
        return complaint(about: bytes, use).map { complaint in
            error(entry.node.start, "\"\(entry.key)\" \(own: complaint)")
            return nil
        } ?? Secret(bytes: bytes)
    }

    private func secretBytes(_ entry: TOMLEntry) -> [UInt8]? {
        switch entry.node.value {
        case .string(let text): return inlineSecret(text, entry)
        case .table(let table): return referencedSecret(table, entry)
        default:
            error(
                entry.node.start,
                "\"\(entry.key)\" must be { env = \"NAME\" } or { file = \"path\" }, not \(own: entry.node.value.kind)"
            )
            return nil
        }
    }

    private func inlineSecret(_ text: String, _ entry: TOMLEntry) -> [UInt8]? {
        if text.contains("${") {
            error(
                entry.node.start,
                "\"\(entry.key)\": variables do not expand in a secret; write { env = \"NAME\" } instead")
            return nil
        }
        warning(
            entry.node.start,
            "\"\(entry.key)\" is written into the file; { env = \"NAME\" } or { file = \"path\" } keeps it out"
        )
        return Array(text.utf8)
    }

    private func referencedSecret(_ table: TOMLTable, _ entry: TOMLEntry) -> [UInt8]? {
        let section = Section(
            "\"\(entry.key)\"", table, at: entry.node.start, keys: ["env", "file"], loader: self
        )
        switch (table["env"], table["file"]) {
        case (let name?, nil): return environmentSecret(name, section)
        case (nil, _?): return section.string("file").flatMap { secretFile($0, of: entry.key) }
        case (_?, let file?):
            error(file.position, "\"\(entry.key)\" has both \"env\" and \"file\"; one of them is enough")
        case (nil, nil) where table.entries.isEmpty:
            error(entry.node.start, "\"\(entry.key)\" needs { env = \"NAME\" } or { file = \"path\" }")
        case (nil, nil): break  // the unknown key has been reported
        }
        return nil
    }

    /// The name stands there as it is: expanded, a variable's value would be taken for one.
    private func environmentSecret(_ entry: TOMLEntry, _ section: Section) -> [UInt8]? {
        guard case .string(let name) = entry.node.value else {
            section.mismatch(entry, expected: "the name of an environment variable")
            return nil
        }
        if let value = environment[name] { return Array(value.utf8) }
        let position = entry.node.start
        if name.contains("$") {
            error(
                position,
                "\"env\" is the name of an environment variable: write the name alone, without \"$\"",
                didYouMean: PlainTexts.isVariableName(name) ? PlainTexts.variableMeant(by: name) : nil)
        } else if !hides(valueAt: position) {
            // Windows and `.env` files make little of capitals.
            let same = environment.keys.filter { $0.lowercased() == name.lowercased() }.min()
            error(position, "environment variable \(name) is not set (or not UTF-8)", didYouMean: same)
        } else {
            error(
                position,
                "the environment variable that \"env\" names is not set (or not UTF-8); its name is not shown, for it "
                    + "may be the secret itself")
        }
        return nil
    }

    private func secretFile(_ path: Located<String>, of key: String) -> [UInt8]? {
        guard let bytes = read(path: path.value, at: path.position).map(Self.withoutLineEnd) else {
            return nil
        }
        if let oddity = Self.oddity(of: bytes) {
            warning(path.position, "the file of \"\(own: key)\" \(own: oddity)")
        }
        return bytes
    }

    /// What an editor put around a secret, and nobody sees.
    private static func oddity(of bytes: [UInt8]) -> String? {
        func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) || bytes.starts(with: [0xFF, 0xFE])
            || bytes.starts(with: [0xFE, 0xFF])
        {
            return
                "begins with a byte-order mark, which is part of the secret as it is: save it as UTF-8 without one"
        }
        if bytes.first.map(isSpace) == true || bytes.last.map(isSpace) == true {
            return "has white space or a further line end around the secret, which is part of it as it is"
        }
        return bytes.contains(0x0A) ? "has several lines, all of which are the secret" : nil
    }

    /// Editors and `echo` end a file with one line feed that is not part of the secret.
    private static func withoutLineEnd(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.last == UInt8(ascii: "\n") else { return bytes }
        let line = bytes.dropLast()
        return Array(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
    }

    /// True for a text like `{"keys": [{"kty": …}]}`. What is published is no secret: taken for one, it is the classic
    /// confusion of algorithms (J1).
    private static func isJSONWebKey(_ bytes: [UInt8]) -> Bool {
        bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: "{")
            && String(decoding: bytes, as: UTF8.self).contains("\"kty\"")
    }

    func complaint(about bytes: [UInt8], _ use: SecretUse) -> String? {
        if bytes.isEmpty { return "is empty" }
        if bytes == Array(Self.publicDefaultSecret.utf8) {
            return
                "is Better Auth's public default: everybody knows it; make one with `openssl rand -base64 32`"
        }
        switch use {
        case .hmacKey where bytes.count < Self.leastHMACKeyBytes:
            return "has \(bytes.count) bytes; an HMAC secret needs at least \(Self.leastHMACKeyBytes), "
                + "such as `openssl rand -base64 32` makes"
        case .hmacKey where ConfigurationReader.isPEM(bytes):
            return "is a PEM text; a public key belongs under \"public_key\" (J1)"
        case .hmacKey where Self.isJSONWebKey(bytes):
            return "is a JSON Web Key; published ones belong under \"jwks\" (J1)"
        case .bearerToken where !bytes.allSatisfy({ (0x21...0x7E).contains($0) }):
            return
                "holds a space, a control character or a non-ASCII byte, which no bearer token has (RFC 6750, 2.1)"
        case .headerValue where !bytes.allSatisfy({ (0x20...0x7E).contains($0) }) || bytes.count > 8192:
            return "holds what cannot stand in a header, or more than 8 KiB"
        case .hmacKey, .bearerToken, .clientSecret, .headerValue, .password: return nil
        }
    }
}
