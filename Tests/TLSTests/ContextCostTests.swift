import Glibc
import Testing

@testable import TLS

/// Workers make contexts of their own, and stand still meanwhile: what takes long is done before, or once.
@Suite struct ContextCostTests {
    /// What this thread has used of its CPU, in nanoseconds: nobody else's work counts.
    private func nanoseconds(_ work: () throws -> Void) rethrows -> Int {
        func now() -> Int {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return time.tv_sec * 1_000_000_000 + time.tv_nsec
        }
        let before = now()
        try work()
        return now() - before
    }

    @Test func authoritiesAreParsedWithTheSettings() throws {
        let text = Fixture.bytes(String(repeating: Fixture.caCertificate + "\n", count: 2000))
        var settings = TLSClientSettings(trusting: Fixture.bytes(Fixture.caCertificate))
        let parsing = nanoseconds { settings = TLSClientSettings(trusting: text) }
        let using = try nanoseconds { for _ in 0..<10 { _ = try TLSClientContext(settings) } }
        #expect(using < parsing)
    }

    @Test func renewingParsesWhatIsNew() throws {
        var settings = TLSServerSettings(
            name: "unit", certificates: Array(repeating: Fixture.rsa, count: 200) + [Fixture.main])
        var context = try TLSServerContext(settings, tickets: TicketKeys())
        settings.certificates[200] = Fixture.wild
        let anew = try nanoseconds { _ = try TLSServerContext(settings, tickets: TicketKeys()) }
        let renewed = try nanoseconds {
            context = try TLSServerContext(settings, tickets: TicketKeys(), renewing: context)
        }
        #expect(renewed * 2 < anew)
        #expect(try context.facts == settings.check())
    }

    @Test func renewingFollowsTheNewOrder() throws {
        var settings = TLSServerSettings(name: "unit", certificates: [Fixture.main, Fixture.rsa])
        let before = try TLSServerContext(settings, tickets: TicketKeys())
        settings.certificates = [Fixture.wild, Fixture.main]
        let renewed = try TLSServerContext(settings, tickets: TicketKeys(), renewing: before)
        #expect(renewed.facts == [try Fixture.wild.check(), try Fixture.main.check()])
    }

    @Test func whatIsNewIsCheckedWhereTheRestIsNot() throws {
        var settings = TLSServerSettings(name: "unit", certificates: [Fixture.main])
        let before = try TLSServerContext(settings, tickets: TicketKeys())
        settings.certificates[0].key = Fixture.wild.key
        #expect(throws: CertificateFault.mismatch) {
            _ = try TLSServerContext(settings, tickets: TicketKeys(), renewing: before)
        }
    }
}
