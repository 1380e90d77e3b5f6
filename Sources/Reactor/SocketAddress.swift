internal import CLinux
internal import Glibc

/// Where a socket listens or connects to.
public enum SocketAddress: Hashable, Sendable {
    /// An IPv4 address in host byte order, and a port.
    case ipv4(UInt32, port: UInt16)
    /// The upper and the lower half of an IPv6 address in host byte order, and a port.
    case ipv6(UInt64, UInt64, port: UInt16)
    /// A Unix socket at a path of at most 107 bytes; empty for the unnamed peer of one.
    case unix(String)

    /// Reads `host:port` with a numeric IPv4 host, `[v6]:port` or `unix:/path`; nil for anything else, a host name
    /// included (see `resolve`).
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard !path.isEmpty, path.utf8.count <= 107 else { return nil }
            self = .unix(path)
            return
        }
        guard let (host, port) = Self.split(text), let address = Self.numeric(host, port: port) else {
            return nil
        }
        self = address
    }

    /// Host and port of `host:port` or `[v6]:port`, the brackets removed; nil where the port is missing or not in
    /// 0...65535.
    public static func split(_ text: String) -> (host: String, port: UInt16)? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let port = UInt16(digits)
        else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        return host.isEmpty ? nil : (String(host), port)
    }

    /// The address of a numeric host, or nil.
    public static func numeric(_ host: String, port: UInt16) -> SocketAddress? {
        var four = in_addr()
        // SAFETY: inet_pton writes one in_addr or in6_addr into a local.
        if unsafe inet_pton(AF_INET, host, &four) == 1 {
            return .ipv4(UInt32(bigEndian: four.s_addr), port: port)
        }
        var six = in6_addr()
        guard unsafe inet_pton(AF_INET6, host, &six) == 1 else { return nil }
        return unsafe withUnsafeBytes(of: six) { bytes in
            .ipv6(
                UInt64(bigEndian: unsafe bytes.load(as: UInt64.self)),
                UInt64(bigEndian: unsafe bytes.load(fromByteOffset: 8, as: UInt64.self)), port: port)
        }
    }

    /// All stream addresses of a host name, in the resolver's order. Blocks: never on a worker.
    public static func resolve(_ host: String, port: UInt16) -> [SocketAddress] {
        if let address = numeric(host, port: port) { return [address] }
        // SAFETY: all members zero or nil is how getaddrinfo(3) wants hints.
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        // SAFETY: the list is freed by its first entry below, after its last use.
        guard unsafe getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
        let first = unsafe list
        defer { unsafe freeaddrinfo(first) }
        var found: [SocketAddress] = []
        while let entry = unsafe list {
            var storage = sockaddr_storage()
            // SAFETY: ai_addr has ai_addrlen bytes, at most a sockaddr_storage.
            unsafe memcpy(&storage, entry.pointee.ai_addr, Int(entry.pointee.ai_addrlen))
            if let address = SocketAddress(storage), !found.contains(address) { found.append(address) }
            unsafe list = entry.pointee.ai_next
        }
        return found
    }

    /// AF_INET, AF_INET6 or AF_UNIX.
    var family: Int32 {
        switch self {
        case .ipv4: AF_INET
        case .ipv6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// The port, or nil for a Unix socket.
    public var port: UInt16? {
        switch self {
        case .ipv4(_, let port), .ipv6(_, _, let port): port
        case .unix: nil
        }
    }

    /// The same address with another port; a Unix socket stays what it is.
    public func with(port: UInt16) -> SocketAddress {
        switch self {
        case .ipv4(let host, _): .ipv4(host, port: port)
        case .ipv6(let high, let low, _): .ipv6(high, low, port: port)
        case .unix: self
        }
    }

    /// The address as the kernel writes it; nil for a family that is not ours.
    init?(_ storage: sockaddr_storage) {
        switch Int32(storage.ss_family) {
        case AF_INET:
            // SAFETY: the family says which structure is stored; sockaddr_storage is large and aligned enough.
            let four = unsafe withUnsafeBytes(of: storage) { unsafe $0.load(as: sockaddr_in.self) }
            self = .ipv4(UInt32(bigEndian: four.sin_addr.s_addr), port: UInt16(bigEndian: four.sin_port))
        case AF_INET6:
            self = unsafe withUnsafeBytes(of: storage) { bytes in
                // SAFETY: sin6_port is at offset 2, sin6_addr at 8, in a structure of 28 bytes.
                .ipv6(
                    UInt64(bigEndian: unsafe bytes.load(fromByteOffset: 8, as: UInt64.self)),
                    UInt64(bigEndian: unsafe bytes.load(fromByteOffset: 16, as: UInt64.self)),
                    port: UInt16(bigEndian: unsafe bytes.load(fromByteOffset: 2, as: UInt16.self)))
            }
        case AF_UNIX: self = .unix("")
        default: return nil
        }
    }

    /// The address as the kernel writes it, a Unix socket with its path; nil for a family that is not ours.
    init?(_ storage: sockaddr_storage, length: Int) {
        guard Int32(storage.ss_family) == AF_UNIX else {
            self.init(storage)
            return
        }
        // SAFETY: the bytes of a local value; the path begins behind the family, in its first `length` bytes.
        let path = unsafe withUnsafeBytes(of: storage) { bytes in
            unsafe Array(bytes[min(2, length)..<min(length, bytes.count)])
        }
        self = .unix(String(decoding: path.prefix { $0 != 0 }, as: UTF8.self))
    }

    /// Calls `body` with the kernel's form of the address.
    func withKernelForm<R>(_ body: (UnsafePointer<sockaddr_storage>, socklen_t) -> R) -> R {
        var storage = sockaddr_storage()
        var length = 0
        // SAFETY: each case writes one structure of its family, which fits into a sockaddr_storage.
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            switch self {
            case .ipv4(let host, let port):
                unsafe bytes.storeBytes(of: sa_family_t(AF_INET), as: sa_family_t.self)
                unsafe bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
                unsafe bytes.storeBytes(of: host.bigEndian, toByteOffset: 4, as: UInt32.self)
                length = MemoryLayout<sockaddr_in>.size
            case .ipv6(let high, let low, let port):
                unsafe bytes.storeBytes(of: sa_family_t(AF_INET6), as: sa_family_t.self)
                unsafe bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
                unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 8, as: UInt64.self)
                unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 16, as: UInt64.self)
                length = MemoryLayout<sockaddr_in6>.size
            case .unix(let path):
                unsafe bytes.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
                let text = Array(path.utf8.prefix(107))
                unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[2...]).copyBytes(from: text)
                length = 2 + text.count + 1
            }
        }
        return unsafe body(&storage, socklen_t(length))
    }
}

