import Bytes
import HTTP
import Testing

@testable import HTTP2

@Suite struct SessionTests {
    private func request(_ stream: UInt32, _ flags: UInt8 = endStream | endHeaders) -> [UInt8] {
        frame(headers, flags, stream, block(get("/x", [("accept", "*/*")])))
    }

    @Test("a request becomes lines, and its answer frames")
    func requestAndAnswer() throws {
        var peer = try Peer()
        #expect(peer.sent().contains { $0.type == settings && $0.flags == 0 })
        let seen = peer.receive(request(1))
        #expect(
            seen == [
                .request(0, "GET /x\r\nhost: a.test\r\naccept: */*\r\n\r\n", isWebSocket: false), .end(0),
            ])
        #expect(peer.answer(0, "hello") == true)
        let sent = peer.sent()
        #expect(sent.map(\.type) == [headers, data])
        #expect(sent[1].payload == Array("hello".utf8) && sent[1].flags == endStream)
        #expect(peer.session.streamCount == 0)
        peer.close()
    }

    @Test("an answer waits for the client's window, and others do not wait for it")
    func windows() throws {
        var peer = try Peer()
        // SETTINGS_INITIAL_WINDOW_SIZE = 3
        _ = peer.receive(frame(settings, 0, 0, [0, 4, 0, 0, 0, 3]) + request(1) + request(3))
        #expect(peer.answer(0, "abcdef") == true)
        #expect(peer.answer(1, "xy") == true)
        let first = peer.sent().filter { $0.type == data }
        #expect(first.map { String(decoding: $0.payload, as: UTF8.self) }.sorted() == ["abc", "xy"])
        _ = peer.receive(frame(windowUpdate, 0, 1, [0, 0, 0, 9]))
        #expect(peer.sent().map { $0.payload } == [Array("def".utf8)])
        peer.close()
    }

    @Test("content that was not consumed keeps the window shut")
    func flowControl() throws {
        var peer = try Peer()
        _ = peer.receive(request(1, endHeaders))
        _ = peer.sent()
        let piece = frame(data, 0, 1, [UInt8](repeating: 65, count: 16_383))
        for _ in 0..<4 { #expect(peer.receive(piece) != nil) }
        #expect(peer.sent().isEmpty)
        peer.session.consume(0, 65_532)
        #expect(peer.sent().contains { $0.type == windowUpdate && $0.stream == 1 } == true)
        peer.close()
    }

    @Test("F6: content beyond a stream's window is a flow-control error")
    func overflow() throws {
        var peer = try Peer()
        _ = peer.receive(request(1, endHeaders))
        let piece = frame(data, 0, 1, [UInt8](repeating: 65, count: 16_384))
        for _ in 0..<5 { _ = peer.receive(piece) }
        let ends = peer.sent().filter { $0.type == reset || $0.type == goAway }
        #expect(ends.isEmpty == false && ends.allSatisfy { $0.payload.last == 3 })
        peer.close()
    }

    /// Sends a whole window of the stream, which is taken; how far the windows of streams were opened since.
    private func moveOn(_ peer: inout Peer, _ stream: UInt32) -> Int {
        let piece = frame(data, 0, stream, [UInt8](repeating: 65, count: 13_107))
        for _ in 0..<5 { #expect(peer.receive(piece) != nil) }
        peer.session.consume(Int32(stream / 2), 65_535)
        return peer.sent().filter { $0.type == windowUpdate && $0.stream > 0 }
            .reduce(0) { $0 + Int($1.payload[1]) << 16 + Int($1.payload[2]) << 8 + Int($1.payload[3]) }
    }

    @Test("uploads that move on get a wider window, four at a time")
    func wideWindows() throws {
        var peer = try Peer()
        for stream: UInt32 in [1, 3, 5, 7, 9] { _ = peer.receive(request(stream, endHeaders)) }
        _ = peer.sent()
        for stream: UInt32 in [1, 3, 5, 7] { #expect(moveOn(&peer, stream) == HTTP2Limits.wideWindowBytes) }
        #expect(moveOn(&peer, 9) == HTTP2Limits.streamWindowBytes)
        _ = peer.receive(frame(reset, 0, 1, [0, 0, 0, 8]))
        #expect(moveOn(&peer, 9) == HTTP2Limits.wideWindowBytes)
        peer.close()
    }

    @Test("a wide window is one: content beyond it is a flow-control error, and what nobody takes closes it")
    func wideWindowsEnd() throws {
        var peer = try Peer()
        _ = peer.receive(request(1, endHeaders))
        _ = moveOn(&peer, 1)
        let piece = frame(data, 0, 1, [UInt8](repeating: 65, count: 13_107))
        for _ in 0..<20 { #expect(peer.receive(piece) != nil) }
        #expect(peer.sent().isEmpty)
        _ = peer.receive(frame(data, 0, 1, [65]))
        let ends = peer.sent().filter { $0.type == reset || $0.type == goAway }
        #expect(ends.isEmpty == false && ends.allSatisfy { $0.payload.last == 3 })
        peer.close()
    }

    @Test("a stream that ends between two blocks of output is not framed any more")
    func resetWhileFraming() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        let body = String(repeating: "x", count: 10_000)
        #expect(peer.answer(0, body) == true)
        // The head fits, the content does not.
        while peer.session.makeFrames(&peer.scratch, room: HTTP2Session.frameBytes + 100) {
            peer.session.takeFrame(into: &peer.output)
        }
        #expect(peer.session.isRoomShort == true && peer.scratch.dataFrames.isEmpty)
        peer.output.consume(peer.output.count)
        peer.session.reset(0, .cancel)
        let sent = peer.sent()
        #expect(sent.contains { $0.type == data } == false)
        #expect(sent.contains { $0.type == reset } == true)
        peer.close()
    }

    @Test("interim heads that nobody reads are bounded for all streams together")
    func unreadInterimHeads() throws {
        var peer = try Peer()
        for stream: UInt32 in [1, 3, 5] { _ = peer.receive(request(stream)) }
        _ = peer.sent()
        let hint = Array(
            "HTTP/1.1 103 Early Hints\r\nlink: \(String(repeating: "x", count: 9000))\r\n\r\n".utf8)
        var taken = 0
        while taken < 100, peer.session.takesInterim(hint.count) {
            #expect(
                peer.session.submitHead(Int32(taken % 3), hint.span, .interim, &peer.scratch) == hint.count)
            taken += 1
        }
        #expect(taken == HTTP2Session.interimLimitBytes / hint.count)
        #expect(peer.sent().filter { $0.type == headers }.count == taken)
        // One larger than the limit passes where no other waits.
        #expect(peer.session.takesInterim(1 << 20) == true)
        peer.close()
    }

    @Test("interim heads that were all framed count no more, though nobody has asked for further frames")
    func framedInterimHeads() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        let hint = Array(
            "HTTP/1.1 103 Early Hints\r\nlink: \(String(repeating: "x", count: 9000))\r\n\r\n".utf8)
        for _ in 0..<6 { _ = peer.session.submitHead(0, hint.span, .interim, &peer.scratch) }
        #expect(peer.session.takesInterim(60_000) == false)
        #expect(peer.answer(0, "x") == true)
        while peer.session.hasFrames == true {
            #expect(peer.session.makeFrames(&peer.scratch, room: peer.output.room) == true)
            peer.scratch.clearDataFrames()
            peer.session.takeFrame(into: &peer.output)
            peer.output.consume(peer.output.count)
        }
        #expect(peer.session.takesInterim(60_000) == true)
        peer.close()
    }

    @Test("a frame is no larger than the room, and none is begun where there is next to none")
    func framesFitTheRoom() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        #expect(peer.answer(0, String(repeating: "x", count: 10_000)) == true)
        var counts: [Int32] = []
        for room in [100, 1000, 2009] {
            while peer.session.makeFrames(&peer.scratch, room: HTTP2Session.frameBytes + room) {
                for index in 0..<peer.scratch.dataFrames.count {
                    counts.append(peer.scratch.dataFrames[index].count)
                }
                peer.scratch.clearDataFrames()
                peer.session.takeFrame(into: &peer.output)
                peer.output.consume(peer.output.count)
            }
            #expect(peer.session.isRoomShort == counts.isEmpty)
        }
        #expect(counts.allSatisfy { $0 == 2000 } && counts.count == 5)
        peer.close()
    }

    @Test(
        "an answer that is given up while more of it waits for room ends with its status, and with no reset")
    func givenUpWhileFraming() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        #expect(peer.answer(0, String(repeating: "x", count: 10_000), isComplete: false) == true)
        while peer.session.makeFrames(&peer.scratch, room: HTTP2Session.frameBytes + 100) {
            peer.session.takeFrame(into: &peer.output)
        }
        peer.output.consume(peer.output.count)
        peer.answers[0] = []
        peer.session.setTrailers(0, Array("grpc-status: 4\r\n".utf8).span)
        peer.session.offer(0, count: 0, isComplete: true)
        let sent = peer.sent()
        #expect(sent.contains { $0.type == reset } == false)
        #expect(sent.last?.type == headers && sent.last?.flags == endStream | endHeaders)
        peer.close()
    }

    @Test("the end of a connection in the middle of a head names the streams before it")
    func endInsideHead() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        _ = peer.receive(request(3, endStream))
        #expect(peer.session.isInsideHead == true)
        peer.session.end(.noError)
        #expect(peer.sent().last { $0.type == goAway }?.payload == [0, 0, 0, 1, 0, 0, 0, 0])
        peer.close()
        // Of the first of all there is none before it.
        var fresh = try Peer()
        _ = fresh.receive(request(1, endStream))
        fresh.session.end(.noError)
        #expect(fresh.sent().last { $0.type == goAway }?.payload == [UInt8](repeating: 0, count: 8))
        fresh.close()
    }

    @Test("a reset tells who owned the stream, and its slot is used again")
    func resets() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        #expect(peer.receive(frame(reset, 0, 1, [0, 0, 0, 8])) == [.closed(0)])
        #expect(peer.receive(request(3))?.first.map { "\($0)".contains("request(0") } == true)
        peer.close()
    }

    @Test("trailers of a request, and of an answer")
    func trailers() throws {
        var peer = try Peer()
        _ = peer.receive(request(1, endHeaders))
        let seen = peer.receive(
            frame(data, 0, 1, [65]) + frame(headers, endStream | endHeaders, 1, block([("x-sum", "1")])))
        #expect(seen == [.data(0, "A"), .trailers(0, "x-sum: 1\r\n"), .end(0)])
        peer.session.setTrailers(0, Array("Grpc-Status: 0\r\n".utf8).span)
        #expect(peer.answer(0, "b") == true)
        let sent = peer.sent().filter { $0.type == headers || $0.type == data }
        #expect(sent.map(\.type) == [headers, data, headers])
        #expect(sent.map { $0.flags & endStream } == [0, 0, 1])
        peer.close()
    }

    @Test("an answer before the end of the request resets with NO_ERROR")
    func earlyAnswer() throws {
        var peer = try Peer()
        _ = peer.receive(request(1, endHeaders))
        #expect(peer.answer(0, "no") == true)
        let sent = peer.sent()
        #expect(sent.last?.type == reset && sent.last?.payload == [0, 0, 0, 0])
        peer.close()
    }

    @Test("an extended CONNECT for WebSocket reads as GET")
    func webSocket() throws {
        var peer = try Peer()
        let fields = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a.test"),
            (":path", "/ws"), ("sec-websocket-key", "x"), ("sec-websocket-version", "13"),
        ]
        let seen = peer.receive(frame(headers, endHeaders, 1, block(fields)))
        #expect(
            seen == [
                .request(
                    0, "GET /ws\r\nhost: a.test\r\nsec-websocket-version: 13\r\n\r\n", isWebSocket: true)
            ])
        peer.close()
    }

    @Test("F5: a field that would be two lines resets its stream")
    func injection() throws {
        for value in ["a\r\nb: c", "a\nb", "a\0b", " a", "a\u{7f}"] {
            var peer = try Peer()
            _ = peer.sent()
            let seen = peer.receive(
                frame(headers, endStream | endHeaders, 1, block(get("/", [("x", value)]))))
            #expect(seen?.allSatisfy { if case .request = $0 { false } else { true } } == true)
            #expect(peer.sent().contains { $0.type == reset && $0.payload == [0, 0, 0, 1] } == true)
            peer.close()
        }
    }

    @Test("a preface of another protocol ends the session")
    func preface() throws {
        var peer = try Peer(greets: false)
        #expect(peer.receive(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) == nil)
        #expect(peer.goAwayCode() == 1)
        #expect(peer.session.isFinished == true)
        peer.close()
    }

    @Test("a section that came in part is finished by the next read")
    func split() throws {
        var peer = try Peer()
        let bytes = request(1)
        #expect(peer.receive(Array(bytes[..<14])) == [])
        #expect(peer.session.isInsideHead == true)
        #expect(peer.receive(Array(bytes[14...]))?.count == 2)
        #expect(peer.session.isInsideHead == false)
        peer.close()
    }

    @Test("what comes while the last word waits is behind the last stream, and no later word takes it back")
    func behindTheLast() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        peer.session.refuseNewStreams()
        _ = peer.receive(request(3))
        #expect(peer.session.isBehindLast(0) == false)
        #expect(peer.session.isBehindLast(1) == true)
        peer.session.end(.noError)
        let words = peer.sent()
        #expect(words.map(\.type).allSatisfy { $0 == goAway })
        #expect(words.map { Array($0.payload.prefix(4)) } == [[0, 0, 0, 1], [0, 0, 0, 1]])
        peer.close()
    }

    @Test("the end is announced, and the last stream named")
    func goingAway() throws {
        var peer = try Peer()
        _ = peer.receive(request(1))
        _ = peer.sent()
        peer.session.announceEnd()
        #expect(peer.sent().first?.payload.prefix(4) == [0x7f, 0xff, 0xff, 0xff])
        peer.session.refuseNewStreams()
        #expect(peer.sent().first?.payload.prefix(4) == [0, 0, 0, 1])
        #expect(peer.session.isFinished == false)
        #expect(peer.answer(0, "x") == true)
        _ = peer.sent()
        #expect(peer.session.isFinished == true)
        peer.close()
    }
}
