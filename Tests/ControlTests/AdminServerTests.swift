import Bytes
import Reactor
import Synchronization
import Testing

@testable import Control

/// An admin server and its loop, turned by hand.
private final class Served {
    var poller: Poller
    var server: AdminServer
    var state = AdminState(notReadyReason: nil) { "m\n" }

    init() throws {
        poller = try Poller()
        server = try AdminServer(at: .ipv4(0x7f00_0001, port: 0))
        for descriptor in server.descriptors {
            try poller.add(descriptor, token: Token.admin, for: [.readable, .edgeTriggered])
        }
    }

    deinit {
        server.closeAll()
    }

    func turn(at now: Instant = .now()) {
        let count = poller.wait(timeoutMilliseconds: 50)
        for index in 0..<count {
            let token = poller.token(index)
            if token == Token.admin {
                server.accept(poller, now: now)
            } else {
                server.advance(Token.handle(token), state: state)
            }
        }
        _ = server.expire(at: now, poller)
    }
}

/// What a client has received so far, and whether the connection is over.
private func receive(_ socket: borrowing Socket) -> (text: String, isOver: Bool) {
    var pool = BlockPool(keptBytes: 0)
    var buffer = Buffer()
    buffer.attach(from: &pool)
    defer { buffer.detach(to: &pool) }
    while true {
        switch socket.receive(into: &buffer) {
        case .bytes: continue
        case .wouldBlock: return (text(of: buffer), false)
        case .endOfStream, .failed: return (text(of: buffer), true)
        }
    }
}

private func text(of buffer: borrowing Buffer) -> String {
    var bytes: [UInt8] = []
    for index in 0..<buffer.count { bytes.append(buffer.bytes[index]) }
    return String(decoding: bytes, as: UTF8.self)
}

private func send(_ socket: borrowing Socket, _ text: String) {
    let bytes = Array(text.utf8)
    #expect(socket.send(bytes.span) == .bytes(bytes.count))
}

@Suite("Admin listener")
struct AdminServerTests {
    @Test("a request that comes in pieces is answered once, and the connection closed")
    func pieces() throws {
        let served = try Served()
        let client = try Socket.connecting(to: served.server.addresses[0])
        served.turn()
        for piece in ["GET /li", "vez HTTP/1.1\r\nHost", ": h\r\n\r\n"] {
            send(client, piece)
            served.turn()
        }
        served.turn()
        let got = receive(client)
        #expect(got.text.hasPrefix("HTTP/1.1 200 OK\r\n") && got.isOver)
    }

    @Test(
        "rubbish gets 400, a head that does not end 431",
        arguments: [("\u{1}\r\n\r\n", "400"), ("big", "431")])
    func rubbish(text: String, status: String) throws {
        let served = try Served()
        let client = try Socket.connecting(to: served.server.addresses[0])
        served.turn()
        send(client, text == "big" ? "GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 17_000) : text)
        for _ in 0..<3 { served.turn() }
        #expect(receive(client).text.hasPrefix("HTTP/1.1 \(status) "))
    }

    @Test("who says nothing is closed after five seconds, not before")
    func timeout() throws {
        let served = try Served()
        let client = try Socket.connecting(to: served.server.addresses[0])
        let start = Instant.now()
        served.turn(at: start)
        served.turn(at: start.advanced(byMilliseconds: 4900))
        #expect(!receive(client).isOver)
        served.turn(at: start.advanced(byMilliseconds: 5100))
        served.turn(at: start.advanced(byMilliseconds: 5200))
        #expect(receive(client).isOver)
    }

    @Test("one more than there is room for takes the place of who has been there longest")
    func crowd() throws {
        let served = try Served()
        var idle = Slab<Socket>(capacity: 64)
        for _ in 0..<32 { _ = idle.insert(try Socket.connecting(to: served.server.addresses[0])) }
        let start = Instant.now()
        for _ in 0..<3 { served.turn(at: start) }
        #expect((0..<32).allSatisfy { !receive(idle[$0]).isOver })
        let late = try Socket.connecting(to: served.server.addresses[0])
        send(late, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in 0..<3 { served.turn(at: start) }
        #expect(receive(late).text.hasPrefix("HTTP/1.1 200"))
        #expect((0..<32).filter { receive(idle[$0]).isOver } == [0])
    }

    @Test("who comes in the middle of a crowd that says nothing is answered before it is its turn to go")
    func flood() throws {
        let served = try Served()
        var idle = Slab<Socket>(capacity: 256)
        for _ in 0..<100 { _ = idle.insert(try Socket.connecting(to: served.server.addresses[0])) }
        let probe = try Socket.connecting(to: served.server.addresses[0])
        send(probe, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in 0..<100 { _ = idle.insert(try Socket.connecting(to: served.server.addresses[0])) }
        let start = Instant.now()
        for _ in 0..<40 { served.turn(at: start) }
        #expect(receive(probe).text.hasPrefix("HTTP/1.1 200"))
        #expect((0..<200).filter { !receive(idle[$0]).isOver }.count == 32)
    }
}
