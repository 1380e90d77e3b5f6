import Bytes
import Glibc
import Testing

@testable import TLS

/// Two connected sockets that do not block.
private final class Wire {
    let client: Int32
    let server: Int32
    private var isServerOpen = true

    init() {
        var pair: [Int32] = [0, 0]
        let flags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        #expect(socketpair(AF_UNIX, flags, 0, &pair) == 0)
        (client, server) = (pair[0], pair[1])
    }

    /// Ends the server's side without a word.
    func cut() {
        isServerOpen = false
        close(server)
    }

    deinit {
        close(client)
        if isServerOpen { close(server) }
    }
}

@Suite struct TLSConnectionTests {
    private func serverContext(
        _ certificates: [CertifiedKeyText] = [Fixture.main], tickets: TicketKeys = TicketKeys(),
        _ change: (inout TLSServerSettings) -> Void = { _ in }
    ) throws -> TLSServerContext {
        var settings = TLSServerSettings(name: "unit", certificates: certificates)
        change(&settings)
        return try TLSServerContext(settings, tickets: tickets)
    }

    private func clientContext(_ certificate: CertifiedKeyText? = nil) throws -> TLSClientContext {
        var settings = TLSClientSettings(trusting: Fixture.bytes(Fixture.caCertificate))
        settings.certificate = certificate
        return try TLSClientContext(settings)
    }

    private func connect(
        _ wire: Wire, _ context: TLSClientContext, _ name: String = "main.test", isAddress: Bool = false
    ) throws -> TLSConnection {
        let made = TLSConnection(
            client: context, descriptor: wire.client, server: name, isAddress: isAddress, number: 0)
        return try Self.unwrap(made)
    }

    private func accept(_ wire: Wire, _ context: TLSServerContext) throws -> TLSConnection {
        try Self.unwrap(TLSConnection(server: context, descriptor: wire.server, early: Span()))
    }

    private struct Missing: Error {}

    private static func unwrap(_ made: consuming TLSConnection?) throws -> TLSConnection {
        switch consume made {
        case .some(let connection): return connection
        case .none: throw Missing()
        }
    }

    /// Both outcomes of a handshake.
    private func shakeHands(
        _ client: inout TLSConnection, _ server: inout TLSConnection
    ) -> (client: TLSHandshake, server: TLSHandshake) {
        var (one, other) = (TLSHandshake.needsInput, TLSHandshake.needsInput)
        for _ in 0..<6 {
            if one == .needsInput { one = client.shakeHands() }
            if other == .needsInput { other = server.shakeHands() }
        }
        return (one, other)
    }

    private func text(_ connection: inout TLSConnection, _ pool: inout BlockPool) -> (TLSResult, String) {
        var buffer = Buffer()
        buffer.attach(from: &pool)
        let result = connection.read(into: &buffer)
        var bytes: [UInt8] = []
        for index in 0..<buffer.count { bytes.append(buffer.bytes[index]) }
        buffer.detach(to: &pool)
        return (result, String(decoding: bytes, as: UTF8.self))
    }

    @Test func wordsInBothDirections() throws {
        let wire = Wire()
        var server = try accept(wire, serverContext())
        var client = try connect(wire, clientContext())
        let outcome = shakeHands(&client, &server)
        #expect(outcome.client == .done && outcome.server == .done)
        var pool = BlockPool(keptBytes: 0)
        let sent = client.write(Array("hello".utf8).span)
        #expect(sent == .bytes(5))
        let (result, received) = text(&server, &pool)
        #expect(result == .bytes(5) && received == "hello")
        let hasMore = server.hasMore
        #expect(!hasMore)
        let nothing = text(&server, &pool)
        #expect(nothing.0 == .needsInput)
        let (isHTTP2, certificate) = (server.isHTTP2, server.peerCertificate())
        #expect(!isHTTP2 && certificate == .none)
    }

