import Glibc
import Logging
import Reactor
import Testing

@testable import Control

/// A port of 127.0.0.1 that refuses connections.
private struct RefusingPort: ~Copyable {
    let number: UInt16
    private let socket: FileDescriptor

    init() throws {
        socket = FileDescriptor(owning: Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = socket.number
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        try #require(isBound)
        number = UInt16(bigEndian: address.sin_port)
    }
}

@Suite("Names of servers")
struct ServerNameTests {
    private let four = SocketAddress.ipv4(0x7f00_0001, port: 1)
    private let six = SocketAddress.ipv6(0, 1, port: 1)

    @Test("one family alone is taken as it is")
    func oneFamily() {
        let other = SocketAddress.ipv4(0x7f00_0002, port: 1)
        #expect(AddressFamilies.reachable(among: [four, other]) == .init(addresses: [four, other]))
        #expect(AddressFamilies.reachable(among: [six], known: .four) == .init(addresses: [six]))
        #expect(AddressFamilies.reachable(among: []) == .init(addresses: []))
    }

    @Test("of two families that take no connections the known one stays; without one IPv4 is a guess")
    func noneAnswers() {
        let both = [six, four]
        #expect(AddressFamilies.reachable(among: both) == .init(addresses: [four], isGuess: true))
        #expect(AddressFamilies.reachable(among: both, known: .four) == .init(addresses: [four]))
        #expect(AddressFamilies.reachable(among: both, known: .six) == .init(addresses: [six]))
    }

    @Test("of two families IPv4 is taken where it takes connections")
    func fourFirst() throws {
        let listener = try Listener(at: .ipv4(0x7f00_0001, port: 0))
        let port = try #require(listener.address.port)
        let both = [six.with(port: port), four.with(port: port)]
        #expect(
            AddressFamilies.reachable(among: both, known: .six) == .init(addresses: [four.with(port: port)]))
    }

    @Test("IPv6 is taken where IPv4 takes no connections")
    func sixWhereFourIsRefused() throws {
        guard (try? Listener(at: .ipv6(0, 1, port: 0))) != nil else { return }
        // A port of IPv4 that refuses for as long as somebody has it and does not listen: others get theirs by chance.
        for _ in 0..<100 {
            let refusing = try RefusingPort()
            let both = [four.with(port: refusing.number), six.with(port: refusing.number)]
            guard let listener = try? Listener(at: both[1]) else { continue }
            #expect(AddressFamilies.reachable(among: both) == .init(addresses: [both[1]]))
            _ = listener.descriptor
            return
        }
        Issue.record("each port of IPv6 was taken")
    }

    @Test("a name that has an address is known after the first wait, and one without stays unknown")
    func book() throws {
        var log = Logger(label: "test")
        log.logLevel = .critical
        let book = try NameBook(log: log)
        let known = NameBook.Name(host: "localhost", port: 8000)
        let unknown = NameBook.Name(host: "no such name.invalid", port: 8000)
        book.add([known: 60_000, unknown: 60_000], now: .now())
        #expect(book.addresses(of: known).isEmpty)
        book.waitForAnswers(milliseconds: 60_000)
        #expect(
            book.addresses(of: known).allSatisfy { $0.port == 8000 } && !book.addresses(of: known).isEmpty)
        #expect(book.addresses(of: unknown).isEmpty)
        // What failed is asked again soon, long before the interval.
        #expect(book.deadline < Instant.now().advanced(byMilliseconds: 5_000))
        book.retain([unknown: 60_000])
        #expect(book.addresses(of: known).isEmpty)
    }

    @Test("a shorter interval brings the next look-up forward, and a longer one does not put it off")
    func shorterInterval() throws {
        var log = Logger(label: "test")
        log.logLevel = .critical
        let book = try NameBook(log: log)
        let name = NameBook.Name(host: "127.0.0.1", port: 8000)
        book.add([name: 3_600_000], now: .now())
        book.waitForAnswers(milliseconds: 60_000)
        let now = Instant.now()
        #expect(book.deadline > now.advanced(byMilliseconds: 1_800_000))
        book.add([name: 1000], now: now)
        #expect(book.deadline <= now.advanced(byMilliseconds: 1000))
        book.add([name: 3_600_000], now: now)
        #expect(book.deadline <= now.advanced(byMilliseconds: 1000))
    }
}
