import Config
import JOSE
import Logging
import Policy
import Proxy
import Reactor
import Testing

@testable import Control

@Suite("Servers that judge credentials")
struct VerdictTests {
    private func source() throws -> RemoteSource {
        RemoteSource(
            name: "session.a", kind: .betterAuthSession,
            url: try #require(RemoteURL("http://web:3000/api/auth/get-session")))
    }

    private func verdict(_ status: UInt16, _ body: String) throws -> RemoteAnswer.Result? {
        try? source().verdict(FetchAnswer(status: status, body: Array(body.utf8)))
    }

    @Test("Better Auth's answers: an object, null, or nothing that says anything")
    func answers() throws {
        #expect(try verdict(200, "{}") == .accepted(Array("{}".utf8)))
        #expect(try verdict(200, " \n{}") == .accepted(Array(" \n{}".utf8)))
        #expect(try verdict(200, "null") == .refused)
        #expect(try verdict(200, " null\n") == .refused)
        #expect(try verdict(401, "{}") == .refused)
        for (status, body) in [
            (200, ""), (200, "nullx"), (200, "[]"), (200, "true"), (204, ""), (302, "null"),
        ] {
            #expect(try verdict(UInt16(status), body) == nil, "\(status) \(body)")
        }
        for status in [400, 403, 404, 429, 500, 503] as [UInt16] {
            #expect(try verdict(status, "null") == nil)
        }
    }

    @Test("Cookies are passed on within bounds, and never what could end a line")
    func cookies() {
        let good = Array("a=1; Path=/".utf8)
        #expect(RemoteSource.passable([good, [], Array("a\nb".utf8), [0x61, 0x7F], good]) == [good, good])
        let large = [UInt8](repeating: 0x61, count: 20_000)
        #expect(RemoteSource.passable([large, large]) == [large])
    }

    private func question(
        _ text: String, form: RemoteQuestion.Form = .cookies, from address: String = "192.0.2.1"
    )
        -> RemoteQuestion
    {
        let bytes = Array(text.utf8)
        return RemoteQuestion(
            key: RemoteKey(source: "session.a", stamp: 1, credential: bytes), form: form, text: bytes,
            clientAddress: address)
    }

    @Test("What goes to the server")
    func requests() throws {
        func text(_ question: RemoteQuestion) throws -> String {
            String(decoding: try source().request(question), as: UTF8.self)
        }
        let cookies = try text(question("a=1; b=2"))
        #expect(cookies.hasPrefix("GET /api/auth/get-session HTTP/1.1\r\nHost: web:3000\r\n"))
        #expect(cookies.hasSuffix("\r\nX-Forwarded-For: 192.0.2.1\r\nCookie: a=1; b=2\r\n\r\n"))
        let bearer = try text(question("T", form: .bearer, from: ""))
        #expect(bearer.hasSuffix("\r\nAuthorization: Bearer T\r\n\r\n"))
        #expect(!bearer.contains("X-Forwarded-For"))
    }

    private let start = Instant(microseconds: 0)

    @Test("One question for each credential, whoever asks, and its answer for whoever asks a moment later")
    func singleFlight() throws {
        let server = AskedServer(try source(), stamp: 1)
        let (one, two) = (question("1"), question("2"))
        #expect(server.ask(one, now: start) == nil && server.ask(one, now: start) == nil)
        #expect(server.ask(two, now: start) == nil)
        #expect(server.next?.key == one.key)
        server.removeNext()
        #expect(server.next?.key == two.key)
        server.removeNext()
        #expect(server.next == nil)
        server.concluded(RemoteAnswer(key: one.key, result: .refused, setCookies: [[0x61]]), now: start)
        let repeated = server.ask(one, now: start.advanced(byMilliseconds: 900))
        #expect(repeated?.result == .refused && repeated?.setCookies == [])
        #expect(server.ask(one, now: start.advanced(byMilliseconds: 1100)) == nil)
        // Nobody keeps that nobody could tell.
        server.concluded(RemoteAnswer(key: two.key, result: .unavailable), now: start)
        #expect(server.ask(two, now: start) == nil)
    }

    @Test(
        "A question that could not be put goes first on the next connection, unless it was answered meanwhile"
    )
    func putBack() throws {
        let server = AskedServer(try source(), stamp: 1)
        let (one, two) = (question("1"), question("2"))
        #expect(server.ask(one, now: start) == nil && server.ask(two, now: start) == nil)
        server.removeNext()
        server.putBack(one)
        #expect(server.next?.key == one.key)
        server.removeNext()
        server.concluded(RemoteAnswer(key: one.key, result: .refused), now: start)
        server.putBack(one)
        #expect(server.next?.key == two.key)
    }

    @Test("Those who wait too long are told, and so is everybody where the server cannot be reached")
    func unavailable() throws {
        let server = AskedServer(try source(), stamp: 1)
        #expect(server.deadline == .never)
        #expect(server.ask(question("1"), now: start) == nil)
        let later = start.advanced(byMilliseconds: 4500)
        #expect(server.deadline == later)
        #expect(server.expire(now: start.advanced(byMilliseconds: 4499)).isEmpty)
        #expect(server.expire(now: later).map(\.result) == [.unavailable])
        #expect(server.next == nil && server.deadline == .never)
        #expect(server.ask(question("1"), now: later) == nil)
        #expect(server.giveUp(now: later).map(\.key) == [question("1").key])
        #expect(server.ask(question("2"), now: later.advanced(byMilliseconds: 999))?.result == .unavailable)
        #expect(server.tally.unavailable == 3 && server.tally.refused == 0)
        #expect(server.tally.durations.microseconds == 4_500_000, "what was not even put took no time")
        #expect(server.ask(question("2"), now: later.advanced(byMilliseconds: 1000)) == nil)
        #expect(server.openQuestions == 1)
    }

    @Test(
        "A question that is under way is not put a second time, though nobody has waited for its answer any more"
    )
    func askedAgainTooSoon() throws {
        let server = AskedServer(try source(), stamp: 1)
        let (one, two) = (question("1"), question("2"))
        #expect(server.ask(one, now: start) == nil)
        server.removeNext()
        let line = try line()
        line.carries(one, until: start.advanced(byMilliseconds: 9000))
        server.lines.append(line)
        let later = start.advanced(byMilliseconds: 4500)
        #expect(server.expire(now: later).map(\.key) == [one.key])
        #expect(server.ask(two, now: later) == nil && server.ask(one, now: later) == nil)
        #expect(server.next?.key == two.key && server.openQuestions == 2)
        server.removeNext()
        #expect(server.next == nil, "its first answer must not come behind its second")
        server.drop(line)
        server.putBack(one)
        #expect(server.next?.key == one.key, "who waits again is not forgotten with the connection")
    }

    private func line() throws -> VerdictLine {
        let listener = try Listener(at: .ipv4(0x7f00_0001, port: 0))
        let url = try #require(RemoteURL("http://web:3000/"))
        return VerdictLine(
            try FetchConnection(
                to: listener.address, url,
                trusting: SystemTrust(SystemAuthorities(environment: [:])).context(),
                sending: [], try Poller(), 1), token: 1)
    }

    @Test("What came of questions is counted once each, with the time that it took")
    func tally() throws {
        let server = AskedServer(try source(), stamp: 1)
        let (one, two) = (question("1"), question("2"))
        #expect(server.ask(one, now: start) == nil && server.ask(one, now: start) == nil)
        #expect(server.ask(two, now: start) == nil)
        let later = start.advanced(byMilliseconds: 20)
        server.concluded(RemoteAnswer(key: one.key, result: .accepted([])), now: later)
        server.concluded(RemoteAnswer(key: one.key, result: .accepted([])), now: later)
        server.concluded(RemoteAnswer(key: two.key, result: .refused), now: later)
        #expect(server.tally.accepted == 1 && server.tally.refused == 1 && server.tally.unavailable == 0)
        #expect(server.tally.durations.microseconds == 40_000)
        let text = QuestionStatus.metrics([
            QuestionStatus(source: "session.a", tally: server.tally, open: 0, connections: 2)
        ])
        #expect(text.contains("usher_credential_connections{source=\"session.a\"} 2\n"))
        #expect(QuestionStatus.metrics([]).isEmpty)
    }

    @Test("Who waited in vain for a connection has waited, who was sent away at once has not")
    func durationsOfNoAnswer() throws {
        let server = AskedServer(try source(), stamp: 1)
        #expect(server.ask(question("1"), now: start) == nil)
        #expect(server.ask(question("2"), now: start.advanced(byMilliseconds: 300)) == nil)
        let later = start.advanced(byMilliseconds: 700)
        #expect(server.giveUp(now: later).count == 2)
        #expect(server.tally.durations.microseconds == 700_000 + 400_000)
        #expect(server.ask(question("3"), now: later)?.result == .unavailable)
        #expect(server.tally.unavailable == 3)
        let text = QuestionStatus.metrics([
            QuestionStatus(source: "session.a", tally: server.tally, open: 0, connections: 0)
        ])
        #expect(text.contains("usher_credential_question_duration_seconds_count{source=\"session.a\"} 2\n"))
        #expect(text.contains("result=\"unavailable\"} 3\n"))
    }

    @Test("Long credentials and long answers take no more memory than short ones")
    func sizes() throws {
        let server = AskedServer(try source(), stamp: 1)
        let long = String(repeating: "c", count: 30_000)
        for number in 0..<1000 {
            let key = question("\(number)\(long)").key
            server.concluded(RemoteAnswer(key: key, result: .refused), now: start)
            server.concluded(
                RemoteAnswer(key: key, result: .accepted([UInt8](repeating: 0x20, count: 30_000))), now: start
            )
            #expect(server.recent.byteCount <= RecentAnswers.largestBytes)
            #expect(server.recent.result(for: key, now: start) != nil)
        }
        // 30,000 bytes twice each: 279 of them wait, and another one when one is put.
        let asked = (0..<1000).map { server.ask(question("\($0 + 1000)\(long)"), now: start) }
        #expect(asked.count { $0 == nil } == 279 && asked[999]?.result == .unavailable)
        server.removeNext()
        #expect(server.ask(question("2000\(long)"), now: start) == nil)
        #expect(server.ask(question("2001\(long)"), now: start)?.result == .unavailable)
        #expect(server.giveUp(now: start).count == 279)
        let later = start.advanced(byMilliseconds: 2000)
        #expect(server.ask(question("2001\(long)"), now: later) == nil)
        #expect(server.expire(now: later.advanced(byMilliseconds: 9000)).count == 2)
        #expect(server.ask(question("2002"), now: later.advanced(byMilliseconds: 9000)) == nil)
    }

    @Test("Every address of a name is tried once")
    func addresses() throws {
        let server = AskedServer(try source(), stamp: 1)
        let (one, two) = (SocketAddress.ipv4(1, port: 1), SocketAddress.ipv4(2, port: 1))
        #expect(server.address(now: start) == nil)
        server.note(addresses: [one, two], now: start)
        #expect(server.address(now: start) == one)
        #expect(server.moveOn(from: one) && server.address(now: start) == two)
        #expect(server.moveOn(from: one), "the other one is not tried yet")
        #expect(!server.moveOn(from: two))
        #expect(server.address(now: start) == one)
        #expect(server.address(now: start.advanced(byMilliseconds: 30_000)) == nil, "looked up again")
    }

    @Test("What is known of a name stays known while it cannot be looked up, unless nobody is there any more")
    func namesAreAway() throws {
        let server = AskedServer(try source(), stamp: 1)
        let one = SocketAddress.ipv4(1, port: 1)
        server.note(addresses: [], now: start)
        #expect(server.address(now: start) == nil && server.formerAddress == nil)
        server.note(addresses: [one], now: start)
        let later = start.advanced(byMilliseconds: 30_000)
        #expect(server.address(now: later) == nil && server.formerAddress == one)
        server.note(addresses: [], now: later)
        #expect(server.address(now: later) == one)
        _ = server.giveUp(now: later)
        #expect(
            server.address(now: later) == nil && server.formerAddress == nil, "whoever waits needs another")
        server.note(addresses: [], now: later)
        #expect(server.address(now: later) == one, "there is no other")
    }

