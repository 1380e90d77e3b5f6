import Testing

@testable import JOSE

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

    @Test func listsAreJoined() throws {
        var list = try #require(read("{\"jti\":[\"a\"],\"sub\":{\"u\":100}}"))
        list.formUnion(
            try #require(read("{\"jti\":[{\"iss\":\"i\",\"jti\":\"a\"}],\"sub\":{\"u\":50,\"v\":1}}")))
        #expect(list.count == 4)
        #expect(list.revokes(issuer: nil, tokenID: nil, subject: bytes("u"), issuedAt: 99))
        #expect(try #require(read("{}")).isEmpty && !list.isEmpty)
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
