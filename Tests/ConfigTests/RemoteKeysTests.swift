import JOSE
import Testing

@testable import Config

@Suite struct RemoteURLTests {
    @Test(arguments: [
        ("https://app.example.com", "https://app.example.com", "/", "app.example.com", 443),
        ("HTTPS://App.Example.COM:443/a?b=c", "https://app.example.com", "/a?b=c", "app.example.com", 443),
        ("http://127.0.0.1:3000/api/auth", "http://127.0.0.1:3000", "/api/auth", "127.0.0.1", 3000),
        ("http://[::1]:8080/x", "http://[::1]:8080", "/x", "::1", 8080),
        ("http://localhost?x", "http://localhost", "/?x", "localhost", 80),
        ("https://h:80/", "https://h:80", "/", "h", 80),
    ])
    func partsOfAURL(text: String, origin: String, target: String, host: String, port: UInt16) throws {
        let url = try #require(RemoteURL(text))
        #expect(url.origin == origin && url.target == target && url.host == host && url.port == port)
        #expect(url.description == origin + target)
    }

    @Test(arguments: [
        "", "app.example.com", "ftp://a/", "https://", "https:///x", "https://a b/", "https://u@a/",
        "https://a/#f",
        "https://a:0/", "https://a:65536/", "https://a:/", "https://a:x/", "https://[::1",
        "https://[1.2.3.4]/",
        "https://a..b/", "https://-a/", "https://1.2.3/", "https://ä.de/", "https://a/\u{7f}",
        "https://a\\b/",
        "https://a:1:2/", "javascript:alert(1)", "https://a/\r\nX: y",
    ])
    func whatIsNoURL(text: String) {
        #expect(RemoteURL(text) == nil)
    }

    @Test func redirects() throws {
        let url = try #require(RemoteURL("https://a.example/x"))
        #expect(url.following("/y?z")?.description == "https://a.example/y?z")
        #expect(url.following("https://a.example:443/y").map { $0.hasSameOrigin(as: url) } == true)
        #expect(url.following("http://a.example/y").map { $0.hasSameOrigin(as: url) } == false)
        #expect(url.following("https://b.example/y").map { $0.hasSameOrigin(as: url) } == false)
        for text in ["//b.example/y", "y", "", "/a b", "../y"] { #expect(url.following(text) == nil) }
    }

    @Test(arguments: [
        ("http://localhost/", true), ("http://a.localhost/", true), ("http://127.9.9.9/", true),
        ("http://[::1]/", true), ("http://10.0.0.1/", false), ("http://[::2]/", false),
        ("http://localhos/", false),
    ])
    func loopback(text: String, expected: Bool) {
        #expect(RemoteURL(text)?.isLoopback == expected)
    }
}

@Suite struct RemoteKeysTests {
    private func read(_ lines: String) -> IssuerConfiguration? {
        var sample = Sample()
        sample.issuer = "[issuer.main]\n" + lines + "\n"
        let loaded = load(sample.text)
        #expect(loaded.render() == "")
        return loaded.configuration?.issuers.first
    }

    @Test func aURLWithTimes() throws {
        let issuer = try #require(
            read(
                "issuer='i'\naudience='a'\njwks = { url = 'https://a.example/jwks', refresh = '5m', cooldown = '3s', stale_for = '1h' }"
            ))
        var expected = RemoteKeys(.url(try #require(RemoteURL("https://a.example/jwks"))))
        (expected.refresh, expected.cooldown, expected.staleFor) = (
            .seconds(300), .seconds(3), .seconds(3600)
        )
        #expect(issuer.keySource == .remote(expected))
        #expect(issuer.algorithms == [.rs256, .es256, .edDSA])
        #expect(issuer.spec.fetchesKeys && issuer.spec.keys == .pending)
    }

    @Test func theDefaultTimes() throws {
        let keys = RemoteKeys(.url(try #require(RemoteURL("https://a.example/"))))
        #expect(
            keys.refresh == .seconds(600) && keys.cooldown == .seconds(10)
                && keys.staleFor == .seconds(86_400))
    }

    @Test func discovery() throws {
        let issuer = try #require(read("issuer='https://a.example/t'\naudience='a'\njwks = 'discover'"))
        let url = try #require(RemoteURL("https://a.example/t"))
        #expect(issuer.keySource == .remote(RemoteKeys(.discovery(issuer: url, name: "https://a.example/t"))))
    }

    /// Every part of a preset can be written out, and the issuer that is asked is then the preset's.
    @Test func discoveryBelowAPreset() throws {
        let preset = "provider = 'better-auth'\nurl = 'https://a.example/api/auth'\njwks = 'discover'\n"
        let presumed = try #require(read(preset))
        let origin = try #require(RemoteURL("https://a.example"))
        #expect(
            presumed.keySource == .remote(RemoteKeys(.discovery(issuer: origin, name: "https://a.example"))))
        let written = try #require(read(preset + "issuer = 'https://b.example/t'"))
        let url = try #require(RemoteURL("https://b.example/t"))
        #expect(
            written.keySource == .remote(RemoteKeys(.discovery(issuer: url, name: "https://b.example/t"))))
    }

    @Test func betterAuthInThreeLines() throws {
        let issuer = try #require(read("provider = 'better-auth'\nurl = 'https://app.example.com/api/auth'"))
        let url = try #require(RemoteURL("https://app.example.com/api/auth/jwks"))
        #expect(issuer.issuer == "https://app.example.com" && issuer.audience == ["https://app.example.com"])
        #expect(issuer.keySource == .remote(RemoteKeys(.url(url))))
        #expect(issuer.algorithms == [.edDSA, .es256, .es512, .rs256, .ps256] && issuer.types == ["JWT"])
        #expect(issuer.refuseClaims == ["azp", "client_id", "scope", "events"])
    }

    @Test func everyPartOfThePresetCanBeWrittenOut() throws {
        let issuer = try #require(
            read(
                """
                provider = 'better-auth'
                url = 'https://app.example.com/api/auth/'
                issuer = 'https://issuer.example'
                audience = ['a', 'b']
                jwks = { cooldown = '1s' }
                algorithms = ['ES256']
                types = ['JWT', 'x']
                refuse_claims = []
                """))
        #expect(issuer.issuer == "https://issuer.example" && issuer.audience == ["a", "b"])
        #expect(issuer.algorithms == [.es256] && issuer.types == ["JWT", "x"] && issuer.refuseClaims == [])
        guard case .remote(let keys) = issuer.keySource, case .url(let url) = keys.location else {
            Issue.record("not remote")
            return
        }
        #expect(url.description == "https://app.example.com/api/auth/jwks" && keys.cooldown == .seconds(1))
    }

    @Test(
        "a line that has the words of PEM somewhere begins no key, and a byte order mark is passed over",
        arguments: ["explained", "marked"])
    func aKeyThatIsExplained(file: String) throws {
        let issuer = try #require(
            read("issuer='i'\naudience='a'\npublic_key = { file = '\(file).pem' }\nalgorithms = ['EdDSA']"))
        guard case .publicKey = issuer.keySource else {
            Issue.record("no public key")
            return
        }
    }

    @Test func aPresetWithASecretIsHMAC() throws {
        let issuer = try #require(
            read("provider='better-auth'\nurl='https://a.example/api/auth'\nsecret = { env = 'SECRET' }"))
        #expect(issuer.algorithms == [.hs256] && !issuer.spec.fetchesKeys)
    }
}
