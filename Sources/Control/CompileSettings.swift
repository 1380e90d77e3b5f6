import Config
import Proxy
import Reactor
import Upstream

extension ProxySettings {
    /// What the workers need of a configuration, with its upstreams as they are known now.
    init(_ configuration: Configuration, upstreams: [UpstreamSettings]) {
        self.init(
            listeners: configuration.listeners.map {
                ListenerSettings(
                    name: $0.name, address: SocketAddress($0.address),
                    mode: $0.answersForwardAuth ? .forwardAuth : .proxy, expectsProxyHeader: $0.proxyProtocol)
            },
            upstreams: upstreams, policy: configuration.policy,
            limits: LimitSettings(configuration.limits))
    }
}

extension UpstreamSettings {
    init(_ upstream: UpstreamConfiguration, servers: [ServerSettings], state: UpstreamState) {
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

    private init(_ host: HostAddress, port: UInt16) {
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        self =
            host.isIPv6
            ? .ipv6(number(host.bytes[..<8]), number(host.bytes[8...]), port: port)
            : .ipv4(UInt32(number(host.bytes[...])), port: port)
    }
}
