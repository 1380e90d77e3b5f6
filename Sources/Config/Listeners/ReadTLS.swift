internal import Reactor
internal import TLS

// TLS on listeners and to upstreams: every file is read and tried here, so that what does not fit shows where it is named.

extension ConfigurationReader {
    private static let listenerTLSKeys = [
        "certificates", "minimum_version", "client_ca", "client_auth", "ocsp", "hsts", "tickets",
    ]

    /// The `tls` of a listener; nil where there is none, or it is wrong, which has been reported.
    func listenerTLS(_ outer: Section, name: String) -> ListenerTLSConfiguration? {
        guard let entry = outer.table["tls"] else { return nil }
        guard case .table(let table) = entry.node.value else {
            outer.mismatch(entry, expected: "a table with \"certificates\"")
            return nil
        }
        let section = Section(
            "\"tls\" of \(outer.title)", table, at: entry.position, keys: Self.listenerTLSKeys, loader: loader
        )
        let pairs = certificates(section)
        var settings = TLSServerSettings(name: name, certificates: pairs.map(\.text))
        settings.requiresTLS13 = section.choice("minimum_version", default: MinimumVersion.tls12) == .tls13
        settings.issuesTickets = section.boolean("tickets", default: true)
        let authorities = clientAuthorities(section)
        settings.clients = authorities?.clients ?? .ignored
        var listener = ListenerTLSConfiguration(settings: settings, files: pairs.map(\.files))
        listener.clientAuthorityFile = authorities?.file
        listener.strictTransport = strictTransport(section)
        return pairs.isEmpty ? nil : listener
    }

    private enum MinimumVersion: String, CaseIterable {
        case tls12 = "1.2"
        case tls13 = "1.3"
    }

    // MARK: Certificates

    private struct Pair {
        var text: CertifiedKeyText
        var files: CertificateFiles
    }

    private func certificates(_ section: Section) -> [Pair] {
        guard let entry = section.table["certificates"] else {
            section.missing("certificates", "a list of { certificate = \"cert.pem\", key = \"key.pem\" }")
            return []
        }
        guard case .array(let nodes) = entry.node.value else {
            section.mismatch(entry, expected: "a list of { certificate = \"cert.pem\", key = \"key.pem\" }")
            return []
        }
        if nodes.isEmpty {
            loader.error(entry.node.start, "\"certificates\" is empty: TLS needs one at least")
        }
        // Said beside the list, it belongs to the only certificate there is.
        let shared = section.string("ocsp")
        if let shared, nodes.count > 1 {
            loader.error(
                shared.position,
                "\"ocsp\" is about one certificate: write it into its { certificate = …, key = …, ocsp = … }")
        }
        return nodes.compactMap { node in
            guard case .table(let table) = node.value else {
                loader.error(
                    node.start,
                    "\"certificates\" must hold { certificate = …, key = … }, not \(own: node.value.kind)")
                return nil
            }
            let inner = Section(
                "a certificate of \(section.title)", table, at: node.start,
                keys: ["certificate", "key", "ocsp"], loader: loader)
            return pair(inner, status: nodes.count == 1 ? shared : nil)
        }
    }

    private func pair(_ section: Section, status shared: Located<String>?) -> Pair? {
        if section.table["certificate"] == nil { section.missing("certificate", "a PEM file with the chain") }
        if section.table["key"] == nil { section.missing("key", "a PEM file without a pass phrase") }
        guard let certificate = section.string("certificate"), let key = section.string("key") else {
            return nil
        }
        let status = section.string("ocsp") ?? shared
        guard let text = pairText(certificate, key, status) else { return nil }
        check(text, certificate, key, status)
        return Pair(
            text: text,
            files: CertificateFiles(
                certificate: loader.resolve(path: certificate.value), key: loader.resolve(path: key.value),
                status: status.map { loader.resolve(path: $0.value) }))
    }

    private func pairText(
        _ certificate: Located<String>, _ key: Located<String>, _ status: Located<String>?
    ) -> CertifiedKeyText? {
        let certificateBytes = loader.readRenewed(path: certificate.value, at: certificate.position)
        let keyBytes = loader.readRenewed(path: key.value, at: key.position)
        let statusBytes = status.flatMap { loader.readRenewed(path: $0.value, at: $0.position) }
        guard let certificateBytes, let keyBytes else { return nil }
        return CertifiedKeyText(certificate: certificateBytes, key: keyBytes, status: statusBytes)
    }

    /// Says what is wrong with a pair, where the file names the part that is.
    private func check(
        _ text: CertifiedKeyText, _ certificate: Located<String>, _ key: Located<String>,
        _ status: Located<String>?
    ) {
        let path = loader.resolve(path: certificate.value)
        do throws(CertificateFault) {
            guard let facts = try TLSServerSettings(name: "", certificates: [text]).check().first else {
                return
            }
            let now = wallClockMicroseconds() / 1_000_000
            if facts.notAfter <= now {
                let days = (now - facts.notAfter) / 86_400
                loader.warning(
                    certificate.position, "\"\(path)\" has expired \(days) days ago: clients will refuse it")
            } else if facts.notBefore > now {
                loader.warning(
                    certificate.position, "\"\(path)\" is not valid yet: clients will refuse it")
            }
            if let status, let end = facts.statusNotAfter, end <= now {
                let file = loader.resolve(path: status.value)
                loader.warning(
                    status.position, "the OCSP response \"\(file)\" is out of date: it is not stapled")
            }
        } catch {
            let place: SourcePosition =
                switch error {
                case .noKey, .mismatch: key.position
                case .badStatus: status?.position ?? certificate.position
                default: certificate.position
                }
            loader.error(place, error.text(certificate: path, key: loader.resolve(path: key.value)))
        }
    }

