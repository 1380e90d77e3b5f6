import Bytes

/// Who uses an address: a listener must be told exactly where, a server may be named.
enum AddressUse {
    case listener
    case server
}

extension Loader {
    /// `sun_path` holds 108 bytes and ends with a zero.
    static let longestSocketPathBytes = 107

    /// `host:port`, `[v6]:port` or `unix:/path`.
    func address(_ text: Located<String>, for use: AddressUse) -> EndpointAddress? {
        if text.value.hasPrefix("unix:") { return socketAddress(text) }
        if let scheme = ["http://", "https://", "tcp://", "h2c://"].first(where: text.value.hasPrefix) {
            refuseScheme(scheme, text, use)
            return nil
        }
        guard let (host, port) = hostAndPort(text) else { return nil }
        guard let port = portNumber(port, text) else { return nil }
        return named(host, port, text, use)
    }

    /// What is suggested keeps the meaning of the scheme: its port, and for a server that there is TLS.
    private func refuseScheme(_ scheme: String, _ text: Located<String>, _ use: AddressUse) {
        var rest = String(text.value.dropFirst(scheme.count).prefix { $0 != "/" })
        let isSecure = scheme == "https://"
        let hasPort = rest.contains(":") && !rest.hasSuffix("]")
        if !hasPort, scheme.hasPrefix("http") { rest += isSecure ? ":443" : ":80" }
        let hint = isSecure && use == .server ? "; TLS to servers is \"tls = true\" beside \"servers\"" : ""
        error(text.position, "an address has no \"\(scheme)\"\(hint)", didYouMean: rest)
    }

    private func socketAddress(_ text: Located<String>) -> EndpointAddress? {
        let path = String(text.value.dropFirst("unix:".count))
        guard !path.isEmpty, !path.hasPrefix("@"), !path.utf8.contains(0) else {
            error(text.position, "\"unix:\" needs the path of a socket, such as \"unix:/run/tasks.sock\"")
            return nil
        }
        let resolved = resolve(path: path.hasPrefix("//") ? String(path.dropFirst()) : path)
        guard resolved.utf8.count <= Self.longestSocketPathBytes else {
            error(
                text.position,
                "the socket's path has \(resolved.utf8.count) bytes; at most \(Self.longestSocketPathBytes) fit"
            )
            return nil
        }
        return .unix(path: resolved)
    }

    private func hostAndPort(_ text: Located<String>) -> (host: Substring, port: Substring)? {
        let value = text.value
        if value.hasPrefix("[") {
            guard let end = value.firstIndex(of: "]"), value[end...].hasPrefix("]:") else {
                error(text.position, "\"\(value)\" is not [v6]:port, such as \"[::1]:8080\"")
                return nil
            }
            return (value[...end], value[value.index(end, offsetBy: 2)...])
        }
        guard let colon = value.lastIndex(of: ":") else {
            let what = value.allSatisfy(\.isNumber) && !value.isEmpty ? "a host" : "a port"
            error(
                text.position, "\"\(value)\" lacks \(what); an address is host:port, [v6]:port or unix:/path")
            return nil
        }
        guard !value[..<colon].contains(":") else {
            error(
                text.position, "an IPv6 address stands in brackets, such as \"[::1]:8080\", not \"\(value)\"")
            return nil
        }
        return (value[..<colon], value[value.index(after: colon)...])
    }

    private func portNumber(_ port: Substring, _ text: Located<String>) -> UInt16? {
        guard !port.isEmpty, port.utf8.allSatisfy(ASCII.isDigit), let number = UInt16(port),
            number > 0
        else {
            error(text.position, "the port of \"\(text.value)\" must be between 1 and 65535")
            return nil
        }
        return number
    }

    private func named(_ host: Substring, _ port: UInt16, _ text: Located<String>, _ use: AddressUse)
        -> EndpointAddress?
    {
        if host.hasPrefix("[") {
            let inner = String(host.dropFirst().dropLast())
            if let address = HostAddress(text: inner), address.isIPv6 {
                return isListenable(address, port, text, use) ? .ip(address, port: port) : nil
            }
            error(text.position, "\"\(inner)\" is not an IPv6 address")
            return nil
        }
        if let address = HostAddress(text: String(host)) { return .ip(address, port: port) }
        if host.isEmpty || host == "*" {
            error(
                text.position, "\"\(text.value)\" lacks a host",
                didYouMean: use == .listener ? "0.0.0.0:\(port)" : "127.0.0.1:\(port)")
            return nil
        }
        let name = host.lowercased()
        guard HostName.isValid(name) else {
            error(text.position, "\"\(host)\" is neither an IP address nor a host name")
            return nil
        }
        if use == .server { return .name(name, port: port) }
        if name == "localhost" { return .ip(.loopback, port: port) }
        error(text.position, "a listener needs an IP address, not the name \"\(name)\"")
        return nil
    }

    /// Listeners of IPv6 take nothing of IPv4, so that the kernel refuses to listen at such an address.
    private func isListenable(
        _ address: HostAddress, _ port: UInt16, _ text: Located<String>, _ use: AddressUse
    ) -> Bool {
        guard use == .listener, let mapped = address.mapped else { return true }
        error(
            text.position, "\"\(text.value)\" is an IPv4 address, at which no listener of IPv6 can be",
            didYouMean: "\(mapped):\(port)")
        return false
    }
}

extension Loader {
    /// A CIDR, or one address; never everybody (H9).
    func addressRange(_ text: Located<String>) -> AddressRange? {
        let parts = text.value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = HostAddress(text: String(parts[0])) else {
            error(text.position, "\"\(text.value)\" is not a CIDR, such as \"10.0.0.0/8\" or \"fd00::/8\"")
            return nil
        }
        let bits = address.bytes.count * 8
        guard parts.count == 2 else { return AddressRange(address: address, prefixLength: bits) }
        guard parts[1].utf8.allSatisfy(ASCII.isDigit), let length = Int(parts[1]),
            length <= bits
        else {
            error(text.position, "the prefix length of \"\(text.value)\" must be between 1 and \(bits)")
            return nil
        }
        let network = Self.network(of: address, length)
        guard !Self.isTooWide(network, length) else {
            error(
                text.position,
                "\"\(text.value)\" would trust everybody's forwarding headers; name the proxies")
            return nil
        }
        guard network == address else {
            error(
                text.position, "\"\(text.value)\" has bits set after its prefix",
                didYouMean: "\(network)/\(length)")
            return nil
        }
        return AddressRange(address: address, prefixLength: length)
    }

    private static func network(of address: HostAddress, _ length: Int) -> HostAddress {
        let bytes = address.bytes.enumerated().map { index, byte in
            let kept = min(8, max(0, length - index * 8))
            return byte & ~UInt8(truncatingIfNeeded: 0xFF >> kept)
        }
        return HostAddress(bytes: bytes) ?? address
    }

    /// No organisation owns more than a /8 of IPv4; fc00::/7 is the widest private range of IPv6. Two halves of
    /// the Internet, or all of IPv4 as mapped addresses, are `0.0.0.0/0` in disguise.
    private static func isTooWide(_ network: HostAddress, _ length: Int) -> Bool {
        guard network.isIPv6 else { return length < 8 }
        let mapped = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]
        if length <= 96 + 7,
            HostAddress(bytes: mapped + [0, 0, 0, 0]).map({ Self.network(of: $0, length) == network }) == true
        {
            return true
        }
        if length > 96, Array(network.bytes.prefix(12)) == mapped { return length < 96 + 8 }
        return length < 7
    }
}
