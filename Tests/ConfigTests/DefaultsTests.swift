import Testing

@testable import Config

@Suite struct DefaultsTests {
    private func configuration(_ sample: Sample = Sample()) throws -> Configuration {
        let loaded = load(sample.text)
        #expect(headlines(loaded) == [])
        return try #require(loaded.configuration)
    }

    @Test func whatIsNotWrittenTakesItsDefault() throws {
        let configuration = try configuration()
        #expect(configuration.workers == .automatic)
        #expect(configuration.listeners.map(\.trustedProxies) == [[]])
        let upstream = try #require(configuration.upstreams.first)
        #expect(upstream.balance == .leastRequests && upstream.authorization == .remove)
        #expect(upstream.preserveHost && upstream.retries == 1)
        #expect(upstream.connectTimeout == .seconds(2) && upstream.responseTimeout == .seconds(60))
        #expect(upstream.idleTimeout == .seconds(60))
        #expect(upstream.maxConnections == 1024 && upstream.maxPending == 1024)
        #expect(upstream.servers.map(\.weight) == [1])
        #expect(upstream.health == nil && upstream.eject == nil)
        #expect(upstream.slowStart == .seconds(10) && upstream.resolveInterval == .seconds(10))
        let issuer = try #require(configuration.issuers.first)
        #expect(issuer.algorithms == [.hs256] && issuer.subject == ["sub"])
        #expect(issuer.types == ["JWT", "at+jwt"] && !issuer.requiredType)
        #expect(issuer.leeway == .seconds(30) && issuer.maximumLifetime == nil && issuer.refuseClaims == [])
        #expect(configuration.identity == .standard)
        let route = try #require(configuration.routes.first)
        #expect(route.hosts == [] && route.methods == [] && route.require == [] && route.scopes == [])
        #expect(route.denied == 403 && route.timeout == .seconds(60) && route.maxBodyBytes == 10 << 20)
        #expect(route.stripPrefix == nil)
        #expect(configuration.limits == LimitsConfiguration())
        #expect(configuration.limits.headerBytes == 32768 && configuration.limits.tokensCached == 10000)
        #expect(configuration.log == LogConfiguration() && configuration.log.access == .standardOutput)
        #expect(configuration.admin == nil)
    }

    @Test func keysOfPublicKeysDefaultToPublicKeyAlgorithms() throws {
        for source in ["jwks = { file = \"jwks.json\" }", "public_key = { file = 'issuer.pem' }"] {
            var sample = Sample()
            sample.issuer = "[issuer.main]\nissuer = \"*\"\naudience = \"*\"\n\(source)\n"
            let issuer = try #require(try configuration(sample).issuers.first)
            #expect(issuer.algorithms == [.rs256, .es256, .edDSA])
            #expect(issuer.issuer == nil && issuer.audience == nil)
        }
    }

    @Test func aSmallerHeadMakesSmallerParts() throws {
        var sample = Sample()
        sample.listen += "[limits]\nheader_bytes = \"4KiB\"\n"
        let limits = try configuration(sample).limits
        #expect(limits.targetBytes == 4096 && limits.tokenBytes == 4096)
    }
}
