import Bytes
import HTTP
import JOSE
import Testing

@testable import Policy

extension Gate {
    fileprivate func takeQuestion() -> RateQuestion? { snapshot.takeRateQuestion() }
    fileprivate func distrusts(now: Int64) -> Bool { snapshot.shared.distrustsTokens(now: now) }
    fileprivate func who(_ issuer: Int, _ subject: String) -> [UInt8] {
        snapshot.shared.who(issuer, Array(subject.utf8).span)
    }
    fileprivate func who(_ address: IPAddress) -> [UInt8] { snapshot.shared.who(address) }
}

@Suite("Rate limits that proxies share")
struct SharedLimitTests {
    private let standing = SharedStanding()

    private func gate(refuses: Bool = false, isShared: Bool = true) throws -> Gate {
        var one = try route("/x", auth: .none)
        one.rateLimit = 0
        var two = try route("/y", auth: .none)
        two.rateLimit = 1
        var policy = spec([one, two])
        var limit = RateLimitSpec(
            name: "a", key: .address, rate: RateSpec(requests: 1, perSeconds: 1, burst: 2))
        limit.isShared = isShared
        var other = limit
        other.name = "b"
        policy.rateLimits = [limit, other]
        policy.sharedLimits = SharedLimitSpec(
            prefix: "p:", timeoutMilliseconds: 50, refusesWithoutStore: refuses, checksRevocations: true)
        return try Gate(policy, standing: standing)
    }

    @Test("while the store answers it is asked, once for each request")
    func asks() throws {
        let gate = try gate()
        standing.isAnswering = true
        #expect(gate.send("GET /x HTTP/1.1\nHost: a") == .awaitVerdict)
        let question = try #require(gate.takeQuestion())
        #expect(question.interval == 1_000_000 && question.fillTime == 2_000_000 && question.wanted == 1)
        #expect(question.ahead == 0 && question.timeoutMilliseconds == 50)
        let name = String(decoding: question.name, as: UTF8.self)
        #expect(name.hasPrefix("p:rate:a:") && name.utf8.count == 9 + 32)
        #expect(gate.takeQuestion() == nil, "once")
    }

    @Test("a request that was given one passes that limit, and no other")
    func given() throws {
        let gate = try gate()
        standing.isAnswering = true
        _ = gate.send("GET /x HTTP/1.1\nHost: a")
        let question = try #require(gate.takeQuestion())
        gate.snapshot.setSharedVerdict(.given(bucket: question.bucket))
        #expect(gate.send("GET /y HTTP/1.1\nHost: a") == .awaitVerdict)
        gate.snapshot.setSharedVerdict(.given(bucket: question.bucket))
        #expect(gate.send("GET /x HTTP/1.1\nHost: a").route == 0)
        #expect(gate.send("GET /x HTTP/1.1\nHost: a") == .awaitVerdict, "once")
    }

    @Test("an empty bucket is known here, and what is in hand is used up first")
    func bucket() throws {
        let gate = try gate()
        standing.isAnswering = true
        _ = gate.send("GET /x HTTP/1.1\nHost: a")
        let question = try #require(gate.takeQuestion())
        gate.snapshot.note(
            RateAnswer(question, .given(2, fullInMicroseconds: 2_000_000)), used: 1,
            microseconds: now * 1_000_000)
        #expect(gate.send("GET /x HTTP/1.1\nHost: a").route == 0)
        #expect(gate.send("GET /x HTTP/1.1\nHost: a").code == .rateLimited)
        #expect(gate.takeQuestion() == nil)
        #expect(standing.tally.shared == 2)
    }

    @Test("without an answer this process counts, or nothing passes", arguments: [false, true])
    func unavailable(refuses: Bool) throws {
        let gate = try gate(refuses: refuses)
        let first = gate.send("GET /x HTTP/1.1\nHost: a")
        standing.isAnswering = true
        gate.snapshot.setSharedVerdict(.unavailable)
        let second = gate.send("GET /x HTTP/1.1\nHost: a")
        gate.snapshot.setSharedVerdict(.unavailable)
        let third = gate.send("GET /x HTTP/1.1\nHost: a")
        if refuses {
            #expect([first, second, third].allSatisfy { $0.code == .sharedUnavailable })
            #expect(standing.tally.refused == 3)
        } else {
            #expect(first.route == 0 && second.code == nil && third.code == .rateLimited)
            #expect(standing.tally.local == 3)
        }
    }

    @Test("a limit of this process alone asks nobody")
    func own() throws {
        let gate = try gate(refuses: true, isShared: false)
        standing.isAnswering = true
        #expect(gate.send("GET /x HTTP/1.1\nHost: a").code == nil)
        #expect(gate.takeQuestion() == nil)
    }

    @Test("with refuse a list of revoked tokens that is older than a second is none")
    func distrust() throws {
        let gate = try gate(refuses: true)
        #expect(gate.distrusts(now: 10))
        standing.revocationsReadMicroseconds = 5
        #expect(
            !gate.distrusts(now: 1_000_005)
                && gate.distrusts(now: 1_000_006))
        #expect(!(try self.gate().distrusts(now: .max / 2)))
    }

    @Test("names tell users, issuers, addresses and networks apart")
    func names() throws {
        let gate = try gate()
        let four = try #require(IPAddress("192.0.2.1"))
        let six = try #require(IPAddress("2001:db8:0:1::1"))
        let names = [
            gate.who(0, "u"),
            gate.who(1, "u"),
            gate.who(0, "v"), gate.who(four),
            gate.who(six),
        ]
        #expect(Set(names).count == names.count)
        #expect(
            gate.who(six)
                == gate.who(try #require(IPAddress("2001:db8:0:1:9::9"))))
    }
}
