internal import Proxy
internal import TLS

extension ConfigurationReader {
    static let listenerKeys = [
        "address", "trusted_proxies", "protocols", "mode", "proxy_protocol", "tls", "redirect",
    ]

    /// All `[listen.NAME]`; at least one.
    func listeners(_ section: Section) -> [ListenerConfiguration] {
        let tables = section.namedTables("listen")
        if section.table["listen"] == nil {
            loader.error(section.position, "there is no listener: add [listen.public] with an \"address\"")
        } else if tables.isEmpty, case .table(let table) = section.table["listen"]?.node.value,
            table.entries.isEmpty
        {
            loader.error(
                section.position, "[listen] has no listener: add [listen.public] with an \"address\"")
        }
        if tables.count > Self.largestListenerCount {
            loader.error(
                tables[Self.largestListenerCount].position,
                "at most \(Self.largestListenerCount) listeners: a worker has room for no more")
        }
        return tables.compactMap(listener)
    }

    /// What a worker has room for; each listener takes a descriptor in each worker.
    private static var largestListenerCount: Int { 64 }

    private func listener(_ named: NamedTable) -> ListenerConfiguration? {
        let section = Section(
            "[listen.\(named.name.value)]", named.table, at: named.position, keys: Self.listenerKeys,
            loader: loader)
        let tls = listenerTLS(section, name: named.name.value)
        let ranges = (section.strings("trusted_proxies") ?? []).compactMap(loader.addressRange)
        if section.table["address"] == nil {
            section.missing("address", "host:port, [v6]:port or unix:/path")
        }
        guard let text = section.string("address"), let address = loader.address(text, for: .listener) else {
            return nil
        }
        var listener = ListenerConfiguration(
            name: named.name.value, address: address, trustedProxies: ranges,
            proxyProtocol: proxyProtocol(section, isGuarded: !ranges.isEmpty || address.isUnix),
            position: text.position)
        if case .unix(let path) = address { loader.warnUnlessListenable(path, text.position) }
        if address.isUnix, !listener.proxyProtocol, !ranges.isEmpty {
            section.warnOfNoEffect(["trusted_proxies"], "a peer on a Unix socket is never trusted")
        }
        listener.tls = tls
        listener.answersForwardAuth = answersForwardAuth(section, believesSomebody: !ranges.isEmpty)
        listener.protocols = protocols(section, answersForwardAuth: listener.answersForwardAuth)
        listener.tls?.settings.protocols = offeredProtocols(section, listener.protocols)
        listener.redirectPort = redirectPort(section)
        return listener
    }

    /// Where a listener with `mode = "redirect"` sends everybody: `redirect = "https"`, which is the default.
    private func redirectPort(_ section: Section) -> UInt16? {
        let isMode: Bool
        if case .string("redirect")? = section.table["mode"]?.node.value {
            isMode = true
        } else {
            isMode = false
        }
        if !isMode, let entry = section.table["redirect"] {
            loader.error(entry.position, "\"redirect\" of a listener needs mode = \"redirect\"")
        }
        if isMode, let entry = section.table["tls"] {
            loader.error(
                entry.position, "a listener with mode = \"redirect\" is the plain one, without \"tls\"")
        }
        guard isMode else { return nil }
        return section.table["redirect"] == nil ? 443 : section.securePort("redirect")
    }

    /// Whether a PROXY header is due, which needs somebody who may send one.
    private func proxyProtocol(_ section: Section, isGuarded: Bool) -> Bool {
        let isOn = section.boolean("proxy_protocol", default: false)
        if isOn, !isGuarded, let entry = section.table["proxy_protocol"] {
            loader.error(
                entry.position,
                "\"proxy_protocol\" needs \"trusted_proxies\": from nobody else is a PROXY header believed")
        }
        return isOn
    }

    /// The `mode` of a listener: `"proxy"`, or `"forward-auth"`, which needs somebody who may ask.
    private func answersForwardAuth(_ section: Section, believesSomebody: Bool) -> Bool {
        guard let mode = section.string("mode") else { return false }
        switch mode.value {
        case "proxy", "redirect":
            return false
        case "forward-auth":
            if !believesSomebody {
                loader.error(
                    mode.position,
                    "a forward-auth listener needs \"trusted_proxies\": the proxies that may ask it")
            }
            return true
        default:
            loader.error(
                mode.position, "unknown mode \"\(mode.value)\"",
                didYouMean: Suggestion.nearest(to: mode.value, among: ["proxy", "forward-auth", "redirect"])
                    ?? "proxy")
            return false
        }
    }

    /// What ALPN offers: what the listener speaks, the preferred one first.
    private func offeredProtocols(_ section: Section, _ spoken: ProtocolSet) -> [ApplicationProtocol] {
        let named = (section.strings("protocols") ?? []).compactMap {
            ApplicationProtocol(rawValue: $0.value)
        }
        return named.isEmpty ? [.http11] : named
    }

    /// The versions of HTTP that a listener speaks; HTTP/1.1 where it does not say.
    private func protocols(_ section: Section, answersForwardAuth: Bool) -> ProtocolSet {
        guard let names = section.strings("protocols") else { return .http1 }
        var protocols: ProtocolSet = []
        for name in names {
            switch name.value {
            case "http/1.1":
                protocols.insert(.http1)
            case "h2":
                protocols.insert(.http2)
                if answersForwardAuth {
                    loader.error(name.position, "a forward-auth listener speaks \"http/1.1\" alone")
                }
            default:
                loader.error(
                    name.position, "unknown protocol \"\(name.value)\"",
                    didYouMean: ApplicationProtocolName.meant(by: name.value) ?? "http/1.1")
            }
        }
        if names.isEmpty, let entry = section.table["protocols"], entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"protocols\" is empty; leave it out for [\"http/1.1\"]")
        }
        return protocols.isEmpty ? .http1 : protocols
    }

    /// Two listeners at one place would each get a share of the connections.
    func refuseSharedAddresses(_ configuration: Configuration) {
        var owners: [EndpointAddress: String] = [:]
        var places = configuration.listeners.map { ($0.address, "[listen.\($0.name)]", $0.position) }
        if let admin = configuration.admin { places.append((admin.address, "[admin]", admin.position)) }
        if let takeover = configuration.takeover {
            places.append((.unix(path: takeover.path), "\"takeover\"", takeover.position))
        }
        for (address, owner, position) in places.sorted(by: { $0.2 < $1.2 }) {
            if let first = owners[address] {
                loader.error(position, "\(owner) has the address of \(first): \(address)")
            } else if let (other, first) = owners.first(where: { $0.key.overlaps(address) }) {
                loader.error(
                    position, "\(owner) has a part of the address of \(first): \(address) and \(other)")
            }
            owners[address] = owners[address] ?? owner
        }
    }
}

extension EndpointAddress {
    /// Whether one of the two is every address of the other's family, and the port is the same: the kernel lets a
    /// process listen at one of them alone.
    fileprivate func overlaps(_ other: EndpointAddress) -> Bool {
        guard case .ip(let host, let port) = self, case .ip(let otherHost, port) = other else { return false }
        let isSameFamily = host.isIPv6 == otherHost.isIPv6
        return isSameFamily && (host.bytes.allSatisfy { $0 == 0 } || otherHost.bytes.allSatisfy { $0 == 0 })
    }
}
