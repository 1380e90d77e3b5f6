import Bytes
import HTTP
import Testing

@testable import HTTP2

@Suite("a session with a backend") struct ClientSessionTests {
    private static let refusedStream: UInt32 = 7

    private func request(
        _ peer: inout Peer, _ line: String = "GET /x", body: [UInt8]? = nil, takesTrailers: Bool = false
    ) -> Int32? {
        let head = Array("\(line) HTTP/1.1\r\nHost: a.test\r\nX-User-Id: u1\r\n\r\n".utf8)
        var form = HTTP2RequestForm(isSecure: false)
        form.takesTrailers = takesTrailers
        form.endsStream = body == nil
        let slot = peer.session.submitRequest(head.span, form, owner: .none, &peer.scratch)
        if let slot, let body {
            peer.answers[slot] = body
            peer.session.offer(slot, count: body.count, isComplete: true)
        }
        return slot
    }

    private func answer(_ stream: UInt32, _ fields: [(String, String)], _ flags: UInt8 = endHeaders)
        -> [UInt8]
    {
        frame(headers, flags, stream, block(fields))
    }

    @Test("a request becomes frames, and its answer text")
    func requestAndAnswer() throws {
        var peer = try Peer(as: .client)
        _ = peer.sent()
        #expect(request(&peer, body: Array("abc".utf8)) == 0)
        let sent = peer.sent()
        #expect(sent.map(\.type) == [headers, data] && sent[1].payload == Array("abc".utf8))
        #expect(sent[1].flags == endStream)
        let seen = peer.receive(
            answer(1, [(":status", "200"), ("x", "y")]) + frame(data, 0, 1, Array("hi".utf8))
                + answer(1, [("x-sum", "1")], endHeaders | endStream))
        #expect(
            seen == [
                .answer(0, "HTTP/1.1 200 \r\nx: y\r\n\r\n"), .data(0, "hi"), .trailers(0, "x-sum: 1\r\n"),
                .end(0),
                .closed(0),
            ])
        peer.close()
    }

    @Test("a WebSocket handshake is an extended CONNECT without a key (RFC 8441)")
    func tunnel() throws {
        var peer = try Peer(as: .client)
        _ = peer.sent()
        #expect(peer.session.takesTunnels == false)
        _ = peer.receive(frame(settings, 0, 0, [0, 8, 0, 0, 0, 1]))
        #expect(peer.session.takesTunnels == true)
        let head = Array(
            "GET /ws HTTP/1.1\r\nHost: a.test\r\nsec-websocket-key: k\r\nX-User-Id: u1\r\n\r\n".utf8)
        var form = HTTP2RequestForm(isSecure: true)
        form.isWebSocket = true
        #expect(peer.session.submitRequest(head.span, form, owner: .none, &peer.scratch) == 0)
        let sent = peer.sent().filter { $0.type == headers }
        #expect(sent.count == 1 && sent[0].flags == endHeaders)
        // A server takes it for what it is.
        var server = try Peer(as: .server)
        let seen = server.receive(frame(headers, endHeaders, 1, sent[0].payload))
        #expect(
            seen == [.request(0, "GET /ws\r\nhost: a.test\r\nx-user-id: u1\r\n\r\n", isWebSocket: true)])
        peer.close()
        server.close()
    }

    @Test("an answer's Sec-WebSocket-Accept, which proves nothing in HTTP/2, is dropped")
    func accept() throws {
        var peer = try Peer(as: .client)
        _ = request(&peer)
        _ = peer.sent()
        let seen = peer.receive(answer(1, [(":status", "200"), ("sec-websocket-accept", "x"), ("a", "b")]))
        #expect(seen == [.answer(0, "HTTP/1.1 200 \r\na: b\r\n\r\n")])
        peer.close()
    }

    @Test("an answer without content says so in HTTP/1.1's words, where it may")
    func noContent() throws {
        var peer = try Peer(as: .client)
        _ = (request(&peer), request(&peer), request(&peer, "HEAD /x"))
        _ = peer.sent()
        let whole = endHeaders | endStream
        let seen = peer.receive(
            answer(1, [(":status", "200")], whole) + answer(3, [(":status", "204")], whole)
                + answer(5, [(":status", "200")], whole))
        #expect(seen?.contains(.answer(0, "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n")) == true)
        #expect(seen?.contains(.answer(1, "HTTP/1.1 204 \r\n\r\n")) == true)
        #expect(seen?.contains(.answer(2, "HTTP/1.1 200 \r\n\r\n")) == true)
        peer.close()
    }

    @Test("a head after 1xx is a head, one after that trailers")
    func interim() throws {
        var peer = try Peer(as: .client)
        _ = request(&peer)
        _ = peer.sent()
        let seen = peer.receive(answer(1, [(":status", "103")]) + answer(1, [(":status", "200")]))
        #expect(seen == [.answer(0, "HTTP/1.1 103 \r\n\r\n"), .answer(0, "HTTP/1.1 200 \r\n\r\n")])
        peer.close()
    }

    @Test(
        "F5: no malformed head becomes an answer",
        arguments: [
            [(":status", "101")], [(":status", "20")], [(":status", "2o0")], [("x", "y")],
            [(":status", "200"), ("connection", "close")], [(":status", "200"), ("x", "a\r\nb: c")],
            [(":status", "200"), (":path", "/")], [(":status", "200"), ("X", "y")],
        ])
    func malformed(_ fields: [(String, String)]) throws {
        var peer = try Peer(as: .client)
        _ = request(&peer)
        _ = peer.sent()
        let seen = peer.receive(answer(1, fields, endHeaders | endStream)) ?? []
        #expect(peer.session.isOver == false)
        #expect(
            !seen.contains {
                if case .answer = $0 { true } else { false }
            })
        #expect(peer.sent().contains { $0.type == reset && $0.stream == 1 } == true)
        peer.close()
    }

    @Test(
        "a section beyond the limits ends its stream with the field that is too much, and not with the section",
        arguments: [false, true])
    func beyondLimits(_ isOfTrailers: Bool) throws {
        var peer = try Peer(as: .client)
        _ = request(&peer)
        _ = peer.sent()
        if isOfTrailers { _ = peer.receive(answer(1, [(":status", "200")])) }
        // One field of 3,900 bytes, which the table keeps, and a byte for each further one.
        let large = [0x40, 1, 0x78, 127, 61 | 0x80, 29] + [UInt8](repeating: 0x61, count: 3900)
        let indexed =
            block(isOfTrailers ? [] : [(":status", "200")]) + large
            + [UInt8](repeating: 0x80 | 62, count: 1000)
        #expect(peer.receive(frame(headers, 0, 1, indexed)) != nil)
        #expect(peer.sent().contains { $0.type == reset && $0.stream == 1 })
        // The connection goes on: its table was kept up to date.
        #expect(peer.receive(frame(9, endHeaders, 1, [])) != nil)
        #expect(request(&peer) != nil)
        _ = peer.sent()
        let seen = peer.receive(answer(3, [(":status", "204")], endHeaders | endStream)) ?? []
        #expect(
            seen.contains {
                if case .answer(_, "HTTP/1.1 204 \r\n\r\n") = $0 { true } else { false }
            })
        peer.close()
    }

    @Test(
        "streams that a backend promises, which acknowledges nothing and reads nothing, do not queue for ever"
    )
    func promises() throws {
        var peer = try Peer(as: .client, greets: false)
        #expect(peer.receive(frame(settings)) != nil)
        _ = request(&peer)
        _ = peer.sent()
        var promised: UInt32 = 2
        var isOver = false
        while !isOver, promised < 200_000 {
            let number = withUnsafeBytes(of: promised.bigEndian) { Array($0) }
            isOver = peer.receive(frame(5, endHeaders, 1, number + block(get("/")))) == nil
            promised += 2
        }
        #expect(promised < 20_000, "the queue is bounded")
        peer.close()
    }

    @Test("GOAWAY refuses the streams above its last one, and further ones")
    func goAwayMidFlight() throws {
        var peer = try Peer(as: .client)
        _ = (request(&peer), request(&peer))
        _ = peer.sent()
        #expect(peer.session.takesRequests == true)
        _ = peer.session.receive(frame(goAway, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0]).span, &peer.scratch, now: 0)
        #expect(peer.session.takesRequests == false)
        #expect(peer.session.closeCode(1) == Self.refusedStream)
        peer.scratch.clear()
        // The one that it names goes on.
        let seen = peer.receive(answer(1, [(":status", "200")]))
        #expect(seen == [.answer(0, "HTTP/1.1 200 \r\n\r\n")])
        peer.close()
    }

    @Test("no more streams at once than the server takes")
    func streamLimit() throws {
        var peer = try Peer(as: .client)
        _ = peer.receive(frame(settings, 0, 0, [0, 3, 0, 0, 0, 1]))
        #expect(peer.session.hasSettings == true && peer.session.remoteStreamLimit == 1)
        _ = (request(&peer), request(&peer))
        #expect(peer.sent().filter { $0.type == headers }.map(\.stream) == [1])
        _ = peer.receive(answer(1, [(":status", "200")], endHeaders | endStream))
        #expect(peer.sent().filter { $0.type == headers }.map(\.stream) == [3])
        peer.close()
    }

    @Test(
        "a push is a connection error, and so is what is no HTTP/2",
        arguments: [
            frame(5, 4, 1, [0, 0, 0, 2]), Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8),
        ])
    func connectionErrors(_ bytes: [UInt8]) throws {
        var peer = try Peer(as: .client, greets: false)
        _ = peer.sent()
        _ = request(&peer)
        _ = peer.sent()
        _ = peer.receive(bytes)
        #expect(peer.sent().contains { $0.type == goAway } == true)
        #expect(peer.session.isFinished == true)
        peer.close()
    }
}