    // MARK: Clients

    private enum ClientAuthentication: String, CaseIterable { case required, optional }

    private func clientAuthorities(_ section: Section) -> (clients: ClientCertificates, file: String)? {
        let mode = section.choice("client_auth", default: ClientAuthentication.required)
        guard let path = section.string("client_ca") else {
            if section.table["client_ca"] == nil, let entry = section.table["client_auth"] {
                loader.error(
                    entry.position, "\"client_auth\" needs \"client_ca\": the authorities of the clients")
            }
            return nil
        }
        guard let bytes = certificateText(path, isRenewed: true) else { return nil }
        let clients: ClientCertificates =
            mode == .required ? .required(authorities: bytes) : .optional(authorities: bytes)
        return (clients, loader.resolve(path: path.value))
    }

    /// The bytes of a file with certificates, or an error at its place. `isRenewed`: a running proxy looks after it.
    func certificateText(_ path: Located<String>, isRenewed: Bool = false) -> [UInt8]? {
        let text =
            isRenewed
            ? loader.readRenewed(path: path.value, at: path.position)
            : loader.read(path: path.value, at: path.position)
        guard let bytes = text else { return nil }
        guard (try? TLSClientSettings(trusting: bytes).check()) != nil else {
            loader.error(
                path.position,
                "\"\(loader.resolve(path: path.value))\" holds no certificate (\"-----BEGIN CERTIFICATE-----\")"
            )
            return nil
        }
        return bytes
    }

    // MARK: HSTS

    private func strictTransport(_ section: Section) -> StrictTransportConfiguration? {
        guard let entry = section.table["hsts"] else { return nil }
        guard case .table(let table) = entry.node.value else {
            guard case .value(let age) = section.setting("hsts", .duration, in: Self.ages) else { return nil }
            return StrictTransportConfiguration(maximumAge: age)
        }
        let inner = Section(
            "\"hsts\"", table, at: entry.node.start,
            keys: ["max_age", "include_subdomains", "preload"], loader: loader)
        if table["max_age"] == nil { inner.missing("max_age", "such as \"365d\"") }
        guard case .value(let age) = inner.setting("max_age", .duration, in: Self.ages) else { return nil }
        return StrictTransportConfiguration(
            maximumAge: age, includesSubdomains: inner.boolean("include_subdomains", default: false),
            preloads: inner.boolean("preload", default: false))
    }

    /// Zero takes back what was said before.
    private static var ages: ClosedRange<Duration> { .zero ... .days(3650) }

    // MARK: Upstreams

    /// The `tls` of an upstream: true, false, or a table.
    func upstreamTLS(_ section: Section, _ servers: [ServerConfiguration]) -> UpstreamTLSConfiguration? {
        guard let entry = section.table["tls"] else { return nil }
        var tls = UpstreamTLSConfiguration()
        switch entry.node.value {
        case .boolean(false): return nil
        case .boolean(true): break
        case .table(let table):
            let inner = Section(
                "\"tls\" of \(section.title)", table, at: entry.position,
                keys: ["ca", "server_name", "certificate", "key"], loader: loader)
            if let file = inner.string("ca") {
                tls.authorities = certificateText(file, isRenewed: true)
                tls.authorityFile = loader.resolve(path: file.value)
            }
            tls.serverName = serverName(inner)
            let pair = clientCertificate(inner)
            tls.certificate = pair?.text
            tls.certificateFiles = pair?.files
        default:
            section.mismatch(entry, expected: "true, false or a table such as { ca = \"ca.pem\" }")
            return nil
        }
        if tls.serverName == nil, let server = servers.first(where: { $0.address.isUnix }) {
            loader.error(
                server.position,
                "TLS to a Unix socket needs \"tls.server_name\": the name that is to be proven")
        }
        return tls
    }

    private func serverName(_ section: Section) -> String? {
        guard let name = section.string("server_name") else { return nil }
        guard HostName.isValid(name.value.lowercased()) || HostAddress(text: name.value) != nil else {
            loader.error(name.position, "\"\(name.value)\" is not a host name, which stands without a port")
            return nil
        }
        return name.value
    }

    private func clientCertificate(_ section: Section) -> Pair? {
        switch (section.table["certificate"], section.table["key"]) {
        case (nil, nil): return nil
        case (_?, nil): section.missing("key", "that of \"certificate\"")
        case (nil, _?): section.missing("certificate", "that of \"key\"")
        case (_?, _?):
            guard let certificate = section.string("certificate"), let key = section.string("key"),
                let text = pairText(certificate, key, nil)
            else { return nil }
            check(text, certificate, key, nil)
            return Pair(
                text: text,
                files: CertificateFiles(
                    certificate: loader.resolve(path: certificate.value),
                    key: loader.resolve(path: key.value)))
        }
        return nil
    }
}
