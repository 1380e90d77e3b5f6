import Bytes

extension ConfigurationReader {
    static let sharedKeys = [
        "redis", "password", "ca", "prefix", "timeout", "when_unavailable", "revocations_kept",
    ]

    /// The `[shared]` table.
    func shared(_ section: Section) -> SharedConfiguration? {
        guard let section = section.subsection("shared", keys: Self.sharedKeys) else { return nil }
        if section.table["redis"] == nil { section.missing("redis", "such as \"redis://127.0.0.1:6379\"") }
        let place = storeText(section).flatMap(storeAddress)
        var shared = SharedConfiguration(
            address: place?.address ?? .unix(path: "/"), isSecure: place?.isSecure ?? false,
            user: place?.user ?? "", password: place?.password, database: place?.database ?? 0)
        readPassword(section, into: &shared)
        readPrefix(section, into: &shared)
        shared.timeout = section.duration(
            "timeout", default: shared.timeout, in: .milliseconds(1) ... .seconds(5))
        shared.whenUnavailable = section.choice("when_unavailable", default: shared.whenUnavailable)
        shared.revocationsKept = section.duration(
            "revocations_kept", default: shared.revocationsKept, in: .seconds(3600) ... .days(3650))
        shared.authorities = authorities(section)
        if let place, !place.isSecure, let ca = section.table["ca"] {
            loader.error(ca.position, "\"ca\" belongs to a \"rediss://\" address, which is one over TLS")
        }
        return place == nil ? nil : shared
    }

    private func readPassword(_ section: Section, into shared: inout SharedConfiguration) {
        guard let entry = section.table["password"] else { return }
        if shared.password != nil {
            loader.error(entry.position, "the password stands in \"redis\", too; one of them is enough")
        }
        shared.password = loader.secret(entry, for: .password) ?? shared.password
    }

    private func readPrefix(_ section: Section, into shared: inout SharedConfiguration) {
        guard let prefix = section.string("prefix") else { return }
        guard (1...64).contains(prefix.value.utf8.count),
            prefix.value.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            return loader.error(prefix.position, "\"prefix\" must be 1 to 64 visible ASCII characters")
        }
        shared.prefix = prefix.value
    }
}

/// What an address of a store says.
private struct StorePlace {
    var address: EndpointAddress
    var isSecure = false
    var user = ""
    var password: Secret?
    var database = 0
}

extension ConfigurationReader {
    /// The text of `redis`, which may hold a password: then it is as secret as one.
    private func storeText(_ section: Section) -> Located<String>? {
        guard let entry = section.table["redis"] else { return nil }
        if case .table = entry.node.value {
            return loader.secret(entry, for: .password).map {
                Located(value: String(decoding: $0.bytes, as: UTF8.self), position: entry.node.start)
            }
        }
        if case .string(let raw) = entry.node.value, let at = raw.lastIndex(of: "@") {
            if !raw.contains("${"), raw[..<at].split(separator: "/").last?.contains(":") == true {
                loader.warning(
                    entry.node.start,
                    "a password is written into the file; password = { env = \"NAME\" } or { file = \"path\" } "
                        + "keeps it out")
            }
        }
        return section.string("redis")
    }

    /// `redis://[user[:password]@]host[:port][/database]`, the same with `rediss://`, or `unix:/path`.
    private func storeAddress(_ text: Located<String>) -> StorePlace? {
        if text.value.hasPrefix("unix:") {
            return loader.address(text, for: .server).map { StorePlace(address: $0) }
        }
        guard let scheme = ["redis://", "rediss://"].first(where: text.value.lowercased().hasPrefix) else {
            loader.error(
                text.position,
                "\"redis\" must be an address such as \"redis://127.0.0.1:6379\", \"rediss://…\" for TLS, or "
                    + "\"unix:/run/redis.sock\"")
            return nil
        }
        var rest = text.value.dropFirst(scheme.count)
        var place = StorePlace(address: .unix(path: "/"), isSecure: scheme == "rediss://")
        if let at = rest.lastIndex(of: "@") {
            guard readUser(rest[..<at], text, into: &place) else { return nil }
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            guard let number = database(rest[rest.index(after: slash)...], text) else { return nil }
            place.database = number
            rest = rest[..<slash]
        }
        let authority = Self.hasPort(rest) ? String(rest) : "\(rest):6379"
        let located = Located(value: authority, position: text.position)
        guard let address = loader.address(located, for: .server) else { return nil }
        place.address = address
        warnIfOpen(place, text)
        return place
    }

    private static func hasPort(_ authority: Substring) -> Bool {
        authority.contains(":") && authority.last != "]"
    }

    private func readUser(_ part: Substring, _ text: Located<String>, into place: inout StorePlace) -> Bool {
        let colon = part.firstIndex(of: ":") ?? part.endIndex
        guard let user = Self.decoded(part[..<colon]), let password = Self.decoded(part[colon...].dropFirst())
        else {
            loader.error(text.position, "the user or password in \"redis\" has a wrong percent-encoding")
            return false
        }
        place.user = String(decoding: user, as: UTF8.self)
        if colon != part.endIndex, !password.isEmpty { place.password = Secret(bytes: password) }
        return true
    }

    private static func decoded(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let digits = String(rest.prefix(2)), digits.first != "+",
                let value = UInt8(digits, radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    private func database(_ digits: Substring, _ text: Located<String>) -> Int? {
        if digits.isEmpty { return 0 }
        guard digits.utf8.allSatisfy(ASCII.isDigit), let number = Int(digits),
            number <= 100_000
        else {
            loader.error(
                text.position,
                "the path of \"redis\" must be the number of a database, such as \"/0\", not that of \"\(text.value)\""
            )
            return nil
        }
        return number
    }

    /// Without TLS whoever is on the way can read the password, and revoke or un-revoke.
    private func warnIfOpen(_ place: StorePlace, _ text: Located<String>) {
        guard !place.isSecure else { return }
        switch place.address {
        case .unix: return
        case .ip(let address, _): if address.isLoopback { return }
        case .name(let name, _): if name == "localhost" { return }
        }
        loader.warning(
            text.position, "\"redis\" is not encrypted: on a network that others use, take rediss://")
    }
}
