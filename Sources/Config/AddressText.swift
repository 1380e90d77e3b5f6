extension HostAddress {
    /// Dotted IPv4 without leading zeros, or IPv6 as in RFC 4291, 2.2, without brackets and zone.
    public init?(text: String) {
        let bytes = text.utf8.contains(UInt8(ascii: ":")) ? Self.parseIPv6(text) : Self.parseIPv4(text[...])
        guard let bytes else { return nil }
        self.bytes = bytes
    }

    private static func parseIPv4(_ text: Substring) -> [UInt8]? {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            // "010" is 8 to some readers and 10 to others.
            guard part.count == 1 || part.first != UInt8(ascii: "0"), part.first != UInt8(ascii: "+"),
                let byte = UInt8(String(Substring(part)))
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func parseIPv6(_ text: String) -> [UInt8]? {
        let halves = split(text, at: "::")
        guard halves.count <= 2, var head = groups(halves[0]) else { return nil }
        guard halves.count == 2 else { return head.count == 16 ? head : nil }
        // "::" stands for at least one group of zeros, and an IPv4 tail may only end the text.
        guard let tail = groups(halves[1]), head.count + tail.count <= 14, !halves[0].contains(".") else {
            return nil
        }
        head += [UInt8](repeating: 0, count: 16 - head.count - tail.count)
        return head + tail
    }

    /// The text before the first `::` and the text after it, in which a second one is an empty group, thus refused.
    private static func split(_ text: String, at separator: String) -> [Substring] {
        var index = text.startIndex
        while index < text.endIndex {
            if text[index...].hasPrefix(separator) {
                return [text[..<index], text[text.index(index, offsetBy: 2)...]]
            }
            index = text.index(after: index)
        }
        return [text[...]]
    }

    /// Groups of hexadecimal digits between colons; the last one may be an IPv4 address.
    private static func groups(_ text: Substring) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains(".") {
                guard let tail = parseIPv4(part) else { return nil }
                bytes += tail
            } else {
                guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy(isHexDigit),
                    let group = UInt16(part, radix: 16)
                else { return nil }
                bytes += [UInt8(group >> 8), UInt8(group & 0xFF)]
            }
        }
        return bytes.count <= 16 ? bytes : nil
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
    }

    /// Whether it belongs to this machine alone.
    public var isLoopback: Bool {
        isIPv6 ? bytes == [UInt8](repeating: 0, count: 15) + [1] : bytes[0] == 127
    }
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
