import JOSE
import Redis
import Testing

@testable import Control

@Suite("Revocations in the shared store")
struct RevocationBookTests {
    private func text(_ text: String) -> RedisReply { .text(Array(text.utf8)) }

    private func reply(
        name: String = "a", low: Int = 0, top: Int, last: Int, _ entries: [(String, Int)] = []
    ) -> RedisReply {
        let list = entries.flatMap { [text($0.0), text("\($0.1)")] }
        return .list([text(name), text("\(low)"), text("\(top)"), text("\(last)"), .list(list)])
    }

    private func revokes(_ book: RevocationBook, _ token: String) -> Bool {
        book.list.revokes(issuer: nil, tokenID: Array(token.utf8), subject: [], issuedAt: 1)
    }

    private func entry(_ token: String) -> String { "{\"jti\":[\"\(token)\"]}" }

    @Test("what is new is read in pages, from where the last one ended")
    func pages() throws {
        var book = RevocationBook()
        #expect(book.readArguments(proposed: [112])[0] == Array("0".utf8))
        let first = try book.take(reply(low: 5, top: 7, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        #expect(first == .init(isChanged: true, isWhole: false))
        #expect(book.readArguments(proposed: [112])[0] == Array("6".utf8))
        #expect(try book.take(reply(low: 5, top: 7, last: 7, [(entry("z"), 7)])).isWhole)
        #expect(try book.take(reply(low: 5, top: 7, last: 7)) == .init(isChanged: false, isWhole: true))
        #expect(["x", "y", "z"].allSatisfy { revokes(book, $0) } && !revokes(book, "w"))
    }

    @Test("what the store has lost is given back to it", arguments: [("b", 9), ("a", 5), ("a", 0)])
    func lost(name: String, top: Int) throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 6, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        #expect(try book.take(reply(name: name, top: top, last: top)) == .init())
        #expect(Set(book.pending) == [Array(entry("x").utf8), Array(entry("y").utf8)])
        #expect(revokes(book, "x") && revokes(book, "y"))
        #expect(book.readArguments(proposed: [])[0] == Array("0".utf8))
        book.noteAdded(2)
        #expect(book.pending.isEmpty)
    }

    @Test("what the store dropped by age goes here, too")
    func trimmed() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 6, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        #expect(try book.take(reply(low: 6, top: 6, last: 6)).isChanged)
        #expect(!revokes(book, "x") && revokes(book, "y"))
    }

    @Test("entries that are none are passed over and counted")
    func malformed() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 1, top: 3, last: 3, [("junk", 1), ("{}", 2), (entry("x"), 3)]))
        #expect(book.malformedCount == 1 && revokes(book, "x"))
    }

    @Test("replies that make no sense are refused, and leave what was known")
    func refused() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 5, last: 5, [(entry("x"), 5)]))
        let bad: [RedisReply] = [
            .none, .integer(1), .list([]), .list([text("a"), text("x"), text("1"), text("1"), .list([])]),
            .list([text(""), text("1"), text("1"), text("1"), .list([])]),
            .list([text("a"), text("1"), text("1"), text("-1"), .list([])]),
            .list([text("a"), text("0"), text("9"), text("9"), .list([text("odd")])]),
            .list([text("a"), text("0"), text("9"), text("9"), .list([.integer(1), text("9")])]),
            .list([text("a"), text("0"), text("9"), text("5"), .list([])]),
        ]
        for reply in bad { #expect(throws: RedisFault.unexpected) { try book.take(reply) } }
        #expect(revokes(book, "x"))
    }

    @Test("scores may be written as numbers with an exponent")
    func scores() throws {
        var book = RevocationBook()
        let list = RedisReply.list([text(entry("x")), text("1.7637084001234561e+15")])
        let read = RedisReply.list(
            [text("a"), text("1.7e+15"), text("1763708400123456"), text("1.763708400123456e+15"), list])
        #expect(try book.take(read).isWhole)
        #expect(book.readArguments(proposed: [])[0] == Array("1763708400123456".utf8))
    }

    @Test("what is added goes in calls of a bounded size, and nothing that the store has")
    func adding() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 5, last: 5, [(entry("x"), 5)]))
        book.add([Array(entry("x").utf8)])
        #expect(book.pending.isEmpty)
        book.add((0..<1200).map { Array(entry("t\($0)").utf8) })
        #expect(book.nextAdded.count == RevocationBook.addCount)
        book.noteAdded(1200)
        book.add([[UInt8](repeating: 1, count: 600_000), [2]])
        #expect(book.nextAdded.count == 1, "one that is larger than that goes alone")
        book.forgetStore()
        #expect(book.pending.count == 3)
    }

    @Test("a list falls into entries that make the list again")
    func entries() throws {
        let whole =
            #"{"jti":["a\"\\",{"iss":"https://i","jti":"b"},{"iss":"https://k","jti":"b"}],"sub":{"u":12}}"#
        let list = try #require(RevocationList(Array(whole.utf8)))
        var joined = RevocationList()
        for entry in list.entries { joined.formUnion(try #require(RevocationList(entry))) }
        #expect(joined == list && list.entries.count == 4)
    }
}
