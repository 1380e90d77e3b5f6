// Plain requests that are sent to the secure listener.

extension RouteReader {
    /// The port of `redirect`: `"https"`, or `"https:8443"`; nil without it.
    func redirectPort(_ authentication: RouteAuthentication?) -> UInt16? {
        guard let entry = section.table["redirect"] else { return nil }
        if let authentication, authentication != .open {
            section.loader.error(
                entry.position, "a route that redirects needs auth = \"none\": whoever comes is sent on")
        }
        for key in ["upstream", "rewrite", "timeout", "max_body", "stream_lifetime"] {
            guard let other = section.table[key] else { continue }
            section.loader.error(other.position, "\"\(key)\" means nothing in a route that redirects")
        }
        return section.securePort("redirect")
    }
}

extension Section {
    /// The port of a text such as `https` or `https:8443`; nil where there is none, or it is wrong, which is reported.
    func securePort(_ key: String) -> UInt16? {
        guard let text = string(key) else { return nil }
        if text.value == "https" { return 443 }
        if text.value.hasPrefix("https:"), let port = UInt16(text.value.dropFirst("https:".count)), port > 0 {
            return port
        }
        loader.error(
            text.position,
            "\"\(key)\" must be \"https\", or \"https:8443\" with another port than 443, not \"\(text.value)\"",
            didYouMean: text.value.lowercased().hasPrefix("http") ? "https" : nil)
        return nil
    }
}