    @Test("several records that came at once are read at once, as far as there is room")
    func manyRecords() throws {
        let wire = Wire()
        var server = try accept(wire, serverContext())
        var client = try connect(wire, clientContext())
        _ = shakeHands(&client, &server)
        for _ in 0..<50 { _ = client.write(Array("0123456789".utf8).span) }
        var pool = BlockPool(keptBytes: 0)
        var all = ""
        var reads = 0
        while all.utf8.count < 500, reads < 50 {
            let (_, piece) = text(&server, &pool)
            all += piece
            reads += 1
        }
        #expect(all == String(repeating: "0123456789", count: 50) && reads < 5)
    }

    /// Reads into a block of 4 KiB; how much there was, and whether there may be more.
    private func read(_ connection: inout TLSConnection, _ pool: inout BlockPool) -> (
        TLSResult, hasMore: Bool
    ) {
        var buffer = Buffer()
        buffer.attach(from: &pool, .tiny)
        let result = connection.read(into: &buffer)
        buffer.detach(to: &pool)
        return (result, connection.hasMore)
    }

    @Test("what an event has told of is still there when a read was served by what lay here")
    func eventsBetweenReads() throws {
        let wire = Wire()
        var server = try accept(wire, serverContext())
        var client = try connect(wire, clientContext())
        _ = shakeHands(&client, &server)
        var pool = BlockPool(keptBytes: 0)
        for isTold in [true, false] {
            let longer = client.write([UInt8](repeating: 65, count: 5000).span)
            server.noteReadable()
            let first = read(&server, &pool)
            #expect(longer == .bytes(5000) && first == (.bytes(4096), true))
            if isTold {
                _ = client.write(Array("hello".utf8).span)
                server.noteReadable()
            }
            let second = read(&server, &pool)
            #expect(second == (.bytes(904), isTold))
            if isTold {
                let third = read(&server, &pool)
                #expect(third == (.bytes(5), false))
            }
        }
    }

    @Test func theEndIsToldFromACut() throws {
        for isCut in [false, true] {
            let wire = Wire()
            var server = try accept(wire, serverContext())
            var client = try connect(wire, clientContext())
            _ = shakeHands(&client, &server)
            var pool = BlockPool(keptBytes: 0)
            _ = text(&client, &pool)
            if isCut { wire.cut() } else { server.close() }
            let (result, _) = text(&client, &pool)
            #expect(result == (isCut ? .failed : .ended))
            let hasMore = client.hasMore
            #expect(hasMore, "whoever asks again is told again")
        }
    }

    @Test func aServerHasToProveItsName() throws {
        for (name, isAddress) in [("other.test", false), ("192.0.2.1", true)] {
            let wire = Wire()
            var server = try accept(wire, serverContext())
            var client = try connect(wire, clientContext(), name, isAddress: isAddress)
            let outcome = shakeHands(&client, &server)
            guard case .failed(.certificate(let reason)) = outcome.client else {
                Issue.record("\(outcome.client)")
                continue
            }
            #expect(reason.contains("mismatch"))
        }
    }

    @Test func anAuthorityHasToBeTrusted() throws {
        let wire = Wire()
        var server = try accept(wire, serverContext())
        let trusting = TLSClientSettings(trusting: Fixture.bytes(Fixture.wildCertificate))
        var client = try connect(wire, TLSClientContext(trusting))
        let outcome = shakeHands(&client, &server)
        guard case .failed(.certificate) = outcome.client else {
            Issue.record("\(outcome.client)")
            return
        }
    }

