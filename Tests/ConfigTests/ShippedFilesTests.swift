import Testing

@testable import Config

/// The files of `config/` are what users start from.
@Suite struct ShippedFilesTests {
    private static let folder =
        #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/config/"

    /// The shipped files, and keys that a user would put beside them.
    private struct Files: FileSource {
        func read(path: String) -> FileReading {
            if path.hasSuffix("jwks.json") { return .contents(Array(ed25519KeySet.utf8)) }
            if path.hasSuffix("partner.pem") { return .contents(Array(rsaPEM.utf8)) }
            if path.hasSuffix(".pem") { return files.read(path: "/etc/usher/issuer.pem") }
            return SystemFiles().read(path: path)
        }
    }

    static func load(_ name: String) -> LoadedConfiguration {
        Configuration.load(
            path: folder + name,
            environment: [
                "BETTER_AUTH_SECRET": goodSecret, "SERVICE_TOKEN": "abc", "UPSTREAM_SECRET": goodSecret,
            ], files: Files())
    }

    @Test(arguments: [
        "usher.example.toml", "minimal.toml", "recipes/shared-secret.toml", "recipes/jwks-file.toml",
        "recipes/service-token.toml", "recipes/minted-token.toml", "recipes/better-auth.toml",
        "recipes/nextjs-user-id.toml", "recipes/nextjs-minted-token.toml", "recipes/nextjs-user-path.toml",
        "recipes/nextjs-service-token.toml", "examples/tasks-web.toml",
    ])
    func theyLoadWithoutComplaint(name: String) {
        let loaded = Self.load(name)
        #expect(loaded.render() == "")
        #expect(loaded.configuration?.routes.isEmpty == false)
    }

    @Test func theExampleSaysTheDefaults() throws {
        let example = try #require(Self.load("usher.example.toml").configuration)
        #expect(example.limits == LimitsConfiguration() && example.log == LogConfiguration())
        #expect(example.identity.strip == IdentityConfiguration.standard.strip)
        #expect(example.workers == .automatic && example.upstreams.first?.authorization == .remove)
        let route = try #require(example.routes.first { $0.path.text == "/api/{user_id}/tasks/**" })
        #expect(route.denied == 403 && route.timeout == .seconds(60) && route.maxBodyBytes == 10 << 20)
    }

    @Test func theExampleNamesEveryKey() throws {
        guard case .contents(let bytes) = SystemFiles().read(path: Self.folder + "usher.example.toml") else {
            Issue.record("there is no example")
            return
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let keys = [
            ConfigurationReader.keys, ConfigurationReader.listenerKeys, ConfigurationReader.upstreamKeys,
            ConfigurationReader.issuerKeys, ConfigurationReader.routeKeys, ConfigurationReader.limitKeys,
            ConfigurationReader.crossOriginKeys,
        ].joined()
        for key in keys { #expect(text.contains(key), "\(key) is not in the example") }
    }
}
