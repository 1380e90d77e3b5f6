import Glibc
import Testing

@testable import JOSE

/// What this thread has had of a CPU: how many others want it makes no difference.
private func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

@Suite struct RevocationListTests {
    private func read(_ text: String) -> RevocationList? { RevocationList(Array(text.utf8)) }
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func aTokenOfAnyIssuer() throws {
        let list = try #require(read("{\"jti\":[\"a\"]}"))
        for issuer in [bytes("i"), nil] {
            #expect(list.revokes(issuer: issuer, tokenID: bytes("a"), subject: bytes("u"), issuedAt: 1))
        }
        #expect(!list.revokes(issuer: nil, tokenID: bytes("b"), subject: bytes("a"), issuedAt: 1))
        #expect(!list.revokes(issuer: nil, tokenID: nil, subject: bytes("a"), issuedAt: nil))
    }

    @Test("J8: a token is named by its issuer and its jti")
    func aTokenOfOneIssuer() throws {
        let list = try #require(read("{\"jti\":[{\"iss\":\"i\",\"jti\":\"a\"}]}"))
        #expect(list.revokes(issuer: bytes("i"), tokenID: bytes("a"), subject: bytes("u"), issuedAt: 1))
        #expect(!list.revokes(issuer: bytes("j"), tokenID: bytes("a"), subject: bytes("u"), issuedAt: 1))
        #expect(list.revokes(issuer: nil, tokenID: bytes("a"), subject: bytes("u"), issuedAt: 1))
    }

    @Test(arguments: [(99, true), (100, false), (101, false)] as [(Int64, Bool)])
    func aSubjectUpToAMoment(issuedAt: Int64, expected: Bool) throws {
        let list = try #require(read("{\"sub\":{\"u\":100}}"))
        #expect(list.revokes(issuer: nil, tokenID: nil, subject: bytes("u"), issuedAt: issuedAt) == expected)
        #expect(!list.revokes(issuer: nil, tokenID: nil, subject: bytes("v"), issuedAt: issuedAt))
        #expect(list.revokes(issuer: nil, tokenID: nil, subject: bytes("u"), issuedAt: nil))
    }

    @Test("J12, J13: a long list is read in no time, and has no subject twice")
    func longest() throws {
        func list(_ names: [String]) -> [UInt8] {
            Array("{\"sub\":{\(names.map { "\"\($0)\":1" }.joined(separator: ","))}}".utf8)
        }
        let names = (0..<40_000).map { "user-\($0)" }
        let start = cpuSeconds()
        #expect(RevocationList(list(names))?.count == 40_000)
        // Compared with one another they would take half a minute.
        #expect(cpuSeconds() - start < 10)
        for (place, twice) in [(599, 0), (300, 299), (257, 256), (256, 255), (1, 0), (599, 598)] {
            var names = Array(names.prefix(600))
            names[place] = names[twice]
            #expect(RevocationList(list(names)) == nil, "\(place)")
        }
        // However it is written.
        #expect(RevocationList(list(names.prefix(600) + ["\\u0075ser-7"])) == nil)
    }

    @Test func listsAreJoined() throws {
        var list = try #require(read("{\"jti\":[\"a\"],\"sub\":{\"u\":100}}"))
        list.formUnion(
            try #require(read("{\"jti\":[{\"iss\":\"i\",\"jti\":\"a\"}],\"sub\":{\"u\":50,\"v\":1}}")))
        #expect(list.count == 4)
        #expect(list.revokes(issuer: nil, tokenID: nil, subject: bytes("u"), issuedAt: 99))
        #expect(try #require(read("{}")).isEmpty && !list.isEmpty)
        var other = RevocationList()
        other.formUnion(list)
        #expect(other == list)
        let fewer = try #require(read("{\"jti\":[{\"iss\":\"k\",\"jti\":\"a\"}],\"sub\":{\"u\":200}}"))
        var more = fewer
        more.formUnion(list)
        list.formUnion(fewer)
        #expect(more == list && list.count == 5 && list.latestMoment == 200)
    }

    @Test(arguments: [
        "", "[]", "{\"jti\":\"a\"}", "{\"jti\":[1]}", "{\"jti\":[[]]}", "{\"jti\":[{\"jti\":\"a\"}]}",
        "{\"jti\":[{\"iss\":\"i\",\"jti\":\"a\",\"x\":1}]}", "{\"sub\":[\"u\"]}", "{\"sub\":{\"u\":\"1\"}}",
        "{\"sub\":{\"u\":null}}", "{\"sub\":{\"u\":1,\"u\":2}}", "{\"JTI\":[]}", "{} {}",
    ])
    func whatIsNoList(text: String) {
        #expect(read(text) == nil)
    }
}
