import Policy
import Testing

@testable import Config

@Suite struct SessionValuesTests {
    private let secret = "a-secret-of-more-than-32-bytes-for-tests"

    private func session(_ lines: String) throws -> SessionConfiguration {
        var sample = Sample()
        sample.route =
            "[session.browser]\nprovider = 'better-auth'\ntrusted_origins = ['https://app.test']\n\(lines)\n"
            + "[[route]]\npath = '/'\nauth = ['main', 'browser']\nupstream = 'tasks'\n"
        let loaded = load(sample.text)
        let configuration = try #require(loaded.configuration, "\(headlines(loaded))")
        _ = try PolicySnapshot(configuration.policy)
        return try #require(configuration.sessions.first)
    }

    @Test func defaults() throws {
        let session = try session("secret = '\(secret)'")
        #expect(session.cookiePrefix == "better-auth" && session.secureCookies && session.cache == .any)
        #expect(session.cacheVersion == "1" && session.cacheFor == .seconds(30) && session.url == nil)
        #expect(session.secrets.map(\.bytes) == [Array(secret.utf8)])
        #expect(session.remoteSource == nil && session.keyIssuer == nil)
    }

    @Test func whatIsAskedAndWhereTheKeysAre() throws {
        let session = try session(
            "secret = '\(secret)'\nurl = 'http://127.0.0.1:3000/api/auth/'\ncookie_cache = 'jwks'\n"
                + "issuer = 'https://app.test'")
        #expect(session.remoteSource?.url.description == "http://127.0.0.1:3000/api/auth/get-session")
        let issuer = try #require(session.keyIssuer)
        #expect(
            session.keyIssuerNames == ["https://app.test"] && issuer.audience == ["better-auth:session-cache"]
        )
        #expect(issuer.requiredType && issuer.requiresNamedKeys && issuer.leeway == .zero)
        guard case .remote(let keys) = issuer.keySource, case .url(let url) = keys.location else {
            Issue.record("no keys by URL")
            return
        }
        #expect(url.description == "http://127.0.0.1:3000/api/auth/jwks" && !keys.areOptional)
    }

    @Test(arguments: ["", "cookie_cache = 'auto'"])
    func publishedKeysNeedNotBeThere(choice: String) throws {
        let session = try session("secret = '\(secret)'\nurl = 'http://127.0.0.1:3000/api/auth'\n\(choice)")
        guard case .remote(let keys) = try #require(session.keyIssuer).keySource else {
            Issue.record("no keys by URL")
            return
        }
        #expect(keys.areOptional && session.keyIssuerNames == ["http://127.0.0.1:3000", "https://app.test"])
    }

    @Test(arguments: ["compact", "jwt", "jwe", "off"])
    func otherFormsHaveNoPublishedKeys(form: String) throws {
        let session = try session(
            "secret = '\(secret)'\nurl = 'http://127.0.0.1:3000/api/auth'\ncookie_cache = '\(form)'")
        #expect(session.keyIssuer == nil)
    }

    @Test func theCurrentSecretIsTheFirst() throws {
        let session = try session("secrets = '2:\(secret)2, 1: \(secret)1'\nsecret = '\(secret)'")
        #expect(
            session.secrets.map { String(decoding: $0.bytes, as: UTF8.self) } == [
                "\(secret)2", "\(secret)1", secret,
            ])
    }
}
