import Config
import Proxy
import Reactor
import TLS
import Telemetry
import Upstream

extension ProxySettings {
    /// What the workers need of a configuration, with its upstreams as they are known now.
    init(_ configuration: Configuration, upstreams: [UpstreamSettings]) {
        self.init(
            listeners: configuration.listeners.map(ListenerSettings.init),
            upstreams: upstreams, policy: configuration.policy,
            limits: LimitSettings(configuration.limits))
        accessLog = AccessLogSettings(configuration.log)
        tracing = configuration.tracing.map(TracingSettings.init)
    }
}

extension TracingSettings {
    init(_ tracing: TracingConfiguration) {
        self.init(share: tracing.sample)
        continuesFrom = Trust(tracing.continueFrom)
        sampledBy = Trust(tracing.sampledBy)
        tellsPath = tracing.include.contains(.path)
        tellsUser = tracing.include.contains(.user)
        tellsClient = tracing.include.contains(.client)
    }
}

extension TracingSettings.Trust {
    fileprivate init(_ trust: TracingConfiguration.Trust) {
        switch trust {
        case .anyone: self = .anyone
        case .trusted: self = .trusted
        case .nobody: self = .nobody
        }
    }
}

extension AccessLogSettings {
    fileprivate init(_ log: LogConfiguration) {
        self.init()
        form = log.accessForm == .combined ? .combined : .json
        shares = log.sample
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
    init(
        _ upstream: UpstreamConfiguration, servers: [ServerSettings], state: UpstreamState,
        knowing known: [TrustedAuthorities] = []
    ) throws(StartFailure) {
        self.init(name: upstream.name, servers: servers, state: state)
        balance = Balance(upstream.balance)
        connectTimeoutMilliseconds = upstream.connectTimeout.wholeMilliseconds
        responseTimeoutMilliseconds = upstream.responseTimeout.wholeMilliseconds
        idleTimeoutMilliseconds = upstream.idleTimeout.wholeMilliseconds
        maximumConnections = upstream.maxConnections
        maximumPending = upstream.maxPending
        retries = upstream.retries
        health = upstream.health.map(HealthSettings.init)
        ejection = upstream.eject.map(EjectionSettings.init)
        slowStartMilliseconds = upstream.slowStart.wholeMilliseconds
        security = try upstream.tls.map { (tls) throws(StartFailure) in
            try TLSClientSettings(tls, upstream: upstream.name, knowing: known)
        }
        speaksHTTP2 = upstream.backendProtocol == .http2
        health?.speaksHTTP2 = speaksHTTP2
        if speaksHTTP2 { security?.protocols = [.h2] }
    }
}

extension TLSClientSettings {
    /// What an upstream's `tls` says, with the system's authorities where it names none. Those that are known are not parsed
    /// again.
    init(_ tls: UpstreamTLSConfiguration, upstream: String, knowing known: [TrustedAuthorities] = [])
        throws(StartFailure)
    {
        let authorities = SystemAuthorities(environment: SystemFiles.environment()).load(
            unless: tls.authorities)
        guard !authorities.isEmpty else {
            throw StartFailure(
                "[upstream.\(upstream)]: the system has no file of trusted certificates; name one with \"tls.ca\""
            )
        }
        self.init(trusting: known.first { $0.text == authorities } ?? TrustedAuthorities(authorities))
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
        case .randomTwo: self = .randomTwo
        case .hashUser: self = .hashUser
        }
    }
}

extension HealthSettings {
    fileprivate init(_ health: HealthConfiguration) {
        self.init(path: health.path)
        intervalMilliseconds = health.interval.wholeMilliseconds
        timeoutMilliseconds = health.timeout.wholeMilliseconds
        healthyAfter = health.healthyAfter
        unhealthyAfter = health.unhealthyAfter
    }
}

extension EjectionSettings {
    fileprivate init(_ eject: EjectionConfiguration) {
        self.init()
        consecutiveFailures = eject.consecutiveFailures
        milliseconds = eject.duration.wholeMilliseconds
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
        // The other half is for what is not in buffers: tokens, tables, code, and requests that grow.
        bufferBytes = limits.bufferBytes ?? MemoryAllowance.current().map { $0 / 2 }
        headerTimeoutMilliseconds = limits.headerTimeout.wholeMilliseconds
        idleTimeoutMilliseconds = limits.idleTimeout.wholeMilliseconds
        bodyTimeoutMilliseconds = limits.bodyTimeout.wholeMilliseconds
        drainTimeoutMilliseconds = limits.drainTimeout.wholeMilliseconds
    }
}

extension EndpointAddress {
    /// What stands in Host for this server: as the file has it; nil for a Unix socket, which has no name.
    var authority: String? {
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

    /// All addresses of an endpoint, in the resolver's order; none where its name has none. Waits for the resolver.
    static func all(of endpoint: EndpointAddress) -> [SocketAddress] {
        guard case .name(let name, let port) = endpoint else { return [SocketAddress(endpoint)] }
        return resolve(name, port: port)
    }

    /// Where a server is asked: its first IPv4 address, else its first; nil where its name has none.
    static func first(of endpoint: EndpointAddress) -> SocketAddress? {
        let found = all(of: endpoint)
        return found.first { if case .ipv4 = $0 { true } else { false } } ?? found.first
    }

    private init(_ host: HostAddress, port: UInt16) {
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        self =
            host.isIPv6
            ? .ipv6(number(host.bytes[..<8]), number(host.bytes[8...]), port: port)
            : .ipv4(UInt32(number(host.bytes[...])), port: port)
    }
}
