import Foundation
import Proxy
import Reactor
import Testing

@testable import Control

@Suite("Listeners")
struct ListenerBookTests {
    private let loopback = SocketAddress.ipv4(0x7f00_0001, port: 0)

    @Test("each worker gets a socket of its own on one real port")
    func open() throws {
        var book = ListenerBook()
        let prepared = try book.prepare([ListenerSettings(name: "a", address: loopback)], workers: 3)
        let port = try #require(prepared.addresses.first?.address.port)
        #expect(port != 0)
        let listeners = prepared.workers.map { $0[0] }
        #expect(Set(listeners.compactMap(\.descriptor)).count == 3)
        #expect(listeners.allSatisfy { $0.address.port == port && $0.name == "a" })
        prepared.abandon()
    }

    @Test("a listener that is open already is not opened again, by whatever name")
    func keep() throws {
        var book = ListenerBook()
        let first = try book.prepare([ListenerSettings(name: "a", address: loopback)], workers: 2)
        let real = first.addresses[0].address
        let descriptors = first.workers.joined().compactMap(\.descriptor)
        book.commit(first)
        let second = try book.prepare([ListenerSettings(name: "b", address: loopback)], workers: 2)
        #expect(
            second.workers.joined().allSatisfy {
                $0.descriptor == nil && $0.address == real && $0.name == "b"
            })
        for descriptor in descriptors { _ = FileDescriptor(owning: descriptor) }
    }

    @Test(
        "with fewer workers, no socket is lost: those that stay get what the others have; with more, new ones share"
    )
    func otherNumbers() throws {
        var book = ListenerBook()
        let settings = [ListenerSettings(name: "a", address: loopback)]
        let first = try book.prepare(settings, workers: 3)
        let before = first.workers.joined().compactMap(\.descriptor)
        book.commit(first)
        let fewer = try book.prepare(settings, workers: 1, before: 3)
        #expect(fewer.workers.count == 3)
        #expect(fewer.workers.allSatisfy { $0.contains { $0.descriptor == nil } }, "each keeps its own")
        let given = fewer.workers[0].compactMap(\.descriptor)
        #expect(given.count == 2 && Set(given).isDisjoint(with: before))
        #expect(fewer.workers[1...].joined().allSatisfy { $0.descriptor == nil })
        book.commit(fewer)
        for descriptor in before[1...] { _ = FileDescriptor(owning: descriptor) }
        let lent = try #require(book.open[loopback]?.first)
        #expect(Set(lent.descriptors) == Set([before[0]] + given) && Set(lent.holders) == [0])
        let more = try book.prepare(settings, workers: 2, before: 1)
        #expect(more.workers[0].map(\.descriptor) == [nil])
        #expect(more.workers[1].compactMap(\.descriptor).count == 1)
        more.abandon()
        for descriptor in [before[0]] + given { _ = FileDescriptor(owning: descriptor) }
    }

    @Test("workers that come and go for ever leave no descriptors behind", arguments: [1, 2, 3])
    func comingAndGoing(fewest: Int) throws {
        var book = ListenerBook()
        let wanted = [ListenerSettings(name: "a", address: loopback)]
        var given: [Int32] = []
        book.commit(try book.prepare(wanted, workers: 4))
        for _ in 0..<20 {
            for (workers, before) in [(fewest, 4), (4, fewest)] {
                let prepared = try book.prepare(wanted, workers: workers, before: before)
                given += prepared.workers.joined().compactMap(\.descriptor)
                book.commit(prepared)
                let places = book.open.values.joined()
                #expect(places.allSatisfy { $0.descriptors.count <= 4 + 3 })
                #expect(places.allSatisfy { Set($0.holders) == Set(0..<workers) })
            }
        }
        for descriptor in Set(given) { _ = FileDescriptor(owning: descriptor) }
    }

    @Test("an address that is taken is a failure that names it, and leaves nothing open")
    func taken() throws {
        let path = NSTemporaryDirectory() + "usher-\(UUID().uuidString).sock"
        let inTheWay = try Listener(at: .unix(path))
        defer { unlink(path) }
        let wanted = [
            ListenerSettings(name: "a", address: loopback),
            ListenerSettings(name: "b", address: inTheWay.address),
        ]
        #expect {
            var book = ListenerBook()
            _ = try book.prepare(wanted, workers: 2)
        } throws: { error in
            let failure = error as? ListenerBook.Failure
            return failure?.name == "b" && failure?.address == .unix(path)
        }
    }

    @Test("inherited sockets are spread over the workers, none is closed", arguments: [1, 2, 3, 5])
    func inherited(count: Int) throws {
        var descriptors: [Int32] = []
        let first = try Listener(at: loopback)
        let real = first.address
        for _ in 0..<2 { descriptors.append(try Listener(at: real).release()) }
        descriptors.append(first.release())
        var book = ListenerBook()
        book.inherited = [
            InheritedSocket(address: loopback, real: real, descriptors: descriptors),
            InheritedSocket(real: .ipv4(1, port: 1), name: "other", descriptors: []),
        ]
        let prepared = try book.prepare([ListenerSettings(name: "a", address: loopback)], workers: count)
        let given = prepared.workers.joined().compactMap(\.descriptor)
        #expect(Set(descriptors).isSubset(of: given) && given.count == max(count, 3))
        #expect(prepared.workers.allSatisfy { !$0.isEmpty })
        #expect(book.inherited.map(\.name) == ["other"])
        prepared.abandon()
    }

    @Test("workers share one Unix socket by descriptors of their own")
    func unixSocket() throws {
        let path = NSTemporaryDirectory() + "usher-\(UUID().uuidString).sock"
        defer { unlink(path) }
        var book = ListenerBook()
        let prepared = try book.prepare(
            [ListenerSettings(name: "u", address: .unix(path))], workers: 2)
        #expect(Set(prepared.workers.joined().compactMap(\.descriptor)).count == 2)
        prepared.abandon()
    }
}
