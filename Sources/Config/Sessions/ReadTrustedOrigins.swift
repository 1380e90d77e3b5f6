extension ConfigurationReader {
    /// `trusted_origins` of an issuer or a session. Scheme and host, as browsers write them in `Origin`.
    func trustedOrigins(_ section: Section) -> [String] {
        (section.strings("trusted_origins") ?? []).compactMap { text in
            guard let url = RemoteURL(text.value), url.target == "/", url.origin == text.value else {
                loader.error(
                    text.position,
                    "\"\(text.value)\" is not an origin, such as \"https://app.example.com\", without a path")
                return nil
            }
            return url.origin
        }
    }

    /// Pages of an `http` origin where clients come by TLS alone: a slip mostly, since the page of the same site has `https`
    /// in its Origin, and nothing but GET would pass for it. Pages on loopback are somebody's who develops them.
    func warnOfPlainOrigins(_ configuration: Configuration) {
        let serving = configuration.listeners.filter { $0.redirectPort == nil }
        guard !serving.isEmpty, serving.allSatisfy({ $0.tls != nil }) else { return }
        for session in configuration.sessions {
            warn(of: session.trustedOrigins, "[session.\(session.name)]", session.position)
        }
        for issuer in configuration.issuers {
            warn(of: issuer.trustedOrigins, "[issuer.\(issuer.name)]", issuer.position)
        }
    }

    private func warn(of origins: [String], _ table: String, _ position: SourcePosition) {
        for text in origins {
            guard let origin = RemoteURL(text), !origin.isSecure, !origin.isLoopback else {
                continue
            }
            loader.warning(
                position,
                "\(table) trusts \"\(text)\", but every listener has TLS: the Origin of pages there begins with https://"
            )
        }
    }
}
