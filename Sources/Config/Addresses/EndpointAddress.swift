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
