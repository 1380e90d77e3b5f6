internal import Policy

extension ConfigurationReader {
    static let crossOriginKeys = [
        "origins", "methods", "headers", "expose_headers", "credentials", "max_age",
    ]

    /// All `[cors.NAME]`.
    func crossOrigins(_ section: Section) -> [CrossOriginConfiguration] {
        section.namedTables("cors").map { named in
            let title = "[cors.\(named.name.value)]"
            let section = Section(
                title, named.table, at: named.position, keys: Self.crossOriginKeys, loader: loader)
            let reader = CrossOriginReader(section: section)
            return reader.rule(named.name)
        }
    }
}

/// Reads one `[cors.NAME]`.
struct CrossOriginReader {
    let section: Section

    private var loader: Loader { section.loader }

    /// What browsers let pages do without asking (Fetch, CORS-safelisted method).
    private static let safelistedMethods = ["GET", "HEAD", "POST"]

    func rule(_ name: Located<String>) -> CrossOriginConfiguration {
        let credentials = section.boolean("credentials", default: false)
        let maximumAge = section.setting("max_age", .duration, in: .zero ... .seconds(86_400))
            .value(default: nil)
        if let maximumAge, maximumAge.components.attoseconds != 0, let entry = section.table["max_age"] {
            loader.error(entry.node.start, "\"max_age\" must be whole seconds")
        }
        let rule = CrossOriginConfiguration(
            name: name.value, origins: origins(withCredentials: credentials), methods: methods(),
            headers: fieldNames("headers", withCredentials: credentials),
            exposedHeaders: fieldNames("expose_headers", withCredentials: credentials),
            allowsCredentials: credentials, maximumAge: maximumAge)
        if !CrossOriginSpec(rule).fits {
            loader.error(
                name.position,
                "\(section.title) is too long: an origin with the names of \"expose_headers\" takes more than "
                    + "\(CrossOriginSpec.maximumLineBytes) bytes, or \"methods\" and \"headers\" more than "
                    + "\(CrossOriginSpec.maximumPreflightBytes)")
        }
        return rule
    }

    private func origins(withCredentials: Bool) -> [String] {
        guard let entry = section.table["origins"] else {
            section.missing("origins", "such as [\"https://app.example.com\"]")
            return []
        }
        guard let texts = section.strings("origins") else { return [] }
        if entry.node.value == .array([]) {
            loader.error(
                entry.node.start,
                "\"origins\" is empty: no page could read anything; take \"cors\" off the routes instead")
        }
        return distinct(texts.filter { isOrigin($0, alone: texts.count == 1, withCredentials) }) { $0 }
    }

    private func isOrigin(_ text: Located<String>, alone: Bool, _ withCredentials: Bool) -> Bool {
        if text.value == "*" {
            if withCredentials {
                loader.error(
                    text.position,
                    "\"*\" with \"credentials\": every page of the web could read what your users see; name the origins"
                )
            } else if !alone {
                loader.error(text.position, "\"*\" stands alone: with it, no other origin means anything")
            }
            return alone && !withCredentials
        }
        if text.value == "null" {
            loader.error(
                text.position,
                "\"null\" is no origin to trust: sandboxed frames, files and redirects of anybody have it")
            return false
        }
        guard let url = RemoteURL(text.value) else {
            let hint = text.value.contains("*") ? ": origins are compared whole, name each" : ""
            loader.error(
                text.position,
                "\"\(text.value)\" is not an origin, such as \"https://app.example.com\"\(hint)")
            return false
        }
        guard url.target == "/", url.origin == text.value else {
            loader.error(
                text.position, "\"\(text.value)\" is not an origin as browsers write it",
                didYouMean: url.origin)
            return false
        }
        return true
    }

    private func methods() -> [String] {
        guard let texts = section.strings("methods") else { return Self.safelistedMethods }
        return distinct(texts.filter { isMethod($0) }) { $0 }
    }

    private func isMethod(_ text: Located<String>) -> Bool {
        let name = text.value
        guard name != "*", HeaderNames.isToken(name), !["CONNECT", "TRACE"].contains(name.uppercased()) else {
            let hint = name == "*" ? ": name each" : ""
            loader.error(text.position, "\"\(name)\" is not a method that a page may use\(hint)")
            return false
        }
        guard name == name.uppercased() else {
            loader.error(
                text.position, "methods are written in upper case, not \"\(name)\"",
                didYouMean: name.uppercased())
            return false
        }
        return true
    }

    private func fieldNames(_ key: String, withCredentials: Bool) -> [String] {
        guard let texts = section.strings(key) else { return [] }
        let names = texts.filter { text in
            if text.value == "*" {
                guard withCredentials || texts.count > 1 else { return true }
                loader.error(
                    text.position,
                    "\"*\" in \"\(key)\" "
                        + (withCredentials ? "means nothing with \"credentials\": name each" : "stands alone")
                )
                return false
            }
            if HeaderNames.isToken(text.value) { return true }
            loader.error(text.position, "\"\(text.value)\" in \"\(key)\" is not a header name")
            return false
        }
        return distinct(names) { $0.lowercased() }
    }

    /// The texts, each once.
    private func distinct(_ texts: [Located<String>], by key: (String) -> String) -> [String] {
        var seen: Set<String> = []
        return texts.compactMap { text in
            guard seen.insert(key(text.value)).inserted else {
                loader.error(text.position, "\"\(text.value)\" is named twice")
                return nil
            }
            return text.value
        }
    }
}

extension CrossOriginSpec {
    init(_ rule: CrossOriginConfiguration) {
        self.init(
            name: rule.name, origins: rule.origins, methods: rule.methods, headers: rule.headers,
            exposedHeaders: rule.exposedHeaders, allowsCredentials: rule.allowsCredentials,
            maximumAgeSeconds: rule.maximumAge?.components.seconds)
    }
}
