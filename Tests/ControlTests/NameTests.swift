import Config
import Logging
import Reactor
import Telemetry
import Testing

@testable import Control

@Suite("Names whose addresses change")
struct NameTests {
    /// Waits for what a descriptor tells, far longer than it takes.
    private func wait(for descriptor: Int32) throws {
        var poller = try Poller()
        try poller.add(descriptor, token: 0, for: .readable)
        #expect(poller.wait(timeoutMilliseconds: 30_000) == 1)
    }

    @Test("a change that came while a reload waited, which then failed, is told behind it")
    func changeDuringReload() throws {
        let book = try NameBook(log: Logger(label: "test"))
        let now = Instant.now()
        book.add([NameBook.Name(host: "localhost", port: 1): 1000], now: now)
        book.waitForAnswers(milliseconds: 30_000)
        book.run(now: Instant.now().advanced(byMilliseconds: 2000))
        try wait(for: book.answers.descriptor)
        let isTold = book.noteAnswers(now: Instant.now())
        #expect(isTold)
        book.run(now: Instant.now().advanced(byMilliseconds: 4000))
        try wait(for: book.answers.descriptor)
        let isToldAgain = book.noteAnswers(now: Instant.now())
        #expect(!isToldAgain)
    }

    /// An exporter that connects to an address of its collector where nobody says anything. The other one is `good`'s.
    private func exporter(
        _ good: borrowing Listener, _ queue: SpanQueue, _ poller: borrowing Poller, now: Instant
    ) throws -> SpanExporter {
        let port = try #require(good.address.port)
        let exporter = try SpanExporter(environment: [:], log: Logger(label: "test"))
        let url = try #require(RemoteURL("http://localhost:\(port)/v1/traces"))
        exporter.configure(TracingConfiguration(url: url), now: now)
        queue.append([1, 2, 3])
        exporter.run([queue], poller, now: now)
        let silent = try #require(SocketAddress.numeric("127.0.0.2", port: port))
        exporter.take(LookupAnswer(identifier: 1, addresses: [silent, good.address]), poller, now)
        // The name is looked up, too; that answer comes too late to count.
        try wait(for: exporter.lookups.descriptor)
        exporter.noteLookups(poller, now: now)
        exporter.run([queue], poller, now: now.advanced(byMilliseconds: 11_000))
        #expect(exporter.tally.failures == 1)
        return exporter
    }

    private func listener() throws -> Listener {
        try Listener(at: try #require(SocketAddress.numeric("127.0.0.1", port: 0)))
    }

    @Test("a collector's address that says nothing is followed by its next one")
    func silentCollector() throws {
        let poller = try Poller()
        let (queue, now) = (SpanQueue(limitBytes: 1000), Instant.now())
        let good = try listener()
        let exporter = try exporter(good, queue, poller, now: now)
        exporter.run([queue], poller, now: now.advanced(byMilliseconds: 13_000))
        try wait(for: good.descriptor)
    }

    @Test("a collector whose name nobody looks up any more is sent spans where it was")
    func namesAreAway() throws {
        let poller = try Poller()
        let (queue, now) = (SpanQueue(limitBytes: 1000), Instant.now())
        let good = try listener()
        let exporter = try exporter(good, queue, poller, now: now)
        exporter.run([queue], poller, now: now.advanced(byMilliseconds: 60_000))
        // Its answer does not come before the time of the batch is over.
        exporter.run([queue], poller, now: now.advanced(byMilliseconds: 71_000))
        try wait(for: good.descriptor)
        #expect(exporter.tally.failures == 1)
        // A thread that has ended leaves something until somebody has waited for it.
        try wait(for: exporter.lookups.descriptor)
        exporter.noteLookups(poller, now: now.advanced(byMilliseconds: 71_000))
    }

    @Test("a resolver that says nothing holds one thread, however often the collector is tried")
    func oneLookup() throws {
        let poller = try Poller()
        let (queue, now) = (SpanQueue(limitBytes: 1000), Instant.now())
        let exporter = try SpanExporter(environment: [:], log: Logger(label: "test"))
        let url = try #require(RemoteURL("http://localhost:1/v1/traces"))
        exporter.configure(TracingConfiguration(url: url), now: now)
        queue.append([1, 2, 3])
        // Its answer is not taken in.
        for second in 0..<60 {
            exporter.run([queue], poller, now: now.advanced(byMilliseconds: Int64(second) * 1000))
        }
        #expect(exporter.tally.failures > 1 && exporter.running.count == 1)
        try wait(for: exporter.lookups.descriptor)
        exporter.noteLookups(poller, now: now)
        #expect(exporter.running.isEmpty)
    }

    @Test("a collector's addresses are looked up anew")
    func movedCollector() throws {
        let poller = try Poller()
        let (queue, now) = (SpanQueue(limitBytes: 1000), Instant.now())
        let good = try listener()
        let exporter = try exporter(good, queue, poller, now: now)
        let later = now.advanced(byMilliseconds: 60_000)
        exporter.run([queue], poller, now: later)
        exporter.take(LookupAnswer(identifier: 2, addresses: [good.address]), poller, later)
        try wait(for: good.descriptor)
        try wait(for: exporter.lookups.descriptor)
        exporter.noteLookups(poller, now: later)
    }
}
