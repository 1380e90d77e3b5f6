import Bytes
import Testing

@testable import TLS

/// A self-signed certificate, made for these tests.
private let authority = """
    -----BEGIN CERTIFICATE-----
    MIIBizCCATGgAwIBAgIUIQ2bIXiFM9YQJsoZ3BGy6mYvilswCgYIKoZIzj0EAwIw
    GjEYMBYGA1UEAwwPdXNoZXIgdW5pdCB0ZXN0MCAXDTI2MTEyMTAxMzgwNFoYDzIx
    MjYxMDI4MDEzODA0WjAaMRgwFgYDVQQDDA91c2hlciB1bml0IHRlc3QwWTATBgcq
    hkjOPQIBBggqhkjOPQMBBwNCAAQmjuXvA8E47mjWP8W8aIqCNs8AryFY8cv98bHe
    +FaFl9NGJB3d09jYUWA1RSNLmI5rewgZKdSdcTZ+u0LaFnFvo1MwUTAdBgNVHQ4E
    FgQUp7TQZfpIjEEDLUSKaC6LYqMF9r8wHwYDVR0jBBgwFoAUp7TQZfpIjEEDLUSK
    aC6LYqMF9r8wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiB5pvK8
    ucksw2cvNcdFaU9bZ/2TRZPQEWyg+ReE5z2TMwIhAJ0xDOotNvNjwk8EspSKBCus
    qf2Tf43O7jX6XM3gz9tZ
    -----END CERTIFICATE-----

    """

@Suite struct TLSContextTests {
    @Test func authoritiesFromPEM() throws {
        _ = try TLSContext(clientTrusting: Array(authority.utf8).span)
        _ = try TLSContext(clientTrusting: Array(("comment\n" + authority + authority).utf8).span)
    }

    @Test(arguments: ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    func withoutAuthoritiesThereIsNoContext(text: String) {
        #expect(throws: TLSError.noAuthorities) { _ = try TLSContext(clientTrusting: Array(text.utf8).span) }
    }
}

@Suite struct TLSSessionTests {
    private func context() throws -> TLSContext {
        try TLSContext(clientTrusting: Array(authority.utf8).span)
    }

    /// What a new client says first.
    private func hello(_ server: String, isAddress: Bool) throws -> [UInt8] {
        var session = try TLSSession(client: context(), server: server, isAddress: isAddress)
        let step = session.handshake()
        let (hasOutput, isEstablished) = (session.hasOutput, session.isEstablished)
        #expect(step == .needsInput && hasOutput && !isEstablished)
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        session.takeOutput(into: &buffer)
        var bytes: [UInt8] = []
        for index in 0..<buffer.bytes.count { bytes.append(buffer.bytes[index]) }
        buffer.detach(to: &pool)
        let hasMore = session.hasOutput
        #expect(!hasMore)
        return bytes
    }

    private func contains(_ bytes: [UInt8], _ text: String) -> Bool {
        let wanted = Array(text.utf8)
        return bytes.indices.contains { bytes[$0...].starts(with: wanted) }
    }

    @Test func theFirstFlightNamesTheServer() throws {
        let bytes = try hello("keys.example.com", isAddress: false)
        #expect(bytes.starts(with: [0x16, 0x03, 0x01]) && contains(bytes, "keys.example.com"))
    }

    @Test("RFC 6066, 3: an address is never sent as a server's name")
    func addresses() throws {
        #expect(!contains(try hello("192.0.2.7", isAddress: true), "192.0.2.7"))
        #expect(!contains(try hello("2001:db8::1", isAddress: true), "2001:db8::1"))
    }

    @Test func namesThatAreNone() throws {
        let context = try context()
        for (name, isAddress) in [("", false), ("a\u{0}.example", false), ("keys.example.com", true)] {
            #expect(throws: TLSError.badServerName) {
                _ = try TLSSession(client: context, server: name, isAddress: isAddress)
            }
        }
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH\r\n", "\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}(",
    ])
    func whatIsNoTLSFails(text: String) throws {
        var session = try TLSSession(client: context(), server: "a.example", isAddress: false)
        let first = session.handshake()
        #expect(first == .needsInput)
        let isTaken = session.receive(Array(text.utf8).span)
        let second = session.handshake()
        let isEstablished = session.isEstablished
        guard case .failed(.protocolViolation(let reason)) = second else {
            Issue.record("it did not fail")
            return
        }
        #expect(isTaken && !reason.isEmpty && !isEstablished)
    }

    @Test("J18: a failed session leaves nothing behind for the next one")
    func errorsStayWithTheirSession() throws {
        let context = try context()
        var bad = try TLSSession(client: context, server: "a.example", isAddress: false)
        _ = bad.handshake()
        _ = bad.receive(Array("nonsense nonsense".utf8).span)
        _ = bad.handshake()
        var good = try TLSSession(client: context, server: "a.example", isAddress: false)
        let step = good.handshake()
        #expect(step == .needsInput)
    }
}
