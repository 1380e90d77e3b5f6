/// An Internet address. IPv4 is held as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2), so that one client is one value
/// whichever kind of socket it came in by.
public struct IPAddress: Sendable, Equatable, BitwiseCopyable {
    /// The first eight bytes, the first one highest.
    public let high: UInt64
    /// The last eight bytes.
    public let low: UInt64

    /// The IPv6 address of these sixteen bytes in network order, as two numbers.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The IPv4 address; `127.0.0.1` is 0x7F000001.
    public init(v4: UInt32) {
        high = 0
        low = 0xFFFF_0000_0000 | UInt64(v4)
    }

    /// No address: a peer on a Unix socket.
    public static var none: IPAddress { IPAddress(high: 0, low: 0) }

    /// True for `none`, the unspecified address, which no peer has.
    public var isNone: Bool { high == 0 && low == 0 }

    /// True for an IPv4 address.
    public var isV4: Bool { high == 0 && low >> 32 == 0xFFFF }

    /// The address that `text` spells (RFC 4291 §2.2, or four decimal numbers), or nil; without brackets and zone.
    public init?(_ text: String) {
        guard let address = AddressReader.read(Array(text.utf8).span) else { return nil }
        self = address
    }
}

/// A network: an address and how many of its leading bits count (RFC 4632 §3.1).
public struct AddressBlock: Sendable, Equatable, BitwiseCopyable {
    /// The address, bits behind the prefix are zero.
    public let address: IPAddress
    /// The number of leading bits that count, 0 to 128; an IPv4 prefix is 96 more than it is written.
    public let prefixBitCount: Int

    /// The block that `text` spells, `10.0.0.0/8` or a single address, or nil; bits behind the prefix must be zero.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        let isV4 = !first.contains(":")
        var bits = 128
        if parts.count == 2 {
            let digits = parts[1]
            guard (1...3).contains(digits.utf8.count), digits.utf8.allSatisfy({ (48...57).contains($0) }),
                let count = Int(digits), count <= (isV4 ? 32 : 128)
            else { return nil }
            bits = isV4 ? count + 96 : count
        }
        self.address = address
        prefixBitCount = bits
        let masked = Self.masked(address, bits)
        guard masked == address else { return nil }
    }

    /// True for `0.0.0.0/0` and `::/0`, which trust everybody (H9).
    public var isEverything: Bool {
        prefixBitCount == 0 || (address.isV4 && prefixBitCount == 96)
    }

    /// True where `other` lies in the block.
    public func contains(_ other: IPAddress) -> Bool {
        !other.isNone && Self.masked(other, prefixBitCount) == address
    }

    /// True where every address of `other` lies in the block.
    public func contains(_ other: AddressBlock) -> Bool {
        prefixBitCount <= other.prefixBitCount && Self.masked(other.address, prefixBitCount) == address
    }

    private static func masked(_ address: IPAddress, _ bits: Int) -> IPAddress {
        let high: UInt64 = bits >= 64 ? .max : ~(.max >> UInt64(bits))
        let low: UInt64 = bits >= 128 ? .max : bits <= 64 ? 0 : ~(.max >> UInt64(bits - 64))
        return IPAddress(high: address.high & high, low: address.low & low)
    }
}
