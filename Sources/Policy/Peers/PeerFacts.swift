/// What the proxy knows of whoever opened the connection, made once when it is accepted.
public struct PeerFacts: Sendable, BitwiseCopyable {
    /// The address of the other end of the connection; `IPAddress.none` for a Unix socket.
    public let address: IPAddress
    /// The listener, a place in `PolicySpec.listeners`.
    public let listener: Int
    /// True where the connection to us is TLS.
    public let isSecure: Bool
    /// The SHA-256 of the client's certificate in DER (`x5t#S256`, RFC 8705 §3.1); nil without one that was verified.
    public let clientCertificateSHA256: InlineArray<32, UInt8>?
    private var characters: InlineArray<45, UInt8>
    private var characterCount: UInt8

    /// The facts of one connection.
    public init(
        address: IPAddress, listener: Int, isSecure: Bool,
        clientCertificateSHA256: InlineArray<32, UInt8>? = nil
    ) {
        self.address = address
        self.listener = listener
        self.isSecure = isSecure
        self.clientCertificateSHA256 = clientCertificateSHA256
        characters = InlineArray(repeating: 0)
        characterCount = 0
        guard !address.isNone else { return }
        if address.isV4 { writeDotted() } else { writeGroups() }
    }

    /// The same connection, as it is numbered by other settings.
    public func numbered(listener: Int) -> PeerFacts {
        PeerFacts(
            address: address, listener: listener, isSecure: isSecure,
            clientCertificateSHA256: clientCertificateSHA256)
    }

    /// The address as text, e.g. `192.0.2.1` or `2001:db8::1` (RFC 5952), without brackets; empty for a Unix socket.
    public var addressText: Span<UInt8> {
        @_lifetime(borrow self)
        get { characters.span.extracting(first: Int(characterCount)) }
    }

    private mutating func write(_ byte: UInt8) {
        characters[Int(characterCount)] = byte
        characterCount += 1
    }

    private mutating func writeDotted() {
        for shift in [24, 16, 8, 0] as [UInt64] {
            let byte = UInt8(truncatingIfNeeded: address.low >> shift)
            if shift != 24 { write(UInt8(ascii: ".")) }
            if byte >= 100 { write(48 + byte / 100) }
            if byte >= 10 { write(48 + byte / 10 % 10) }
            write(48 + byte % 10)
        }
    }

    private func group(_ place: Int) -> UInt16 {
        let half = place < 4 ? address.high : address.low
        return UInt16(truncatingIfNeeded: half >> UInt64((3 - place % 4) * 16))
    }

    /// The longest run of zero groups, the first of equals, where it has two or more (RFC 5952 §4.2).
    private var gap: Range<Int> {
        var best = 0..<0
        var start = 0
        for place in 0...8 where place == 8 || group(place) != 0 {
            if place - start > max(best.count, 1) { best = start..<place }
            start = place + 1
        }
        return best
    }

    private mutating func writeGroups() {
        let gap = self.gap
        var place = 0
        while place < 8 {
            if !gap.isEmpty, place == gap.lowerBound {
                write(UInt8(ascii: ":"))
                write(UInt8(ascii: ":"))
                place = gap.upperBound
                continue
            }
            if place > 0, place != gap.upperBound || gap.isEmpty { write(UInt8(ascii: ":")) }
            writeHex(group(place))
            place += 1
        }
    }

    private mutating func writeHex(_ value: UInt16) {
        var started = false
        for shift in [12, 8, 4, 0] as [UInt16] {
            let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
            guard started || digit != 0 || shift == 0 else { continue }
            started = true
            write(digit < 10 ? 48 + digit : 87 + digit)
        }
    }
}
