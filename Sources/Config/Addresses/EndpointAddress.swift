/// Where to listen or to connect.
public enum EndpointAddress: Sendable, Hashable {
    /// An IP address and a port, 1 to 65535.
    case ip(HostAddress, port: UInt16)
    /// A host name, in lower case, that is still to be resolved, and a port. Never a listener's.
    case name(String, port: UInt16)
    /// A Unix socket's path, at most 107 bytes.
    case unix(path: String)

    /// Whether it is a host name, which may stand for several addresses.
    var isName: Bool { if case .name = self { true } else { false } }

    /// The same for all ways to write this machine's loopback: a server of `localhost` answers at 127.0.0.1 or at ::1, mostly
    /// at both.
    var throughLoopback: EndpointAddress {
        switch self {
        case .ip(let host, let port):
            let host = host.mapped ?? host
            return host.isUnspecified || host.isLoopback && host.isIPv6
                ? .ip(.loopback, port: port) : .ip(host, port: port)
        case .name(let name, let port) where name == "localhost" || name.hasSuffix(".localhost"):
            return .ip(.loopback, port: port)
        case .name, .unix: return self
        }
    }

    /// Whether who connects there comes to this listener, as far as the addresses alone tell.
    func leads(to listener: EndpointAddress) -> Bool {
        if self == listener { return true }
        guard case .ip(let host, let port) = listener else { return false }
        switch self {
        case .ip(let mine, port):
            let mine = mine.mapped ?? mine
            return mine.isLoopback && host.isUnspecified && mine.isIPv6 == host.isIPv6
        case .name:
            return throughLoopback == .ip(.loopback, port: port) && (host.isUnspecified || host.isLoopback)
        case .ip, .unix: return false
        }
    }

    /// The port; nil for a Unix socket.
    var port: UInt16? {
        switch self {
        case .ip(_, let port), .name(_, let port): port
        case .unix: nil
        }
    }

    /// Whether it is a Unix socket.
    public var isUnix: Bool { if case .unix = self { true } else { false } }
}

/// An IPv4 or IPv6 address in network byte order: 4 or 16 bytes.
public struct HostAddress: Sendable, Hashable {
    /// 4 or 16 bytes.
    public let bytes: [UInt8]

    /// Nil unless there are 4 or 16 bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// 127.0.0.1.
    static let loopback = HostAddress(ipv4: 127, 0, 0, 1)

    private init(ipv4 first: UInt8, _ rest: UInt8...) { bytes = [first] + rest }

    /// Whether it is an IPv6 address.
    public var isIPv6: Bool { bytes.count == 16 }
}

/// A CIDR range (RFC 4632): the bits after `prefixLength` are zero.
public struct AddressRange: Sendable, Hashable {
    /// The first address.
    public let address: HostAddress
    /// Leading bits that count: up to 32 or 128.
    public let prefixLength: Int
}
