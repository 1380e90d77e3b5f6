import Bytes
import Testing

@testable import TLS

@Suite struct CertificateTests {
    @Test func whatACertificateIsFor() throws {
        let facts = try Fixture.main.check()
        #expect(facts.hosts == ["main.test", "also.test"])
        #expect(facts.notBefore < facts.notAfter && facts.notAfter > 4_000_000_000)
    }

    @Test func pairsThatCannotBeUsed() {
        let main = Fixture.main
        let wrong: [(CertifiedKeyText, CertificateFault)] = [
            (CertifiedKeyText(certificate: [], key: main.key), .noCertificate),
            (CertifiedKeyText(certificate: Fixture.bytes("hello"), key: main.key), .noCertificate),
            (CertifiedKeyText(certificate: main.key, key: main.key), .noCertificate),
            (CertifiedKeyText(certificate: main.certificate, key: []), .noKey),
            (CertifiedKeyText(certificate: main.certificate, key: main.certificate), .noKey),
            (CertifiedKeyText(certificate: main.certificate, key: Fixture.wild.key), .mismatch),
            (CertifiedKeyText(certificate: main.certificate, key: Fixture.rsa.key), .mismatch),
            (CertifiedKeyText(certificate: main.certificate, key: main.key, status: [0x30, 0]), .badStatus),
        ]
        for (text, fault) in wrong {
            #expect(throws: fault) { _ = try text.check() }
        }
    }

    @Test("F8: a name that would be read as two is none")
    func names() {
        #expect(throws: CertificateFault.badName) { _ = try Fixture.comma.check() }
    }

    @Test func contextsNeedCertificatesAndAuthorities() {
        #expect(throws: CertificateFault.noCertificate) {
            _ = try TLSServerSettings(name: "a", certificates: []).check()
        }
        var settings = TLSServerSettings(name: "a", certificates: [Fixture.main])
        settings.clients = .required(authorities: Fixture.bytes("hello"))
        #expect(throws: CertificateFault.noAuthorities) { _ = try settings.check() }
        #expect(throws: CertificateFault.noAuthorities) {
            try TLSClientSettings(trusting: Fixture.bytes("hello")).check()
        }
    }
}

@Suite struct CertificateChoiceTests {
    private let choice = CertificateChoice([
        (.rsa, ["a.test", "b.test"]), (.ecdsa, ["a.test"]), (.rsa, ["*.a.test"]), (.ecdsa, ["x.a.test"]),
    ])

    private func places(_ host: String) -> [Int]? { choice.set(forHost: host).map { choice.sets[$0] } }

    @Test func exactBeforeWildcard() {
        #expect(places("a.test") == [0, 1])
        #expect(places("A.TEST.") == [0, 1])
        #expect(places("b.test") == [0])
        #expect(places("y.a.test") == [2])
        // The exact one first; of the other kind the one below the wildcard.
        #expect(places("x.a.test") == [3, 2])
    }

    @Test(arguments: ["", ".", "test", "y.y.a.test", "c.test", ".a.test", "*.test"])
    func hostsThatNoCertificateIsFor(host: String) {
        #expect(places(host) == nil)
    }

    @Test func theFirstOneIsForEverybodyElse() {
        #expect(choice.sets[0] == [0, 1])
    }
}

@Suite struct TicketKeyTests {
    @Test func oneKeyForAWhile() throws {
        let keys = TicketKeys()
        let first = try #require(keys.current(now: 1000))
        let same = try #require(keys.current(now: 1000 + TicketKeys.rotationSeconds - 1))
        #expect(first.bytes[0] == same.bytes[0] && first.bytes[79] == same.bytes[79] && same.madeAt == 1000)
        let next = try #require(keys.current(now: 1000 + TicketKeys.rotationSeconds))
        #expect(next.madeAt == 1000 + TicketKeys.rotationSeconds)
    }

    @Test func oldKeysReadButAreRenewedAndThenForgotten() throws {
        let keys = TicketKeys()
        let first = try #require(keys.current(now: 0))
        let name = (0..<16).map { first.bytes[$0] }
        #expect(keys.find(name.span, now: 10)?.isOld == false)
        _ = keys.current(now: TicketKeys.rotationSeconds)
        #expect(keys.find(name.span, now: TicketKeys.rotationSeconds)?.isOld == true)
        let end = TicketKeys.rotationSeconds + TicketKeys.sessionSeconds
        #expect(keys.find(name.span, now: end) == nil)
        #expect(keys.find([UInt8](repeating: 0, count: 16).span, now: 10) == nil)
    }

    @Test("a key that was made while the clock was a year ahead is not in use for a year") func aheadOfTime()
        throws
    {
        let keys = TicketKeys()
        let (year, now): (Int64, Int64) = (365 * 86_400, 1_000_000)
        let ahead = try #require(keys.current(now: now + year))
        #expect(keys.current(now: now + year - 2)?.madeAt == now + year, "a small step back is none")
        #expect(keys.current(now: now)?.madeAt == now)
        var name: InlineArray<16, UInt8> = InlineArray(repeating: 0)
        for index in 0..<16 { name[index] = ahead.bytes[index] }
        #expect(keys.find(name.span, now: now) == nil)
    }
}
