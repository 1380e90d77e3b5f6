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
        book.noteAdded(book.pending)
        #expect(book.pending.isEmpty)
    }

    @Test("what the store has taken is added again, unless it has said it itself before the connection ended")
    func takenAndNotSaid() throws {
        var book = RevocationBook()
        let (x, y) = (Array(entry("x").utf8), Array(entry("y").utf8))
        book.add([x, y])
        book.noteAdded(book.nextAdded)
        #expect(book.pending.isEmpty)
        _ = try book.take(reply(low: 5, top: 5, last: 5, [(entry("x"), 5)]))
        book.noteLineEnd()
        #expect(book.pending == [y])
        book.noteAdded(book.nextAdded)
        // The other server has the same list, without what was added last.
        #expect(try book.take(reply(low: 5, top: 5, last: 5)).isWhole)
        #expect(book.pending.isEmpty)
        #expect(try book.take(reply(name: "b", top: 0, last: 0)) == .init())
        #expect(Set(book.pending) == [x, y])
    }

    @Test("a store that has lost its list while something was added gets back all that it had")
    func lostMeanwhile() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 6, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        book.add([Array(entry("z").utf8)])
        let added = book.nextAdded
        #expect(try book.take(reply(name: "b", top: 0, last: 0)) == .init())
        book.noteAdded(added)
        #expect(Set(book.pending) == [Array(entry("x").utf8), Array(entry("y").utf8)])
    }

    /// 32 entries with the scores 1 to 32, of which the store has dropped the first by its age.
    private func aged() throws -> RevocationBook {
        var book = RevocationBook()
        let all = (1...32).map { (entry("t\($0)"), $0) }
        _ = try book.take(reply(low: 1, top: 32, last: 32, all))
        #expect(try !book.take(reply(low: 2, top: 32, last: 32)).isChanged)
        return book
    }

    @Test("what the store has dropped by age, and is still known here, can be added again")
    func addedAgain() throws {
        var book = try aged()
        let (old, held) = (Array(entry("t1").utf8), Array(entry("t2").utf8))
        book.add([old, held])
        #expect(book.pending == [old])
        book.noteAdded(book.nextAdded)
        book.noteLineEnd()
        #expect(book.pending == [old], "the store has not said it")
        book.noteAdded(book.nextAdded)
        _ = try book.take(reply(low: 2, top: 40, last: 40, [(entry("t1"), 40)]))
        book.noteLineEnd()
        #expect(book.pending.isEmpty)
        // It is as young as the store has it now.
        #expect(try book.take(reply(low: 33, top: 40, last: 40)).isChanged)
        #expect(revokes(book, "t1") && !revokes(book, "t2"))
    }

    @Test("what the store had dropped by age is news to no other one")
    func agedBeforeAnotherStore() throws {
        var book = RevocationBook()
        let entries = (1...40).map { (entry("t\($0)"), $0) }
        _ = try book.take(reply(low: 1, top: 40, last: 40, entries))
        #expect(try book.take(reply(low: 3, top: 40, last: 40)) == .init(isWhole: true))
        #expect(revokes(book, "t1"), "so few are kept on for a while")
        #expect(try book.take(reply(name: "b", top: 0, last: 0)) == .init(isChanged: true))
        #expect(book.pending.count == 38 && !revokes(book, "t1") && revokes(book, "t3"))
    }

    @Test("what another store has taken is added again until that one has said it", arguments: [true, false])
    func takenByAnotherStore(isForgotten: Bool) throws {
        var book = RevocationBook()
        let (x, y) = (Array(entry("x").utf8), Array(entry("y").utf8))
        _ = try book.take(reply(low: 5, top: 6, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        if isForgotten {
            _ = book.forgetStore()
        } else {
            _ = try book.take(reply(name: "b", top: 0, last: 0))
        }
        book.noteAdded(book.nextAdded)
        #expect(book.pending.isEmpty)
        book.noteLineEnd()
        #expect(Set(book.pending) == [x, y])
        book.noteAdded(book.nextAdded)
        _ = try book.take(reply(name: "b", low: 50, top: 50, last: 50, [(entry("x"), 50)]))
        book.noteLineEnd()
        #expect(book.pending == [y])
        book.noteAdded(book.nextAdded)
        _ = try book.take(reply(name: "b", low: 50, top: 51, last: 51, [(entry("y"), 51)]))
        book.noteLineEnd()
        #expect(book.pending.isEmpty)
    }

    @Test(
        "what others gave to a store that lost its list is no reason to drop what this proxy has not given back yet"
    )
    func notDroppedWhileAdded() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 6, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        #expect(try book.take(reply(name: "b", low: 100, top: 100, last: 100)) == .init())
        #expect(try book.take(reply(name: "b", low: 100, top: 100, last: 100, [(entry("w"), 100)])).isChanged)
        #expect(revokes(book, "w") && revokes(book, "x") && revokes(book, "y"))
        _ = try book.take(
            reply(name: "b", low: 100, top: 102, last: 102, [(entry("x"), 101), (entry("y"), 102)]))
        #expect(try book.take(reply(name: "b", low: 102, top: 102, last: 102)).isChanged)
        #expect(!revokes(book, "w") && !revokes(book, "x") && revokes(book, "y"))
    }

    @Test("nothing is kept for a store that will not say it: it had it before, or never says what is so long")
    func neverSaid() throws {
        var book = RevocationBook()
        book.add([Array(entry("x").utf8)])
        let added = book.nextAdded
        // The reply to a call that was made before, where somebody else was faster.
        _ = try book.take(reply(low: 5, top: 5, last: 5, [(entry("x"), 5)]))
        book.noteAdded(added)
        book.add([Array(entry(String(repeating: "l", count: 65_536)).utf8)])
        book.noteAdded(book.nextAdded)
        book.noteLineEnd()
        #expect(book.pending.isEmpty)
    }

    @Test("what the store dropped by age goes here, too")
    func trimmed() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 6, last: 6, [(entry("x"), 5), (entry("y"), 6)]))
        #expect(try book.take(reply(low: 6, top: 6, last: 6)).isChanged)
        #expect(!revokes(book, "x") && revokes(book, "y"))
    }

    @Test("what the store drops one by one goes here an eighth at a time: each time all others are read anew")
    func droppedInParts() throws {
        var book = RevocationBook()
        let all = (1...32).map { (entry("t\($0)"), $0) }
        #expect(try book.take(reply(low: 1, top: 32, last: 32, all)).isChanged)
        for low in 2...4 { #expect(try !book.take(reply(low: low, top: 32, last: 32)).isChanged) }
        #expect(revokes(book, "t1") && revokes(book, "t32"))
        #expect(try book.take(reply(low: 5, top: 32, last: 32)).isChanged)
        #expect((1...4).allSatisfy { !revokes(book, "t\($0)") } && revokes(book, "t5"))
        #expect(try !book.take(reply(low: 5, top: 32, last: 32)).isChanged)
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

    @Test(
        "a list that was lost and begun anew before anybody looked is given back, and not taken for one that has aged"
    )
    func begunAnew() throws {
        var book = RevocationBook()
        _ = try book.take(
            reply(low: 5, top: 7, last: 7, [(entry("x"), 5), (entry("y"), 6), (entry("z"), 7)]))
        // What was added before 6 may have been dropped by age.
        let next = reply(low: 50, top: 50, last: 50, [(entry("w"), 50)])
        #expect(try book.take(next, young: 6) == .init(isChanged: true, isWhole: true))
        #expect(!revokes(book, "x") && revokes(book, "y") && revokes(book, "z") && revokes(book, "w"))
        #expect(Set(book.pending) == [Array(entry("y").utf8), Array(entry("z").utf8)])
        book.noteAdded(book.nextAdded)
        let given = [(entry("y"), 51), (entry("z"), 52)]
        #expect(try book.take(reply(low: 50, top: 52, last: 52, given), young: 6).isWhole)
        book.noteLineEnd()
        #expect(book.pending.isEmpty && revokes(book, "y"))
    }

    @Test("of more revocations than there is room for, the youngest are known")
    func moreThanThereIsRoomFor() throws {
        var book = RevocationBook(capacity: 16)
        for page in 0..<4 {
            let entries = (0..<10).map { (entry("t\(page * 10 + $0)"), page * 10 + $0 + 1) }
            let outcome = try book.take(reply(low: 1, top: 40, last: page * 10 + 10, entries))
            #expect(outcome == .init(isChanged: true, isWhole: page == 3))
        }
        #expect((26..<40).allSatisfy { revokes(book, "t\($0)") } && !revokes(book, "t20"))
        #expect(book.leftOutCount + book.list.count == 40)
        // Of what another store has not said it is not known how old it is: it stays.
        _ = try book.take(reply(name: "b", top: 3, last: 3))
        let known = book.list.count
        let others = (1...9).map { (entry("o\($0)"), $0) }
        #expect(try book.take(reply(name: "b", low: 1, top: 9, last: 9, others)).isWhole)
        #expect(revokes(book, "t39") && book.list.count >= known && book.list.count <= 16)
    }

    @Test("what waits to be added is there once, however often it is told")
    func addedOnce() throws {
        var book = RevocationBook()
        let (x, y) = (Array(entry("x").utf8), Array(entry("y").utf8))
        for _ in 0..<3 { book.add([x, y]) }
        #expect(book.pending == [x, y])
        book.noteAdded([x])
        book.add([y, x])
        #expect(book.pending == [y, x])
        book.noteAdded([y, x])
        book.noteLineEnd()
        for _ in 0..<3 { book.add([x, y]) }
        #expect(book.pending.count == 2)
    }

    @Test("what is added goes in calls of a bounded size, and nothing that the store has")
    func adding() throws {
        var book = RevocationBook()
        _ = try book.take(reply(low: 5, top: 5, last: 5, [(entry("x"), 5)]))
        book.add([Array(entry("x").utf8)])
        #expect(book.pending.isEmpty)
        book.add((0..<1200).map { Array(entry("t\($0)").utf8) })
        #expect(book.nextAdded.count == RevocationBook.addCount)
        while !book.pending.isEmpty { book.noteAdded(book.nextAdded) }
        book.add([[UInt8](repeating: 1, count: 600_000), [2]])
        #expect(book.nextAdded.count == 1, "one that is larger than that goes alone")
        _ = book.forgetStore()
        #expect(book.pending.count == 1203, "nothing of it was read yet")
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
