import Bytes
import Glibc
import Synchronization
import Testing

@testable import Reactor

/// A connected pair of sockets over a Unix listener, for tests that need two ends.
private struct Pair: ~Copyable {
    let client: Socket
    let server: Socket

    init() throws {
        let path = "/tmp/usher-reactor-\(getpid())-\(UInt64.random(in: 0...(.max))).sock"
        let listener = try Listener(at: .unix(path))
        defer { unlink(path) }
        let client = try Socket.connecting(to: .unix(path))
        let server = try Self.accept(from: listener)
        self.init(client: client, server: server)
    }

    private init(client: consuming Socket, server: consuming Socket) {
        self.client = client
        self.server = server
    }

    private static func accept(from listener: borrowing Listener) throws -> Socket {
        switch listener.accept() {
        case .connection(let socket, _): return socket
        default: throw Errno(ENOTCONN)
        }
    }
}

@Suite("Deadlines")
struct DeadlinesTests {
    private func expired(_ deadlines: inout Deadlines, at microseconds: Int64) -> [UInt32] {
        var slots: [UInt32] = []
        deadlines.expire(at: Instant(microseconds: microseconds), into: &slots)
        return slots
    }

    @Test("none is due where none was set")
    func none() {
        var deadlines = Deadlines()
        #expect((deadlines.next == .never) == true)
        #expect((expired(&deadlines, at: .max - 1) == []) == true)
        #expect((deadlines.deadline(of: 7) == .never) == true)
    }

    @Test("each comes once, when its time has come")
    func once() {
        var deadlines = Deadlines()
        deadlines.set(3, Instant(microseconds: 100))
        deadlines.set(90, Instant(microseconds: 200))
        #expect((expired(&deadlines, at: 99) == []) == true)
        #expect((expired(&deadlines, at: 100) == [3]) == true)
        #expect((expired(&deadlines, at: 150) == []) == true)
        #expect((expired(&deadlines, at: 1000) == [90]) == true)
        #expect((expired(&deadlines, at: 2000) == []) == true)
    }

    @Test("one that is moved or cleared does not come at its old time")
    func moved() {
        var deadlines = Deadlines()
        deadlines.set(1, Instant(microseconds: 100))
        deadlines.set(2, Instant(microseconds: 100))
        deadlines.set(1, Instant(microseconds: 500))
        deadlines.set(2, .never)
        #expect((expired(&deadlines, at: 100) == []) == true)
        #expect((deadlines.deadline(of: 1) == Instant(microseconds: 500)) == true)
        #expect((expired(&deadlines, at: 500) == [1]) == true)
    }

    @Test("the poller is told to wake after the earliest, never before")
    func next() {
        var deadlines = Deadlines()
        deadlines.set(1, Instant(microseconds: 5_000_000))
        deadlines.set(2, Instant(microseconds: 1_000_000))
        #expect((deadlines.next >= Instant(microseconds: 1_000_000)) == true)
        #expect((deadlines.next < Instant(microseconds: 1_100_000)) == true)
    }
}

@Suite("Instants")
struct InstantTests {
    @Test("never stays never, and overflow is never")
    func never() {
        #expect(Instant.never.advanced(byMilliseconds: 1) == .never)
        #expect(Instant(microseconds: 5).advanced(byMilliseconds: .max) == .never)
        #expect(Instant(microseconds: 5).advanced(byMilliseconds: 2) == Instant(microseconds: 2005))
    }

    @Test("the clock does not go back")
    func monotonic() {
        let first = Instant.now()
        #expect(Instant.now() >= first)
    }
}

@Suite("Socket addresses")
struct SocketAddressTests {
    @Test(
        "what a configuration writes comes back",
        arguments: ["127.0.0.1:80", "0.0.0.0:65535", "[::1]:8080", "[2001:db8::1]:1", "unix:/run/a.sock"])
    func roundTrip(text: String) {
        #expect(SocketAddress(text)?.description == text)
    }

    @Test(
        "everything else is refused",
        arguments: [
            "", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "::1:80",
            "[::1]", "[::1:80", "localhost:80", "1.2.3:80", "unix:",
            "unix:" + String(repeating: "a", count: 108),
            "127.0.0.1:8 0",
        ])
    func refused(text: String) {
        #expect(SocketAddress(text) == nil)
    }

    @Test("a mapped address is shown as what it is")
    func mapped() {
        #expect(SocketAddress.ipv6(0, 0xffff_c000_0201, port: 1).host == "192.0.2.1")
    }

    @Test("localhost has an address, an invalid name has none")
    func resolve() {
        #expect(!SocketAddress.resolve("127.0.0.1", port: 80).isEmpty)
        #expect(SocketAddress.resolve("no such name.invalid", port: 80).isEmpty)
    }
}

