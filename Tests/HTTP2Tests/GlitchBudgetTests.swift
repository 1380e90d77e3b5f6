import HTTP
import Testing

@testable import HTTP2

@Suite struct GlitchBudgetTests {
    @Test("a budget is spent, and fills up with time and with what the client takes")
    func budget() {
        var budget = GlitchBudget(now: 0)
        for _ in 0..<400 { #expect(budget.spend(GlitchBudget.reset, now: 0) == true) }
        #expect(budget.spend(1, now: 0) == false)
        #expect(budget.spend(900, now: 1_000_000) == true)
        #expect(budget.spend(200, now: 1_000_000) == false)
        budget.earn(200)
        #expect(budget.spend(50, now: 1_000_000) == true)
        budget.earn(.max / 2)
        #expect(
            budget.spend(GlitchBudget.capacity + 1, now: 1_000_000) == false,
            "it holds no more than it began with")
    }

    @Test("F7: frames that do nothing have a price")
    func prices() {
        func price(_ type: UInt8, _ flags: UInt8 = 0, _ length: Int = 0) -> Int {
            GlitchBudget.price(FrameWalk.Header(length: length, type: type, flags: flags))
        }
        #expect(price(data) == GlitchBudget.emptyData)
        #expect(price(data, 0, 4) == GlitchBudget.tinyData)
        #expect(price(data, 0, 5) == 0 && price(data, endStream) == 0)
        #expect(price(headers, endHeaders, 100) == 0 && price(goAway, 0, 8) == 0)
        #expect(price(2, 0, 5) == GlitchBudget.ignored && price(0x55) == GlitchBudget.ignored)
        #expect(price(reset, 0, 4) == GlitchBudget.reset)
        #expect(price(settings) == GlitchBudget.settings && price(settings, 1) == GlitchBudget.ping)
        #expect(price(ping, 0, 8) == GlitchBudget.ping)
        #expect(price(9, 0, 9) == GlitchBudget.continuation)
        #expect(price(windowUpdate, 0, 4) == 0)
    }

    @Test("the headers of frames are found however the bytes are cut")
    func walk() {
        let bytes =
            preface + frame(settings) + frame(data, 1, 1, [1, 2, 3])
            + frame(ping, 0, 0, [UInt8](repeating: 0, count: 8))
        for size in 1...bytes.count {
            var walk = FrameWalk()
            var types: [UInt8] = []
            var start = 0
            while start < bytes.count {
                let piece = Array(bytes[start..<min(start + size, bytes.count)])
                var offset = 0
                while let found = walk.next(piece.span, &offset) { types.append(found.type) }
                start += size
            }
            #expect(types == [settings, data, ping], "pieces of \(size)")
        }
    }

    @Test(
        "F7: a flood ends the session with ENHANCE_YOUR_CALM",
        arguments: [
            frame(ping, 0, 0, [UInt8](repeating: 0, count: 8)), frame(settings), frame(0x77),
            frame(2, 0, 9, [0, 0, 0, 0, 1]),
        ])
    func floods(piece: [UInt8]) throws {
        var peer = try Peer()
        var isOver = false
        for _ in 0..<3000 where !isOver { isOver = peer.receive(piece) == nil }
        #expect(isOver)
        #expect(peer.goAwayCode() == 11)
        #expect(peer.receive(piece) == nil, "nothing more is taken")
        peer.close()
    }

    @Test("a PING behind each DATA frame, by which grpc-go measures its line, is no waste")
    func measuring() throws {
        var peer = try Peer()
        let ask = frame(headers, endHeaders, 1, block(get("/")))
        guard case .request(let slot, _, _)? = peer.receive(ask)?.first else {
            Issue.record("no request")
            return peer.close()
        }
        #expect((peer.answer(slot, "", isComplete: false)) == true)
        let measure =
            frame(windowUpdate, 0, 0, [0, 0, 0, 100])
            + frame(ping, 0, 0, [2, 4, 16, 16, 9, 14, 7, 7])
        var count = 0
        repeat {
            count += 1
            peer.answers[slot] = [UInt8](repeating: 0x78, count: 100)
            peer.session.offer(slot, count: 100, isComplete: false)
            if count % 100 == 0 { _ = peer.receive(frame(windowUpdate, 0, 1, [0, 0, 0x27, 0x10])) }
            _ = peer.sent()
        } while count < 10_000 && peer.receive(measure) != nil
        #expect(count == 10_000)
        #expect((peer.goAwayCode()) == nil)
        peer.close()
    }

    @Test("F7: one PING for each such frame, and no more")
    func measuringTooMuch() throws {
        var peer = try Peer()
        let ask = frame(headers, endHeaders, 1, block(get("/")))
        guard case .request(let slot, _, _)? = peer.receive(ask)?.first else {
            Issue.record("no request")
            return peer.close()
        }
        #expect((peer.answer(slot, String(repeating: "x", count: 60_000), isComplete: false)) == true)
        #expect(peer.sent().filter { $0.type == data }.count > 3)
        var count = 0
        while count < 2000, peer.receive(frame(ping, 0, 0, [2, 4, 16, 16, 9, 14, 7, 7])) != nil {
            count += 1
            _ = peer.sent()
        }
        #expect(count < 1010)
        peer.close()
    }

    @Test("F7: resets that the session is provoked to count")
    func madeYouReset() throws {
        var peer = try Peer()
        var stream: UInt32 = 1
        var isOver = false
        while !isOver, stream < 3000 {
            isOver =
                peer.receive(
                    frame(headers, endStream | endHeaders, stream, block(get("/", [("Upper", "1")])))) == nil
            if !isOver { _ = peer.sent() }
            stream += 2
        }
        #expect(isOver && stream < 1000)
        #expect(peer.goAwayCode() == 11)
        peer.close()
    }

    @Test("F7: streams refused before SETTINGS are acknowledged, to a client that reads nothing")
    func refusedUnread() throws {
        var peer = try Peer(greets: false)
        #expect((peer.receive(preface + frame(settings))) != nil)
        var stream: UInt32 = 1
        // These stay: from the next on nghttp2 refuses by itself.
        while stream < 2 * 128 {
            #expect((peer.receive(frame(headers, endHeaders, stream, block(get("/"))))) != nil)
            stream += 2
        }
        var isOver = false
        while !isOver, stream < 200_000 {
            isOver = peer.receive(frame(headers, endHeaders, stream, block(get("/")))) == nil
            stream += 2
        }
        #expect(stream < 20_000, "the queue is bounded")
        #expect((peer.goAwayCode()) == 11)
        peer.close()
    }

    @Test("as many requests as may be, each with the longest wait for its answer, fill no queue")
    func honestQueue() throws {
        var peer = try Peer()
        for number in 0..<128 {
            let seen = peer.receive(
                frame(headers, endStream | endHeaders, UInt32(2 * number + 1), block(get("/"))))
            guard case .request(let slot, _, _)? = seen?.first else {
                Issue.record("request \(number): \(String(describing: seen))")
                break
            }
            let hint = Array("HTTP/1.1 103 \r\n\r\n".utf8)
            while peer.session.takesInterim(hint.count) {
                _ = peer.session.submitHead(slot, hint.span, .interim, &peer.scratch)
            }
            #expect((peer.answer(slot, "x")) == true)
        }
        #expect((peer.receive(frame(ping, 0, 0, [UInt8](repeating: 0, count: 8)))) != nil)
        #expect((peer.goAwayCode()) == nil)
        peer.close()
    }
}
