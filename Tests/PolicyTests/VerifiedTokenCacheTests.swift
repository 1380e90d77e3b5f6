import Bytes
import JOSE
import Testing

@testable import Policy

@Suite("The verified-token cache")
struct VerifiedTokenCacheTests {
    private func request(_ path: String, _ token: String) -> String {
        get(path, "Authorization: Bearer \(token)")
    }

    private func gate(capacity: Int = 100, leeway: Int64 = 30) throws -> Gate {
        var entry = issuer()
        entry.spec.leewaySeconds = leeway
        return try Gate(spec([route("/a")], issuers: [entry], tokensCached: capacity))
    }

    @Test("a token is remembered once, however often it comes")
    func once() throws {
        let gate = try gate()
        let request = request("/a", token(sub: "u1"))
        let first = gate.send(request)
        #expect(first.user == "u1")
        for _ in 0..<10 { #expect(gate.send(request) == first) }
        #expect(gate.cachedTokenCount == 1)
    }

    @Test("what is found good, and what makes way, is counted")
    func tally() throws {
        let gate = try gate(capacity: 2)
        for user in ["a", "b", "c", "c"] { _ = gate.send(request("/a", token(sub: user))) }
        _ = gate.send(request("/a", "no.token.atall"))
        var tally = gate.takeCacheTally()
        #expect(tally.verified == 3 && tally.evicted == 1 && tally.hits == 1 && tally.misses == 4)
        tally = gate.takeCacheTally()
        #expect(tally == CacheTally())
    }

    @Test("J6: a token that differs in one byte never hits, wherever the byte is")
    func oneByte() throws {
        let gate = try gate()
        let good = Array(token(sub: "u1").utf8)
        #expect(gate.send(request("/a", String(decoding: good, as: UTF8.self))).user == "u1")
        for index in good.indices {
            var changed = good
            changed[index] = changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let code = gate.send(request("/a", String(decoding: changed, as: UTF8.self))).code
            #expect(code == .tokenInvalid, "byte \(index)")
        }
        for shorter in [good.dropLast(), good.dropFirst()] {
            #expect(gate.send(request("/a", String(decoding: shorter, as: UTF8.self))).code == .tokenInvalid)
        }
        #expect(gate.cachedTokenCount == 1)
    }

    @Test("J6: an entry dies when its token expires, leeway included")
    func expiry() throws {
        let gate = try gate(leeway: 5)
        let request = request("/a", token(sub: "u1", expires: now + 10))
        #expect(gate.send(request).user == "u1")
        #expect(gate.send(request, now: now + 14).user == "u1")
        #expect(gate.send(request, now: now + 15).code == .tokenExpired)
        #expect(gate.cachedTokenCount == 0)
        #expect(gate.send(request, now: now + 1000).code == .tokenExpired)
    }

    @Test("a clock that is put back has tokens verified again: nbf counts")
    func clockBack() throws {
        let gate = try gate(leeway: 0)
        let request = request("/a", token(sub: "u1", #","nbf":\#(now)"#))
        #expect(gate.send(request).user == "u1")
        #expect(gate.send(request, now: now - 1).code == .tokenInvalid)
    }

    @Test("only good tokens are remembered")
    func noNegativeEntries() throws {
        let gate = try gate()
        for number in 0..<50 {
            _ = gate.send(request("/a", token(sub: "u\(number)", secret: otherSecret)))
            _ = gate.send(request("/a", "x\(number)"))
        }
        #expect(gate.cachedTokenCount == 0)
    }

    @Test(
        "a flood of good tokens stays within the limits, and all of them are served", arguments: [1, 2, 16])
    func flood(capacity: Int) throws {
        let gate = try gate(capacity: capacity)
        let capacity = max(capacity, 2)
        for number in 0..<200 {
            #expect(gate.send(request("/a", token(sub: "user-\(number)"))).user == "user-\(number)")
            #expect(gate.cachedTokenCount <= capacity)
        }
        #expect(gate.cachedTokenCount == capacity)
        #expect(gate.snapshot.cachedTokenBytes <= max(capacity * 2048, 4 * 8192))
        #expect(gate.send(request("/a", token(sub: "user-0"))).user == "user-0")
    }

    @Test("the cache is bounded in bytes as well: large tokens make more room")
    func bytes() throws {
        let gate = try gate(capacity: 20)
        let padding = String(repeating: "x", count: 5000)
        for number in 0..<40 {
            let large = token(sub: "u\(number)", #","pad":"\#(padding)""#)
            #expect(gate.send(request("/a", large)).user == "u\(number)")
            #expect(gate.snapshot.cachedTokenBytes <= 20 * 2048)
        }
        #expect(gate.cachedTokenCount > 1)
    }

    @Test("what is used is kept: eviction takes what was not")
    func eviction() throws {
        let gate = try gate(capacity: 8)
        let hot = request("/a", token(sub: "hot"))
        _ = gate.send(hot)
        let handle = gate.snapshot.cachedHandle(token(sub: "hot"))
        for number in 0..<64 {
            _ = gate.send(request("/a", token(sub: "cold-\(number)")))
            _ = gate.send(hot)
        }
        #expect(gate.snapshot.cachedHandle(token(sub: "hot")) == handle)
    }

    @Test("J7, J22: a key that leaves takes its tokens along at once; a failed exchange changes nothing")
    func replacedKeys() throws {
        let gate = try Gate(
            spec(
                [route("/a"), route("/b", auth: .required([1]))],
                issuers: [issuer(), issuer("other", iss: "j", secret: otherSecret)]))
        let old = request("/a", token(sub: "u1"))
        let other = request(
            "/b", token(#"{"iss":"j","aud":"a","sub":"u2","exp":1800000600}"#, secret: otherSecret))
        #expect(gate.send(old).user == "u1")
        #expect(gate.send(other).user == "u2")
        #expect(throws: IssuerError.self) {
            try gate.snapshot.replaceKeys(ofIssuer: 0, with: .secret(Array("short".utf8)))
        }
        #expect(gate.cachedTokenCount == 2)
        try gate.snapshot.replaceKeys(
            ofIssuer: 0, with: .secret(Array("another secret of thirty-two bytes".utf8)))
        #expect(gate.cachedTokenCount == 1)
        #expect(gate.send(old).code == .tokenInvalid)
        #expect(gate.send(other).user == "u2")
        gate.snapshot.removeKeys(ofIssuer: 1)
        #expect(gate.cachedTokenCount == 0)
        #expect(gate.send(other).code == .keysUnavailable)
    }

    @Test("a revoked token is verified again when it comes next")
    func forget() throws {
        let gate = try gate()
        _ = gate.send(request("/a", token(sub: "u1")))
        gate.snapshot.cache.removeAll()
        #expect(gate.cachedTokenCount == 0)
        #expect(gate.send(request("/a", token(sub: "u1"))).user == "u1")
    }

    @Test("what entries take is counted to the byte, minted credentials too")
    func accounting() throws {
        let mint = MintSpec(secret: otherSecret, lifetimeSeconds: 60)
        let gate = try Gate(spec([route("/a")], authorization: .mint(mint), tokensCached: 4))
        for number in 0..<20 {
            let request = request("/a", token(sub: "u\(number)"))
            _ = gate.send(request)
            _ = gate.send(request, now: now + 40)
        }
        #expect(gate.cachedTokenCount == 4)
        #expect(gate.snapshot.cachedTokenBytes > 4 * 500)
        gate.snapshot.cache.removeAll()
        #expect(gate.snapshot.cachedTokenBytes == 0)
    }

    @Test("long bucket chains keep their order when entries leave from anywhere")
    func chains() throws {
        let gate = try gate(capacity: 512)
        let tokens = (0..<512).map { token(sub: "u\($0)", expires: now + Int64($0)) }
        for token in tokens { _ = gate.send(request("/a", token)) }
        #expect(gate.cachedTokenCount == 512)
        for (number, token) in tokens.enumerated() {
            let later = now + 256 + 30
            #expect(gate.send(request("/a", token), now: later).user == (number > 256 ? "u\(number)" : nil))
        }
        #expect(gate.cachedTokenCount == 255)
    }

    @Test("the hash depends on every byte, on the size and on the seed")
    func hash() {
        let hash = KeyedHash(seed: (0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344))
        let other = KeyedHash(seed: (0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89))
        var seen: Set<UInt64> = []
        for count in 0..<40 {
            let zeros = [UInt8](repeating: 0, count: count)
            seen.insert(hash(zeros.span))
            #expect(hash(zeros.span) == hash(zeros.span))
            #expect(hash(zeros.span) != other(zeros.span))
            for index in zeros.indices {
                var changed = zeros
                changed[index] = 1
                seen.insert(hash(changed.span))
            }
        }
        #expect(seen.count == 40 + 40 * 39 / 2)
    }
}

extension PolicySnapshot {
    /// Where the cache holds that token for the route of issuer 0.
    fileprivate mutating func cachedHandle(_ token: String) -> Handle {
        cache.find(Array(token.utf8).span, [IssuerSet(index: 0)], now: now)
    }
}
