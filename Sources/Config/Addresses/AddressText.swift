internal import Policy

extension HostAddress {
    /// Dotted IPv4 without leading zeros, or IPv6 as in RFC 4291, 2.2, without brackets and zone.
    public init?(text: String) {
        guard let address = IPAddress(text) else { return nil }
        let all = [address.high, address.low].flatMap { half in
            (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * $0)) }
        }
        bytes = text.utf8.contains(UInt8(ascii: ":")) ? all : Array(all.suffix(4))
    }

    /// Whether it belongs to this machine alone.
    public var isLoopback: Bool {
        isIPv6 ? bytes == [UInt8](repeating: 0, count: 15) + [1] : bytes[0] == 127
    }

    /// The IPv4 address that an IPv6 address such as `::ffff:10.0.0.1` stands for (RFC 4291, 2.5.5.2); nil for any other.
    var mapped: HostAddress? {
        guard isIPv6, bytes.starts(with: [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]) else { return nil }
        return HostAddress(bytes: Array(bytes.suffix(4)))
    }

    /// Whether it is 0.0.0.0 or ::, at which a listener takes what comes for any address.
    var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
}

extension HostAddress: CustomStringConvertible {
    /// Dotted, or IPv6 as RFC 5952 writes it.
    public var description: String {
        guard isIPv6 else { return bytes.map(String.init).joined(separator: ".") }
        let groups = (0..<8).map { UInt16(bytes[2 * $0]) << 8 | UInt16(bytes[2 * $0 + 1]) }
        let zeros = Self.longestZeros(groups)
        func text(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard let zeros else { return text(0..<8) }
        return text(0..<zeros.lowerBound) + "::" + text(zeros.upperBound..<8)
    }

    /// The first of the longest runs of at least two groups of zeros.
    private static func longestZeros(_ groups: [UInt16]) -> Range<Int>? {
        var best: Range<Int>?
        var start = 0
        for end in 1...8 where end == 8 || groups[end] != 0 || groups[start] != 0 {
            if groups[start] == 0, end - start >= 2, end - start > best?.count ?? 0 { best = start..<end }
            start = end
        }
        return best
    }
}

extension EndpointAddress: CustomStringConvertible {
    /// As the file writes it.
    public var description: String {
        switch self {
        case .ip(let address, let port): address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)"
        case .name(let name, let port): "\(name):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

extension AddressRange: CustomStringConvertible {
    /// `10.0.0.0/8`.
    public var description: String { "\(address)/\(prefixLength)" }
}
