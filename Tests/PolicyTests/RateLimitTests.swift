import Bytes
import HTTP
import JOSE
import Testing

@testable import Policy

@Suite("Rate buckets")
struct RateBucketTests {
    private let buckets = RateBuckets(seed: (1, 2))
    private let rate = CompiledRate(RateSpec(requests: 10, perSeconds: 10, burst: 3))
    private let second: Int64 = 1_000_000

    private func take(_ key: UInt64, _ now: Int64) -> RateVerdict { buckets.take(key, rate, now: now) }

    @Test("a burst passes, and then one each interval")
    func burst() {
        for _ in 0..<3 { #expect(take(1, 100) == .passes) }
        #expect(take(1, 100) == .waits(microseconds: second))
        #expect(take(1, 100 + second / 2) == .waits(microseconds: second / 2))
        #expect(take(1, 100 + second - 1) == .waits(microseconds: 1))
        #expect(take(1, 100 + second) == .passes)
        #expect(take(1, 100 + second) == .waits(microseconds: second))
        #expect(take(2, 100) == .passes, "another key has another bucket")
    }

    @Test("a bucket never holds more than a burst")
    func rest() {
        #expect(take(1, 0) == .passes)
        for _ in 0..<3 { #expect(take(1, 1000 * second) == .passes) }
        #expect(take(1, 1000 * second) == .waits(microseconds: second))
    }

    @Test("what is refused costs nothing: who waits as long as told gets through")
    func refusals() {
        for _ in 0..<3 { _ = take(1, 0) }
        for step in 0..<100 { #expect(take(1, Int64(step)) != .passes) }
        #expect(take(1, second) == .passes)
    }

    @Test("looking takes nothing")
    func look() {
        for _ in 0..<10 { #expect(buckets.look(1, rate, now: 0) == .passes) }
        for _ in 0..<3 { _ = take(1, 0) }
        #expect(buckets.look(1, rate, now: 0) == .waits(microseconds: second))
    }

    @Test("in the long run as many pass as the rate says", arguments: [(1, 1, 1), (100, 10, 50), (7, 3, 2)])
    func longRun(requests: Int, per: Int64, burst: Int) {
        let rate = CompiledRate(RateSpec(requests: requests, perSeconds: per, burst: burst))
        var passed = 0
        var now: Int64 = 0
        while now < 100 * per * second {
            if buckets.take(9, rate, now: now) == .passes { passed += 1 }
            now += 10_000
        }
        #expect(abs(passed - 100 * requests - burst) <= 2)
    }

    @Test("memory is fixed: the bucket nearest to full makes way, and those in use stay")
    func eviction() {
        // All in one set of the first shard.
        let keys = (1...8).map { UInt64($0) << 32 }
        for key in keys { for _ in 0..<3 { _ = take(key, 0) } }
        #expect(take(9 << 32, 0) == .passes, "a ninth finds a place")
        let stillThere = keys.filter { buckets.look($0, rate, now: 0) != .passes }
        #expect(stillThere.count == 7)
    }

    @Test("several threads together get no more than one would")
    func threads() async {
        let (buckets, rate) = (buckets, rate)
        let passed = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (0..<1000).count { _ in buckets.take(5, rate, now: 0) == .passes }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(passed == 3)
    }

    @Test("keys: users of several issuers, addresses, networks and limits are told apart")
    func keys() throws {
        let alice = Array("alice".utf8)
        let bob = Array("bob".utf8)
        func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
        let first = [
            buckets.key(limit: 1, authority: 5, subject: alice.span),
            buckets.key(limit: 1, authority: 6, subject: alice.span),
            buckets.key(limit: 2, authority: 5, subject: alice.span),
            buckets.key(limit: 1, authority: 5, subject: bob.span),
            buckets.key(limit: 1, address: try address("192.0.2.1")),
            buckets.key(limit: 1, address: try address("192.0.2.2")),
            buckets.key(limit: 2, address: try address("192.0.2.1")),
            buckets.key(limit: 1, address: try address("2001:db8:0:1::1")),
            buckets.key(limit: 1, address: try address("2001:db8:0:2::1")),
        ]
        #expect(Set(first).count == first.count)
        #expect(
            buckets.key(limit: 1, address: try address("2001:db8:0:1::1"))
                == buckets.key(limit: 1, address: try address("2001:db8:0:1:ffff::9")))
    }
}

@Suite("Rate limits in a policy")
struct RateLimitTests {
    @Test(
        "limits that cannot be are refused",
        arguments: [
            RateSpec(requests: 0, perSeconds: 1, burst: 1), RateSpec(requests: 1, perSeconds: 0, burst: 1),
            RateSpec(requests: 1, perSeconds: 1, burst: 0),
            RateSpec(requests: 1_000_001, perSeconds: 1, burst: 1),
        ])
    func refused(rate: RateSpec) throws {
        var limits = spec([try route("/x", auth: .none)])
        limits.rateLimits = [RateLimitSpec(name: "a", key: .address, rate: rate)]
        #expect(throws: PolicyError.self) { _ = try PolicySnapshot(limits) }
        limits.rateLimits = []
        limits.failedAuthentications = rate
        #expect(throws: PolicyError.self) { _ = try PolicySnapshot(limits) }
    }

    @Test("a route cannot name a limit that is not there")
    func dangling() throws {
        var one = try route("/x", auth: .none)
        one.rateLimit = 0
        #expect(throws: PolicyError.self) { _ = try PolicySnapshot(spec([one])) }
    }

    @Test("a bucket is its issuer's, wherever a reload puts the issuer")
    func reload() throws {
        let buckets = RateBuckets(seed: (1, 2))
        func gate(_ names: [String]) throws -> Gate {
            var one = try route("/x", auth: .required(Array(names.indices)))
            one.rateLimit = 0
            var policy = spec([one], issuers: names.map { issuer($0, iss: $0) })
            policy.rateLimits = [
                RateLimitSpec(name: "a", key: .user, rate: RateSpec(requests: 1, perSeconds: 60, burst: 1))
            ]
            return try Gate(policy, buckets: buckets)
        }
        func ask(_ gate: Gate, _ issuer: String) -> Outcome {
            let token = token(#"{"iss":"\#(issuer)","aud":"a","sub":"u","exp":\#(now + 600)}"#)
            return gate.send("GET /x HTTP/1.1\nHost: a\nAuthorization: Bearer \(token)")
        }
        let first = try gate(["one", "two"])
        #expect(ask(first, "one").user == "u")
        #expect(ask(first, "one").code == .rateLimited)
        let turned = try gate(["new", "two", "one"])
        #expect(ask(turned, "one").code == .rateLimited, "counted before the reload")
        #expect(ask(turned, "two").user == "u", "the bucket of nobody else")
        #expect(ask(turned, "new").user == "u")
        #expect(ask(turned, "two").code == .rateLimited)
    }
}
