import CSimulation

/// What a proxy in front says before all else: whose connection it is (PROXY protocol, versions 1 and 2).
struct Greeting {
    let bytes: [UInt8]
    /// The address that it tells, or that of the connection where it tells none.
    let source: String
    let isWrong: Bool

    /// What a connection without one comes from.
    static let own = "127.0.0.1"
    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    init(mayBeWrong: Bool) {
        let (four, six) = ("192.0.2.\(1 + sim_below(250))", "2001:db8::\(1 + sim_below(9))")
        isWrong = mayBeWrong && sim_below(8) == 0
        if isWrong {
            source = Self.own
            let wrong = [
                Array("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n".utf8), Array("GET / HTTP/1.1\r\n\r\n".utf8),
                Self.signature + [0x31, 0x11, 0, 0], Self.signature + [0x21, 0x11, 0, 4, 1, 2, 3, 4],
                Array("PROXY ".utf8) + Array(repeating: 65, count: 200),
            ]
            bytes = wrong[Int(sim_below(UInt32(wrong.count)))]
            return
        }
        let extra = (0..<sim_below(40)).map { _ in UInt8(0) }
        switch sim_below(6) {
        case 0: (source, bytes) = (four, Array("PROXY TCP4 \(four) 192.0.2.254 4711 443\r\n".utf8))
        case 1: (source, bytes) = (six, Array("PROXY TCP6 \(six) 2001:db8::ff 4711 443\r\n".utf8))
        case 2: (source, bytes) = (Self.own, Array("PROXY UNKNOWN\r\n".utf8))
        case 3:
            // LOCAL: the proxy speaks for itself.
            (source, bytes) = (Self.own, Self.signature + [0x20, 0, 0, UInt8(extra.count)] + extra)
        case 4:
            let addresses: [UInt8] = [192, 0, 2, UInt8(four.split(separator: ".")[3]) ?? 0, 192, 0, 2, 254]
            let block = addresses + [0x12, 0x67, 0x01, 0xbb] + Self.padding(extra.count)
            (source, bytes) = (four, Self.signature + [0x21, 0x11, 0, UInt8(block.count)] + block)
        default:
            let host = { (last: UInt8) -> [UInt8] in
                [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
            }
            let last = UInt8(six.split(separator: ":").last ?? "") ?? 0
            let block = host(last) + host(0xff) + [0x12, 0x67, 0x01, 0xbb] + Self.padding(extra.count)
            (source, bytes) = (six, Self.signature + [0x21, 0x21, 0, UInt8(block.count)] + block)
        }
    }

    /// PP2_TYPE_NOOP, of so many bytes or none.
    private static func padding(_ count: Int) -> [UInt8] {
        count < 3 ? [] : [4, 0, UInt8(count - 3)] + Array(repeating: 0, count: count - 3)
    }
}
