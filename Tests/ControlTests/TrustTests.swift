import Config
import Foundation
import TLS
import Testing

@testable import Control

@Suite("Whom connections of the control loop trust")
struct TrustTests {
    private static let authority = """
        -----BEGIN CERTIFICATE-----
        MIIBijCCAS+gAwIBAgIUMMHahJPAGwQvauXFn3TZkELRTtkwCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOdW5pdCBhdXRob3JpdHkwIBcNMjYxMTIxMDQ1NzE1WhgPMjEy
        NjEwMjgwNDU3MTVaMBkxFzAVBgNVBAMMDnVuaXQgYXV0aG9yaXR5MFkwEwYHKoZI
        zj0CAQYIKoZIzj0DAQcDQgAExz0rog5daRzWpUc3p/O5dG2A1NzAqeltQs3AuAWY
        ZnY9xb1f2BL2CqqGBctwoj8SBaHM2yGMGOg8WDq3pIHYhaNTMFEwHQYDVR0OBBYE
        FJI6YEjF2kFECr/mKGriU/gOtp6RMB8GA1UdIwQYMBaAFJI6YEjF2kFECr/mKGri
        U/gOtp6RMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAMNa/1ui
        KH1/NBtWAONid4PvOKndBWZDmNoOayN1ig98AiEAr3OQvomYQKV/2hJ5lFkibsr6
        py5LwzGYPBOibV7Kjwo=
        -----END CERTIFICATE-----
        """

    /// As packages do it: another file in its place.
    private func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    private func source(authorities: [UInt8]? = nil) throws -> RemoteSource {
        RemoteSource(
            name: "session.a", kind: .betterAuthSession,
            url: try #require(RemoteURL("https://web:3000/api/auth/get-session")), authorities: authorities)
    }

    @Test("The system's authorities are parsed once, and again where their file has changed")
    func system() throws {
        let path = NSTemporaryDirectory() + "usher-\(UUID().uuidString).pem"
        defer { unlink(path) }
        try write(Self.authority, to: path)
        let trust = SystemTrust(SystemAuthorities(environment: ["SSL_CERT_FILE": path]))
        let (one, other) = (AskedServer(try source(), stamp: 1), AskedServer(try source(), stamp: 2))
        let context = try one.context(or: trust)
        #expect(try one.context(or: trust) === context && other.context(or: trust) === context)
        try write("\n" + Self.authority, to: path)
        let next = try one.context(or: trust)
        #expect(next !== context)
        #expect(try one.context(or: trust) === next)
        try write("nobody", to: path)
        #expect(throws: TLSError.noAuthorities) { try one.context(or: trust) }
        #expect(unlink(path) == 0)
        #expect(throws: TLSError.noAuthorities) { try one.context(or: trust) }
        try write(Self.authority, to: path)
        #expect(try one.context(or: trust) === other.context(or: trust))
    }

    @Test("A server's own authorities are parsed once, and those of the system not at all")
    func own() throws {
        let nobody = SystemTrust(SystemAuthorities(environment: ["SSL_CERT_FILE": "/nowhere"]))
        let server = AskedServer(try source(authorities: Array(Self.authority.utf8)), stamp: 1)
        let context = try server.context(or: nobody)
        #expect(try server.context(or: nobody) === context)
    }
}
