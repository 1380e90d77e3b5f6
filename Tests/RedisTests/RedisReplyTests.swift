import Testing

@testable import Redis

@Suite("Replies of the Redis protocol")
struct RedisReplyTests {
    private func parse(_ text: String) throws(RedisFault) -> RedisReply? {
        var parser = RedisReplyParser()
        parser.feed(Array(text.utf8).span)
        return try parser.next()
    }

    private static let good: [(String, RedisReply)] = [
        ("+OK\r\n", .status(Array("OK".utf8))), ("-ERR no\r\n", .error(Array("ERR no".utf8))),
        (":-12\r\n", .integer(-12)), (":9223372036854775807\r\n", .integer(.max)),
        ("$3\r\na\r\n\r\n", .text(Array("a\r\n".utf8))), ("$0\r\n\r\n", .text([])), ("$-1\r\n", .none),
        ("*-1\r\n", .none), ("*0\r\n", .list([])),
        ("*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", .list([.integer(1), .list([.text([120])])])),
    ]

    @Test("each kind", arguments: good.indices)
    func kinds(index: Int) throws {
        let (text, reply) = Self.good[index]
        #expect(try parse(text) == reply)
    }

    @Test("a reply that comes in pieces is there when all of it is", arguments: good.indices)
    func pieces(index: Int) throws {
        let (text, reply) = Self.good[index]
        var parser = RedisReplyParser()
        let bytes = Array((text + ":7\r\n").utf8)
        var replies: [RedisReply] = []
        for byte in bytes {
            parser.feed([byte].span)
            while let next = try parser.next() { replies.append(next) }
        }
        #expect(replies == [reply, .integer(7)])
    }

    @Test(
        "what is not the protocol is a fault",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\n", "\r\n", "+OK\rx", "$3\r\nabcde", "$-2\r\n", "*-2\r\n", ":\r\n",
            ":1x\r\n", ":+1\r\n", ":9223372036854775808\r\n", "$1a\r\n", "*1\r\n!\r\n",
        ])
    func malformed(text: String) {
        #expect(throws: RedisFault.malformed) { try parse(text) }
    }

    @Test("memory is bounded: what is too large is refused before it is here")
    func tooLarge() {
        let long = String(repeating: "x", count: RedisReplyParser.longestLine + 1)
        for text in [
            "$1048577\r\n", "*4097\r\n", "+" + long,
            String(repeating: "*1\r\n", count: RedisReplyParser.deepest + 1),
        ] {
            #expect(throws: RedisFault.tooLarge) { try parse(text) }
        }
        let megabyte = "$1048576\r\n" + String(repeating: "x", count: 1 << 20) + "\r\n"
        #expect(throws: RedisFault.tooLarge) {
            try parse("*5\r\n" + String(repeating: megabyte, count: 5))
        }
        #expect(throws: RedisFault.tooLarge) {
            try parse("*6\r\n" + String(repeating: megabyte, count: 4))
        }
    }

    @Test("the parts of a reply, and nothing of a reply of another kind")
    func parts() {
        #expect(RedisReply.text([1]).bytes == [1] && RedisReply.integer(1).bytes == nil)
        #expect(RedisReply.integer(5).number == 5 && RedisReply.none.number == nil)
        #expect(RedisReply.list([.none]).parts == [.none] && RedisReply.text([]).parts == nil)
    }
}
