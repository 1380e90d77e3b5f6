import Bytes

// What those who run the proxy reach it by: the admin listener, and the socket at which the next process takes over.

extension ConfigurationReader {
    /// The `[admin]` table, or nil where it is off.
    func admin(_ section: Section) -> AdminConfiguration? {
        guard let section = section.subsection("admin", keys: ["address", "token", "names"])
        else {
            return nil
        }
        if section.table["address"] == nil {
            section.missing("address", "host:port, [v6]:port or unix:/path; without [admin] it is off")
        }
        guard let text = section.string("address"), let address = loader.address(text, for: .listener) else {
            return nil
        }
        if case .ip(let host, _) = address, !host.isLoopback {
            loader.warning(
                text.position,
                "the admin listener can be reached from other machines; let nothing but your "
                    + "monitoring through to \(address)")
        }
        if case .unix(let path) = address { loader.warnUnlessListenable(path, text.position) }
        var admin = AdminConfiguration(address: address, position: text.position)
        admin.token = adminToken(section)
        admin.names = (section.strings("names") ?? []).compactMap(adminName)
        return admin
    }

    /// As long as a random number that nobody guesses, in base64.
    private static let leastTokenBytes = 16

    private func adminToken(_ section: Section) -> Secret? {
        guard let entry = section.table["token"], let token = loader.secret(entry, for: .bearerToken) else {
            return nil
        }
        if token.bytes.count < Self.leastTokenBytes {
            loader.warning(
                entry.node.start,
                "\"token\" has fewer than \(Self.leastTokenBytes) bytes, and nobody who tries is slowed down: "
                    + "make one with `openssl rand -base64 32`")
        }
        return token
    }

    /// A host name in lower case, without the dot at its end: so requests are compared.
    private func adminName(_ text: Located<String>) -> String? {
        var name = text.value.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        let isName =
            !name.isEmpty
            && name.utf8.allSatisfy { ASCIISet.alphanumeric.contains($0) || $0 == 0x2d || $0 == 0x2e }
        if !isName {
            loader.error(
                text.position, "\"names\" holds host names such as \"usher.internal\", not \"\(text.value)\"")
        }
        return isName ? name : nil
    }

    /// The path of `takeover`, at which the next process asks for the listeners.
    func takeover(_ section: Section) -> TakeoverConfiguration? {
        guard let text = section.string("takeover") else { return nil }
        let path = loader.resolve(path: text.value)
        guard !text.value.isEmpty, !text.value.hasPrefix("unix:"), !path.utf8.contains(0) else {
            loader.error(
                text.position, "\"takeover\" needs a path, such as \"/run/usher/takeover.sock\"",
                didYouMean: text.value.hasPrefix("unix:/") ? String(text.value.dropFirst(5)) : nil)
            return nil
        }
        guard path.utf8.count <= Loader.longestSocketPathBytes else {
            loader.error(
                text.position,
                "the socket's path has \(path.utf8.count) bytes; at most \(Loader.longestSocketPathBytes) fit"
            )
            return nil
        }
        loader.warnUnlessListenable(path, text.position)
        return TakeoverConfiguration(path: path, position: text.position)
    }
}
