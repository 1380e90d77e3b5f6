extension ConfigurationReader {
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
            guard let origin = RemoteURL(text), !origin.isSecure, !Self.loopback.contains(origin.host) else {
                continue
            }
            loader.warning(
                position,
                "\(table) trusts \"\(text)\", but every listener has TLS: the Origin of pages there begins with https://"
            )
        }
    }

    private static let loopback: Set<String> = ["localhost", "127.0.0.1", "::1"]
}
