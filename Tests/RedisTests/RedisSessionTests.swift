import Testing

@testable import Redis

@Suite("A session with a server of the Redis protocol")
struct RedisSessionTests {
    private let digest = String(repeating: "a", count: 40)

    private func receive(_ text: String, _ session: inout RedisSession) throws -> [UInt64: RedisReply] {
        var replies: [UInt64: RedisReply] = [:]
        for (tag, reply) in try session.receive(Array(text.utf8).span) { replies[tag] = reply }
        return replies
    }

    private func output(_ session: inout RedisSession) -> String {
        String(decoding: session.takeOutput(), as: UTF8.self)
    }

    private func loaded() throws -> RedisSession {
        var session = RedisSession(login: RedisLogin(), scripts: ["return 1"])
        _ = session.takeOutput()
        _ = try receive("$40\r\n\(digest)\r\n", &session)
        return session
    }

    @Test("it logs in, chooses its database, and tells its scripts at once")
    func login() throws {
        var session = RedisSession(
            login: RedisLogin(user: Array("u".utf8), password: Array("p w".utf8), database: 3),
            scripts: ["return 1"])
        #expect(
            output(&session)
                == "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np w\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
                + "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 1\r\n")
        #expect(session.takeOutput().isEmpty, "once")
        _ = try receive("+OK\r\n+OK\r\n", &session)
        let isCalled = session.call(0, keys: [], arguments: [], tag: 1)
        #expect(!session.isReady && !isCalled)
        _ = try receive("$40\r\n\(digest)\r\n", &session)
        #expect(session.isReady && session.awaitedCount == 0)
    }

    @Test("without a user and a password nothing is said of them")
    func noLogin() {
        var plain = RedisSession(login: RedisLogin(), scripts: ["x"])
        #expect(output(&plain).hasPrefix("*3\r\n$6\r\nSCRIPT"))
        var password = RedisSession(login: RedisLogin(password: [112]), scripts: ["x"])
        #expect(output(&password).hasPrefix("*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n"))
    }

    @Test("a login that is refused ends it, with the server's words and nothing that a terminal obeys")
    func refused() {
        var session = RedisSession(login: RedisLogin(password: [112]), scripts: ["x"])
        #expect(throws: RedisFault.refused("WRONGPASS no?[31m")) {
            try receive("-WRONGPASS no\u{1b}[31m\r\n", &session)
        }
    }

    @Test(
        "a server that says it is not the one to ask, also through a script",
        arguments: [
            ("READONLY You can't write against a read only replica.", true),
            ("READONLY You can't write against a read only replica. script: 5f, on @user_script:13.", true),
            (
                "ERR Error running script (call to f_5f): @user_script:13: @user_script: 13: -READONLY You can't",
                true
            ),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", true),
            ("LOADING Redis is loading the dataset in memory", true),
            ("NOREPLICAS Not enough good replicas to write.", true),
            ("OOM command not allowed when used memory > 'maxmemory'.", false),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", false),
            ("NOPERM this user has no permissions to run the 'evalsha' command", false),
            ("ERR unknown command 'READONLYX'", false), ("", false), ("-", false),
        ])
    func elsewhere(words: String, expected: Bool) {
        #expect(RedisSession.isElsewhere(words) == expected)
    }

    @Test(
        "answers to the login that make no sense", arguments: ["$2\r\nhi\r\n", ":1\r\n", "*0\r\n", "$-1\r\n"])
    func strange(text: String) {
        var session = RedisSession(login: RedisLogin(), scripts: ["x"])
        #expect(throws: RedisFault.unexpected) { try receive(text, &session) }
    }

    @Test("calls go by digest, replies come in their order")
    func calls() throws {
        var session = try loaded()
        let isCalled = session.call(0, keys: [[107]], arguments: [[49], []], tag: 7)
        let isCalledAgain = session.call(0, keys: [], arguments: [], tag: 8)
        #expect(isCalled && isCalledAgain)
        #expect(
            output(&session)
                == "*6\r\n$7\r\nEVALSHA\r\n$40\r\n\(digest)\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\n1\r\n$0\r\n\r\n"
                + "*3\r\n$7\r\nEVALSHA\r\n$40\r\n\(digest)\r\n$1\r\n0\r\n")
        #expect(try receive(":1\r\n", &session) == [7: .integer(1)])
        #expect(try receive("+OK\r\n", &session) == [8: .status(Array("OK".utf8))])
        #expect(throws: RedisFault.unexpected) { try receive(":1\r\n", &session) }
    }

    @Test("a script that the server forgot goes whole, once")
    func forgotten() throws {
        var session = try loaded()
        _ = session.call(0, keys: [], arguments: [], tag: 7)
        _ = session.call(0, keys: [], arguments: [], tag: 8)
        _ = session.takeOutput()
        #expect(try receive("-NOSCRIPT none\r\n:8\r\n", &session).keys.sorted() == [8])
        #expect(output(&session) == "*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n")
        #expect(try receive("-NOSCRIPT none\r\n", &session) == [7: .error(Array("NOSCRIPT none".utf8))])
    }

    @Test("other errors are the caller's")
    func errors() throws {
        var session = try loaded()
        _ = session.call(0, keys: [], arguments: [], tag: 7)
        #expect(try receive("-WRONGTYPE x\r\n", &session) == [7: .error(Array("WRONGTYPE x".utf8))])
    }

    @Test("there is a bound to what is under way")
    func bound() throws {
        var session = try loaded()
        let taken = (0...RedisSession.largestCallCount).count { _ in
            session.call(0, keys: [], arguments: [], tag: 1)
        }
        #expect(taken == RedisSession.largestCallCount)
    }
}
