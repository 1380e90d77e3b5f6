import Bytes

/// An `http` or `https` URL (RFC 3986) of something that the proxy asks: a key set, a metadata document.
public struct RemoteURL: Sendable, Hashable {
    /// Whether it is `https`.
    public let isSecure: Bool
    /// The host in lower case: a name, or an IP address without brackets.
    public let host: String
    /// The port, 80 or 443 where the URL names none.
    public let port: UInt16
    /// Path and query, which start with `/`.
    public let target: String

    /// The URL of that text; nil for another scheme, user information, a fragment, or what is no URL.
    public init?(_ text: String) {
        guard text.utf8.count <= 2048, text.utf8.allSatisfy(Self.isURLByte),
            let scheme = text.range(ofFirst: "://")
        else { return nil }
        switch text[..<scheme.lowerBound].lowercased() {
        case "http": isSecure = false
        case "https": isSecure = true
        default: return nil
        }
        let rest = text[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard let (host, port) = Self.split(authority) else { return nil }
        self.host = host
        self.port = port ?? (isSecure ? 443 : 80)
        let target = String(rest.dropFirst(authority.count))
        self.target = target.hasPrefix("/") ? target : "/" + target
    }

    private init(isSecure: Bool, host: String, port: UInt16, target: String) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.target = target
    }

    /// The same server with another path and query, which start with `/`.
    public func with(target: String) -> RemoteURL {
        precondition(target.hasPrefix("/"))
        return RemoteURL(isSecure: isSecure, host: host, port: port, target: target)
    }

    /// The URL of something below this one, whose path may end with a slash; `path` starts with one.
    public func below(_ path: String) -> RemoteURL {
        with(target: (target.hasSuffix("/") ? String(target.dropLast()) : target) + path)
    }

    /// Where a `Location` of a response for this URL leads (RFC 9110 §10.2.2): a whole URL, or a path that starts
    /// with one `/`; nil for anything else.
    public func following(_ location: String) -> RemoteURL? {
        if location.hasPrefix("//") { return nil }
        guard location.hasPrefix("/") else { return RemoteURL(location) }
        return location.utf8.allSatisfy(Self.isURLByte) ? with(target: location) : nil
    }

    /// Scheme, host and port as a browser writes them (RFC 6454 §6.2): the usual port is left out.
    public var origin: String { (isSecure ? "https://" : "http://") + authority }

    /// What `Host` says: the usual port is left out, an IPv6 address has brackets.
    public var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }

    /// Whether the host is an address, not a name.
    public var hostIsAddress: Bool { HostAddress(text: host) != nil }

    /// Whether both have the same scheme, host and port.
    public func hasSameOrigin(as other: RemoteURL) -> Bool {
        (isSecure, host, port) == (other.isSecure, other.host, other.port)
    }

    /// Whether nothing leaves this machine.
    public var isLoopback: Bool {
        HostAddress(text: host)?.isLoopback ?? (host == "localhost" || host.hasSuffix(".localhost"))
    }

    /// Visible ASCII without what RFC 3986 excludes, and without `#`, which never goes to a server.
    private static func isURLByte(_ byte: UInt8) -> Bool {
        (0x21...0x7E).contains(byte) && !"\"#<>\\^`{|}".utf8.contains(byte)
    }

    private static func split(_ authority: Substring) -> (host: String, port: UInt16?)? {
        guard !authority.contains("@") else { return nil }
        var host = authority
        var port: UInt16?
        let searched = authority.lastIndex(of: "]") ?? authority.startIndex
        if let colon = authority[searched...].lastIndex(of: ":") {
            let digits = authority[authority.index(after: colon)...]
            guard digits.utf8.allSatisfy(ASCII.isDigit), let number = UInt16(digits),
                number > 0
            else { return nil }
            (host, port) = (authority[..<colon], number)
        }
        if host.hasPrefix("[") {
            guard host.hasSuffix("]"), let address = HostAddress(text: String(host.dropFirst().dropLast())),
                address.isIPv6
            else { return nil }
            return (String(host.dropFirst().dropLast()).lowercased(), port)
        }
        let name = host.lowercased()
        guard !name.contains(":"), HostAddress(text: name) != nil || HostName.isValid(name) else {
            return nil
        }
        return (name, port)
    }
}

extension RemoteURL: CustomStringConvertible {
    /// The whole URL.
    public var description: String { origin + target }

    /// The URL but for what its query says, which may be a key: for logs and reasons, which tell where something is.
    public var place: String {
        guard let query = target.firstIndex(of: "?") else { return origin + target }
        return origin + target[...query] + "…"
    }
}