extension SocketAddress: CustomStringConvertible {
    /// The host without port: `192.0.2.1`, `2001:db8::1` (an IPv4-mapped one in its IPv4 form), or `unix`.
    public var host: String {
        switch self {
        case .ipv4(let host, _):
            return "\(host >> 24).\(host >> 16 & 255).\(host >> 8 & 255).\(host & 255)"
        case .ipv6(0, let low, _) where low >> 32 == 0xffff:
            return SocketAddress.ipv4(UInt32(truncatingIfNeeded: low), port: 0).host
        case .ipv6(let high, let low, _):
            var address = in6_addr()
            // SAFETY: in6_addr is 16 bytes; inet_ntop writes at most INET6_ADDRSTRLEN into the array.
            unsafe withUnsafeMutableBytes(of: &address) { bytes in
                unsafe bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
                unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            guard unsafe inet_ntop(AF_INET6, &address, &text, socklen_t(INET6_ADDRSTRLEN)) != nil else {
                return "::"
            }
            return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        case .unix:
            return "unix"
        }
    }

    /// As a configuration writes it: `192.0.2.1:80`, `[::1]:80`, `unix:/path`.
    public var description: String {
        switch self {
        case .ipv4(_, let port): "\(host):\(port)"
        case .ipv6(_, _, let port): "[\(host)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}
