public import Config
public import Proxy
import Reactor
import TLS
import Upstream

extension ProxySettings {
    /// What the workers need of a configuration. Looks up the names of servers, so it may take a while; throws where
    /// one has no address.
    public init(_ configuration: Configuration) throws(StartFailure) {
        var upstreams: [UpstreamSettings] = []
        for upstream in configuration.upstreams { upstreams.append(try UpstreamSettings(upstream)) }
        self.init(
            listeners: configuration.listeners.map(ListenerSettings.init),
            upstreams: upstreams, policy: configuration.policy,
            limits: LimitSettings(configuration.limits))
    }
}

extension ListenerSettings {
    init(_ listener: ListenerConfiguration) {
        self.init(
            name: listener.name, address: SocketAddress(listener.address),
            mode: listener.answersForwardAuth ? .forwardAuth : .proxy,
            expectsProxyHeader: listener.proxyProtocol)
        protocols = listener.protocols
        if let port = listener.redirectPort { mode = .redirect(port: port) }
        security = listener.tls?.settings
        if let strict = listener.tls?.strictTransport {
            strictTransportSecurity = StrictTransportSecurity(
                maximumAgeSeconds: strict.maximumAge.components.seconds,
                includesSubdomains: strict.includesSubdomains, preloads: strict.preloads)
        }
    }
}

extension UpstreamSettings {
    fileprivate init(_ upstream: UpstreamConfiguration) throws(StartFailure) {
        var servers: [ServerSettings] = []
        for server in upstream.servers {
            for address in try SocketAddress.all(of: server.address) {
                servers.append(
                    ServerSettings(
                        address: address, authority: server.address.authority, weight: server.weight))
            }
        }
        self.init(name: upstream.name, servers: servers)
        balance = Balance(upstream.balance)
        connectTimeoutMilliseconds = upstream.connectTimeout.wholeMilliseconds
        responseTimeoutMilliseconds = upstream.responseTimeout.wholeMilliseconds
        idleTimeoutMilliseconds = upstream.idleTimeout.wholeMilliseconds
        maximumConnections = upstream.maxConnections
        maximumPending = upstream.maxPending
        retries = upstream.retries
        security = try upstream.tls.map { (tls) throws(StartFailure) in
            try TLSClientSettings(tls, upstream: upstream.name)
        }
    }
}

extension TLSClientSettings {
    fileprivate init(_ tls: UpstreamTLSConfiguration, upstream: String) throws(StartFailure) {
        let authorities = tls.authorities ?? SystemAuthorities(environment: SystemFiles.environment()).load()
        guard !authorities.isEmpty else {
            throw StartFailure(
                "[upstream.\(upstream)]: the system has no file of trusted certificates; name one with \"tls.ca\""
            )
        }
        self.init(trusting: authorities)
        serverName = tls.serverName
        certificate = tls.certificate
        do throws(CertificateFault) { try check() } catch {
            throw StartFailure("[upstream.\(upstream)]: TLS cannot be set up: \(error)")
        }
    }
}

extension Upstream.Balance {
    fileprivate init(_ balance: Config.Balance) {
        switch balance {
        case .roundRobin: self = .roundRobin
        case .leastRequests: self = .leastRequests
        }
    }
}

extension LimitSettings {
    fileprivate init(_ limits: LimitsConfiguration) {
        self.init()
        headBytes = limits.headerBytes
        fieldCount = limits.headerCount
        targetBytes = limits.targetBytes
        connections = limits.connections
        connectionsPerAddress = limits.connectionsPerAddress
        handshakeTimeoutMilliseconds = limits.handshakeTimeout.wholeMilliseconds
        headerTimeoutMilliseconds = limits.headerTimeout.wholeMilliseconds
        idleTimeoutMilliseconds = limits.idleTimeout.wholeMilliseconds
        bodyTimeoutMilliseconds = limits.bodyTimeout.wholeMilliseconds
        drainTimeoutMilliseconds = limits.drainTimeout.wholeMilliseconds
    }
}

extension EndpointAddress {
    /// What stands in Host for this server: as the file has it; nil for a Unix socket, which has no name.
    fileprivate var authority: String? {
        if case .unix = self { nil } else { description }
    }
}

extension SocketAddress {
    /// The address of a listener, which is never a name.
    init(_ endpoint: EndpointAddress) {
        switch endpoint {
        case .ip(let address, let port): self = SocketAddress(address, port: port)
        case .unix(let path): self = .unix(path)
        case .name: preconditionFailure("the configuration refuses names for listeners")
        }
    }

    private init(_ host: HostAddress, port: UInt16) {
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        self =
            host.isIPv6
            ? .ipv6(number(host.bytes[..<8]), number(host.bytes[8...]), port: port)
            : .ipv4(UInt32(number(host.bytes[...])), port: port)
    }

    /// All addresses of a server, at least one. Where a name has both kinds, the IPv4 ones: "localhost" mostly has
    /// both, and what listens there mostly listens on one.
    fileprivate static func all(of endpoint: EndpointAddress) throws(StartFailure) -> [SocketAddress] {
        guard case .name(let name, let port) = endpoint else { return [SocketAddress(endpoint)] }
        let found = resolve(name, port: port)
        guard !found.isEmpty else { throw StartFailure("the server name \"\(name)\" has no address") }
        let four = found.filter { if case .ipv4 = $0 { true } else { false } }
        return four.isEmpty ? found : four
    }
}