    @Test func authoritiesAreSharedByThreads() async throws {
        let settings = TLSClientSettings(trusting: Fixture.bytes(Fixture.caCertificate))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<20 {
                        let wire = Wire()
                        var server = try self.accept(wire, self.serverContext())
                        var client = try self.connect(wire, TLSClientContext(settings))
                        let outcome = self.shakeHands(&client, &server)
                        guard case .done = outcome.client else {
                            Issue.record("\(outcome.client)")
                            return
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func namesThatAreNone() throws {
        let (wire, context) = (Wire(), try clientContext())
        for (name, isAddress) in [("", false), ("a\u{0}.test", false), ("main.test", true)] {
            let made = TLSConnection(
                client: context, descriptor: wire.client, server: name, isAddress: isAddress, number: 0)
            let isNone = made == nil
            #expect(isNone)
        }
    }

    @Test func certificatesByName() throws {
        let context = try serverContext([Fixture.main, Fixture.rsa, Fixture.wild])
        for (name, isDone) in [("a.wild.test", true), ("also.test", true), ("a.b.wild.test", false)] {
            let wire = Wire()
            var server = try accept(wire, context)
            var client = try connect(wire, clientContext(), name)
            let outcome = shakeHands(&client, &server)
            #expect((outcome.client == .done) == isDone)
        }
    }

    @Test func whatAClientProves() throws {
        let context = try serverContext {
            $0.clients = .required(authorities: Fixture.bytes(Fixture.caCertificate))
        }
        let wire = Wire()
        var server = try accept(wire, context)
        var client = try connect(wire, clientContext(Fixture.client))
        let outcome = shakeHands(&client, &server)
        #expect(outcome.server == .done)
        guard case .proven(let identity) = server.peerCertificate() else {
            Issue.record("no certificate")
            return
        }
        #expect(String(decoding: identity.subject, as: UTF8.self) == "CN=alice,O=Acme\\, Inc.")
        #expect(
            String(decoding: identity.alternativeNames, as: UTF8.self)
                == "DNS:alice.test,URI:spiffe://test/alice,email:a@b.test,IP:192.0.2.1")
    }

    @Test func aClientWithoutTheCertificateThatIsDue() throws {
        let context = try serverContext {
            $0.clients = .required(authorities: Fixture.bytes(Fixture.caCertificate))
        }
        let wire = Wire()
        var server = try accept(wire, context)
        var client = try connect(wire, clientContext())
        let outcome = shakeHands(&client, &server)
        guard case .failed = outcome.server else {
            Issue.record("\(outcome.server)")
            return
        }
    }

    @Test func sessionsAreTakenUpAgainWhereTheRulesAreTheSame() throws {
        let tickets = TicketKeys()
        let client = try clientContext()
        let same = try serverContext(tickets: tickets)
        let again = try serverContext(tickets: tickets)
        let other = try serverContext(tickets: tickets) { $0.name = "other" }
        let strict = try serverContext(tickets: tickets) {
            $0.clients = .optional(authorities: Fixture.bytes(Fixture.caCertificate))
        }
        for (context, isResumed) in [
            (same, false), (again, true), (other, false), (same, false), (strict, false),
        ] {
            let wire = Wire()
            var one = try connect(wire, client)
            var two = try accept(wire, context)
            let outcome = shakeHands(&one, &two)
            #expect(outcome.client == .done && outcome.server == .done)
            var pool = BlockPool(keptBytes: 0)
            _ = two.write(Array("x".utf8).span)
            _ = text(&one, &pool)  // the ticket comes along
            let resumed = two.isResumed
            #expect(resumed == isResumed)
        }
    }

    @Test(arguments: ["GET / HTTP/1.1\r\n\r\n", "POST /x HTTP/1.0\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n"])
    func plainHTTPIsKnown(request: String) throws {
        let wire = Wire()
        let context = try serverContext()
        var server = try Self.unwrap(
            TLSConnection(server: context, descriptor: wire.server, early: Array(request.utf8).span))
        let step = server.shakeHands()
        #expect(step == .failed(.plainHTTP))
    }

    @Test("J18: a failed session leaves nothing behind for the next one")
    func errorsStayWithTheirSession() throws {
        let context = try serverContext()
        let bad = Wire()
        var garbage = try Self.unwrap(
            TLSConnection(
                server: context, descriptor: bad.server, early: [UInt8](repeating: 1, count: 64).span))
        guard case .failed(.protocolViolation) = garbage.shakeHands() else {
            Issue.record("it did not fail")
            return
        }
        let wire = Wire()
        var server = try accept(wire, context)
        var client = try connect(wire, clientContext())
        let outcome = shakeHands(&client, &server)
        #expect(outcome.client == .done && outcome.server == .done)
    }
}
