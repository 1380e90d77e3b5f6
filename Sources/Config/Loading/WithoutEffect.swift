import Policy

// Settings that mean nothing, for want of another: whoever wrote them believes that they do something.

extension Section {
    /// Says of those keys that are there that they mean nothing, and why.
    func warnOfNoEffect(_ keys: [String], _ reason: String) {
        for key in keys {
            guard let entry = table[key] else { continue }
            loader.warning(entry.position, "\"\(key)\" has no effect: \(reason)")
        }
    }

    /// Certificates to trust, and nobody who proves himself by one.
    func warnOfPlainAuthorities(_ url: RemoteURL?) {
        guard let url, !url.isSecure else { return }
        warnOfNoEffect(["ca"], "the URL begins with http://, and nobody shows a certificate there")
    }
}

extension ConfigurationReader {
    /// What cannot be seen in one table. Where there are mistakes, something may be missing because of them.
    func warnOfNoEffect(_ root: Section, _ configuration: Configuration) {
        guard !loader.hasErrors else { return }
        let routes = configuration.routes
        warnOfUnused("rate_limit", root, Set(routes.compactMap(\.rateLimit)))
        warnOfUnused("cors", root, Set(routes.compactMap(\.crossOrigin)))
        // A file without routes is warned of as a whole.
        if !routes.isEmpty {
            let used = configuration.authenticatorsInUse
            warnOfUnused(
                "issuer", root, used, "no route names it in \"auth\", so that its tokens count nowhere")
            warnOfUnused(
                "session", root, used, "no route names it in \"auth\", so that its cookies count nowhere")
        }
        // With a shared store, it is the list there that is looked at.
        if let revocation = configuration.revocation, revocation.file == nil, configuration.admin == nil,
            configuration.shared == nil
        {
            loader.warning(
                root.table["revocation"]?.node.start ?? root.position,
                "[revocation] has no effect: it names no \"file\", and without [admin] there is no POST /revocations"
            )
        }
        warnOfCertificateClaims(configuration)
    }

    /// Tables that no route names: a limit that holds nobody.
    private func warnOfUnused(
        _ key: String, _ root: Section, _ used: Set<String>, _ reason: String? = nil
    ) {
        guard case .table(let tables)? = root.table[key]?.node.value else { return }
        for entry in tables.entries where !used.contains(entry.key) {
            loader.warning(
                entry.node.start,
                "[\(key).\(entry.key)] has no effect: "
                    + (reason ?? "no route has \(key) = \"\(entry.key)\""))
        }
    }

    private func warnOfCertificateClaims(_ configuration: Configuration) {
        guard !configuration.listeners.contains(where: { $0.tls?.clientAuthorityFile != nil }) else { return }
        for header in configuration.identity.headers
        where ClientCertificate.isPart(header.claim) {
            loader.warning(
                header.position,
                "\"\(header.name)\" is never sent: no listener has \"tls.client_ca\", so no client shows a certificate"
            )
        }
    }
}
