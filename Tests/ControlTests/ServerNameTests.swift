import Logging
import Reactor
import Testing

@testable import Control

@Suite("Names of servers")
struct ServerNameTests {
    private let four = SocketAddress.ipv4(0x7f00_0001, port: 1)
    private let six = SocketAddress.ipv6(0, 1, port: 1)

    @Test("one family alone is taken as it is")
    func oneFamily() {
        let other = SocketAddress.ipv4(0x7f00_0002, port: 1)
        #expect(AddressFamilies.reachable(among: [four, other]) == [four, other])
        #expect(AddressFamilies.reachable(among: [six]) == [six])
        #expect(AddressFamilies.reachable(among: []) == [])
    }

    @Test("of two families IPv4 is taken where it takes connections, and where none does")
    func fourFirst() throws {
        #expect(AddressFamilies.reachable(among: [six, four]) == [four])
        let listener = try Listener(at: .ipv4(0x7f00_0001, port: 0))
        let port = try #require(listener.address.port)
        let both = [six.with(port: port), four.with(port: port)]
        #expect(AddressFamilies.reachable(among: both) == [four.with(port: port)])
    }

    @Test("IPv6 is taken where IPv4 takes no connections")
    func sixWhereFourIsRefused() throws {
        guard let listener = try? Listener(at: .ipv6(0, 1, port: 0)) else { return }
        let port = try #require(listener.address.port)
        let both = [four.with(port: port), six.with(port: port)]
        #expect(AddressFamilies.reachable(among: both) == [six.with(port: port)])
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
}
