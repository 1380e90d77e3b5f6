/// How a client of a server introduces itself.
public struct RedisLogin: Sendable, Equatable {
    /// The user of the server's access list; empty for the default one.
    public var user: [UInt8]
    /// Its password; nil where none is sent.
    public var password: [UInt8]?
    /// The number of the database.
    public var database: Int

    /// That user, with that password, for that database.
    public init(user: [UInt8] = [], password: [UInt8]? = nil, database: Int = 0) {
        self.user = user
        self.password = password
        self.database = database
    }
}

/// One connection to a server of the Redis protocol, without I/O: bytes come in, bytes and replies go out.
///
/// It logs in, tells the server the scripts, and then calls them by their digests (EVALSHA); where the server has
/// forgotten one (NOSCRIPT), the same call goes again with the whole text, which the server remembers from then on.
/// Replies come in the order of the calls.
public struct RedisSession: Sendable {
    /// The most calls that may be under way.
    public static let largestCallCount = 65_536

    /// What a reply that is awaited belongs to.
    private enum Step {
        case login
        case database
        case script(Int)
        case call(Call, isWhole: Bool)
    }

    private struct Call {
        let tag: UInt64
        let script: Int
        let keys: [[UInt8]]
        let arguments: [[UInt8]]
    }

    private let scripts: [[UInt8]]
    private var digests: [[UInt8]]
    private var parser = RedisReplyParser()
    private var output: [UInt8] = []
    private var steps: [Step] = []
    /// Steps before this one are done.
    private var done = 0
    /// True once calls can be made.
    public private(set) var isReady = false

    /// A session that begins: its first output logs in. `scripts` are named by their places from then on.
    public init(login: RedisLogin, scripts: [String]) {
        self.scripts = scripts.map { Array($0.utf8) }
        digests = scripts.map { _ in [] }
        if let password = login.password {
            send(["AUTH"].map(Self.bytes) + (login.user.isEmpty ? [] : [login.user]) + [password], .login)
        }
        if login.database != 0 {
            send([Self.bytes("SELECT"), Self.bytes("\(login.database)")], .database)
        }
        for (place, script) in self.scripts.enumerated() {
            send([Self.bytes("SCRIPT"), Self.bytes("LOAD"), script], .script(place))
        }
    }

    /// How many replies are awaited.
    public var awaitedCount: Int { steps.count - done }

    /// What is to be sent, once.
    public mutating func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// Calls a script. The reply comes under `tag`. False where too many calls are under way, or none can be made yet.
    public mutating func call(_ script: Int, keys: [[UInt8]], arguments: [[UInt8]], tag: UInt64) -> Bool {
        guard isReady, awaitedCount < Self.largestCallCount else { return false }
        send(Call(tag: tag, script: script, keys: keys, arguments: arguments), isWhole: false)
        return true
    }

    /// Takes in bytes; the replies to calls that are whole now. After an error the connection is of no use.
    public mutating func receive(_ bytes: Span<UInt8>) throws(RedisFault) -> [(
        tag: UInt64, reply: RedisReply
    )] {
        parser.feed(bytes)
        var replies: [(tag: UInt64, reply: RedisReply)] = []
        while let reply = try parser.next() {
            guard done < steps.count else { throw .unexpected }
            let step = steps[done]
            done += 1
            if let told = try take(reply, step) { replies.append(told) }
        }
        forgetDoneSteps()
        return replies
    }

    private mutating func take(
        _ reply: RedisReply, _ step: Step
    ) throws(RedisFault) -> (tag: UInt64, reply: RedisReply)? {
        switch step {
        case .login, .database:
            if case .error(let words) = reply { throw .refused(Self.printable(words)) }
            guard case .status = reply else { throw .unexpected }
            return nil
        case .script(let place):
            if case .error(let words) = reply { throw .refused(Self.printable(words)) }
            guard let digest = reply.bytes, digest.count == 40 else { throw .unexpected }
            digests[place] = digest
            isReady = place == scripts.count - 1
            return nil
        case .call(let call, let isWhole):
            if case .error(let words) = reply, words.starts(with: Self.bytes("NOSCRIPT")), !isWhole {
                send(call, isWhole: true)
                return nil
            }
            return (call.tag, reply)
        }
    }

    private mutating func send(_ call: Call, isWhole: Bool) {
        let script = isWhole ? scripts[call.script] : digests[call.script]
        let name = isWhole ? "EVAL" : "EVALSHA"
        let head = [Self.bytes(name), script, Self.bytes("\(call.keys.count)")]
        send(head + call.keys + call.arguments, .call(call, isWhole: isWhole))
    }

    private mutating func send(_ parts: [[UInt8]], _ step: Step) {
        output += Self.bytes("*\(parts.count)\r\n")
        for part in parts {
            output += Self.bytes("$\(part.count)\r\n")
            output += part
            output += [0x0D, 0x0A]
        }
        steps.append(step)
    }

    private mutating func forgetDoneSteps() {
        guard done == steps.count || done > 1024 else { return }
        steps.removeFirst(done)
        done = 0
    }

    /// True for the words of an error by which a server says that another one has its place, or that it has none at all right now: a
    /// replica, a master that has lost its replicas, one that loads its data. A script passes some of them on behind words of its own.
    public static func isElsewhere(_ words: String) -> Bool {
        words.split(separator: " ").contains { word in
            ["READONLY", "MASTERDOWN", "NOREPLICAS", "LOADING"].contains(word.drop { $0 == "-" })
        }
    }

    /// The words of an error as they may stand in a log: they come from outside.
    public static func printable(_ words: [UInt8]) -> String {
        String(decoding: words.prefix(200).map { (0x20...0x7E).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
}