    @Test("A question does not wait for a look-up where the server was a moment ago")
    func askedMeanwhile() throws {
        let listener = try Listener(at: .ipv4(0x7f00_0001, port: 0))
        let port = try #require(listener.address.port)
        let keeper = try VerdictKeeper(environment: [:], log: Logger(label: "test"))
        keeper.configure([
            RemoteSource(
                name: "session.a", kind: .betterAuthSession,
                url: try #require(RemoteURL("http://localhost:\(port)/api/auth/get-session")))
        ])
        let poller = try Poller()
        var lookup = try Poller()
        try lookup.add(keeper.lookups.descriptor, token: 0, for: .readable)
        keeper.ask(question("1"), poller, now: start)
        #expect(keeper.servers[0].lines.isEmpty)
        #expect(lookup.wait(timeoutMilliseconds: 30_000) == 1)
        keeper.noteLookups(poller, now: start)
        #expect(keeper.servers[0].lines.count == 1)
        keeper.ask(question("2"), poller, now: start.advanced(byMilliseconds: 30_000))
        #expect(keeper.servers[0].lines.count == 2)
        #expect(lookup.wait(timeoutMilliseconds: 30_000) == 1, "it is looked up all the same")
        keeper.noteLookups(poller, now: start)
    }

    @Test("A look-up with the same addresses does not lead back to one that gives no answer")
    func placeStays() throws {
        let server = AskedServer(try source(), stamp: 1)
        let (one, two) = (SocketAddress.ipv4(1, port: 1), SocketAddress.ipv4(2, port: 1))
        server.note(addresses: [one, two], now: start)
        #expect(server.moveOn(from: one))
        server.note(addresses: [one, two], now: start)
        #expect(server.address(now: start) == two)
        server.note(addresses: [two, one], now: start)
        #expect(server.address(now: start) == two)
        server.answered()
        #expect(
            server.moveOn(from: two) && server.address(now: start) == one, "it is the other one's turn again")
        #expect(!server.moveOn(from: one), "none has answered since")
        server.note(addresses: [two], now: start)
        #expect(server.address(now: start) == two && !server.moveOn(from: two))
    }
}