@Suite("Sockets")
struct SocketTests {
    private func text(_ buffer: borrowing Buffer) -> String {
        let bytes = buffer.bytes
        return String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
    }

    @Test("bytes arrive, then nothing, then the end of the stream")
    func stream() throws {
        let pair = try Pair()
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        #expect((pair.server.receive(into: &buffer) == .wouldBlock) == true)
        #expect((pair.server.isQuiet()) == true)
        #expect((pair.client.send([104, 105].span) == .bytes(2)) == true)
        #expect((!pair.server.isQuiet()) == true)
        #expect((pair.server.receive(into: &buffer) == .bytes(2)) == true)
        #expect((text(buffer) == "hi") == true)
        pair.client.shutDownWriting()
        #expect((pair.server.receive(into: &buffer) == .endOfStream) == true)
        #expect((!pair.server.isQuiet()) == true)
        buffer.detach(to: &pool)
    }

    @Test("a peer that does not read blocks the writer, and a gone one breaks it")
    func backPressure() throws {
        let pair = try Pair()
        let chunk = [UInt8](repeating: 1, count: 65_536)
        var result = IOResult.bytes(0)
        for _ in 0..<1000 where result != .wouldBlock { result = pair.client.send(chunk.span) }
        #expect(result == .wouldBlock)
    }

    @Test("connecting to nobody fails and says so")
    func refused() {
        #expect(throws: Errno.self) { _ = try Socket.connecting(to: .unix("/tmp/usher-nobody-listens-here")) }
    }

    @Test("two listeners share a port, and a taken Unix path is refused")
    func listeners() throws {
        let first = try Listener(at: .ipv4(0x7f00_0001, port: 0))
        let second = try Listener(at: first.address)
        #expect(first.address == second.address)
        let path = "/tmp/usher-taken-\(getpid()).sock"
        let taken = try Listener(at: .unix(path))
        #expect(throws: Errno.self) { _ = try Listener(at: .unix(path)) }
        unlink(path)
        _ = taken.descriptor
    }

    @Test("a socket file that nobody listens on is replaced")
    func staleSocketFile() throws {
        let path = "/tmp/usher-stale-\(getpid()).sock"
        do { _ = try Listener(at: .unix(path)) }
        let again = try Listener(at: .unix(path))
        #expect(again.address == .unix(path))
        unlink(path)
    }
}

@Suite("Poller and inbox")
struct PollerTests {
    @Test("an event carries its token, and an edge is told once")
    func edges() throws {
        let pair = try Pair()
        var poller = try Poller()
        try poller.add(pair.server.descriptor, token: 42, for: [.readable, .edgeTriggered])
        #expect((poller.wait(timeoutMilliseconds: 0) == 0) == true)
        _ = pair.client.send([1].span)
        #expect((poller.wait(timeoutMilliseconds: 1000) == 1) == true)
        #expect((poller.token(0) == 42) == true)
        #expect((poller.readiness(0).contains(.readable)) == true)
        #expect((poller.wait(timeoutMilliseconds: 0) == 0) == true)
        #expect(throws: Errno.self) { try poller.add(pair.server.descriptor, token: 1, for: .readable) }
        poller.remove(pair.server.descriptor)
        _ = pair.client.send([1].span)
        #expect((poller.wait(timeoutMilliseconds: 0) == 0) == true)
    }

    @Test("messages from other threads arrive in order and wake the loop")
    func inbox() throws {
        let inbox = try Inbox<Int>()
        var poller = try Poller()
        try poller.add(inbox.descriptor, token: 1, for: .readable)
        #expect(inbox.receive() == [])
        let thread = try Thread(name: "sender") { for number in 0..<100 { inbox.send(number) } }
        thread.join()
        #expect((poller.wait(timeoutMilliseconds: 1000) == 1) == true)
        #expect(inbox.receive() == Array(0..<100))
        #expect((poller.wait(timeoutMilliseconds: 0) == 0) == true)
    }
}

@Suite("Files")
struct FileContentsTests {
    @Test("a missing file and one over the limit are told apart")
    func refusals() throws {
        do {
            _ = try FileContents.read("/nonexistent/file", limitBytes: 10)
            Issue.record("a file that is not there was read")
        } catch { #expect(error.isMissingFile) }
        do {
            _ = try FileContents.read("/proc/self/status", limitBytes: 10)
            Issue.record("the limit did not hold")
        } catch { #expect(error.isTooLarge) }
        #expect(!(try FileContents.read("/proc/self/status", limitBytes: 100_000)).isEmpty)
        #expect(!(try FileContents.read("/proc/self/status", limitBytes: 100_000, waits: false)).isEmpty)
    }
}
