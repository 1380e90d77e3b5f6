import Policy
import Testing

@testable import Config

/// A configuration that loads without error is a policy that compiles, and means the same.
@Suite struct CompilePolicyTests {
    @Test(arguments: [
        "usher.example.toml", "minimal.toml", "recipes/shared-secret.toml", "recipes/jwks-file.toml",
        "recipes/service-token.toml", "recipes/minted-token.toml", "recipes/nextjs-user-id.toml",
        "recipes/nextjs-minted-token.toml", "recipes/nextjs-user-path.toml",
        "recipes/nextjs-service-token.toml", "examples/tasks-web.toml",
    ])
    func shippedFilesCompile(name: String) throws {
        let configuration = try #require(ShippedFilesTests.load(name).configuration)
        _ = try PolicySnapshot(configuration.policy)
    }

    @Test func everyPartArrives() throws {
        var sample = Sample()
        sample.listen += """
            trusted_proxies = ["10.0.0.0/8", "::1"]
            [identity]
            headers = { X-User = "realm.name" }
            strip = ["X-A-*", "X-B"]
            [limits]
            tokens_cached = 5
            token_bytes = "1KiB"

            """
        sample.upstream += """
            preserve_host = false
            authorization = { mint = { secret = { env = "SECRET" }, lifetime = "5s", claims = { type = "a" } } }
            [upstream.other]
            servers = ["127.0.0.1:8001"]
            authorization = "forward"

            """
        sample.issuer += """
            leeway = "1500ms"
            maximum_lifetime = "1h"
            algorithms = ["HS512"]

            """
        sample.route = """
            [[route]]
            path = "/a/**"
            auth = "none"
            upstream = "other"
            max_body = "off"
            timeout = "off"
            [[route]]
            host = "h"
            methods = ["GET"]
            path = "/v1/{user}"
            auth = "optional:main"
            require = { sub = ["x-{user}", "y"] }
            denied = 404
            upstream = "tasks"
            timeout = "1ms"
            rewrite = { strip_prefix = "/v1" }

            """
        let policy = try #require(load(sample.text).configuration).policy
        _ = try PolicySnapshot(policy)
        #expect(policy.tokensCached == 5 && policy.tokenBytes == 1024)
        #expect(
            policy.listeners.map(\.trustedProxies) == [["10.0.0.0/8", "::1"].compactMap { AddressBlock($0) }])
        #expect(policy.identity.headers == [.init(name: "X-User", claim: "realm.name")])
        #expect(policy.identity.strip == ["X-A-*", "X-B"])
        #expect(policy.upstreams.map(\.name) == ["tasks", "other"])
        #expect(policy.upstreams.map(\.preserveHost) == [false, true])
        guard case .mint(let mint) = policy.upstreams[0].authorization else {
            Issue.record("no mint")
            return
        }
        #expect(mint.lifetimeSeconds == 5 && mint.claims.map(\.value) == [.string("a")])
        let issuer = try #require(policy.issuers.first)
        #expect(issuer.name == "main" && issuer.spec.leewaySeconds == 1)
        #expect(issuer.spec.maximumLifetimeSeconds == 3600 && issuer.spec.algorithms == [.init(.hs512)])
        let open = try #require(policy.routes.first { $0.name == "/a/**" })
        #expect(open.authentication == .none && open.upstream == 1)
        #expect(open.maxBodyBytes == .max && open.timeoutMilliseconds == nil)
        let bound = try #require(policy.routes.first { $0.name == "/v1/{user}" })
        #expect(bound.authentication == .optional([0]) && bound.hosts == ["h"] && bound.methods == ["GET"])
        #expect(bound.denied == .notFound && bound.upstream == 0 && bound.stripPrefix == "/v1")
        #expect(bound.timeoutMilliseconds == 1 && bound.maxBodyBytes == 10 << 20)
        #expect(bound.require[0][0].anyOf.map(\.captureNames) == [["user"], []])
    }

    @Test func routesHaveTheOrderInWhichPolicyTriesThem() throws {
        var sample = Sample()
        let rest = "auth = \"main\"\nupstream = \"tasks\"\n"
        sample.route = [
            "path = \"/**\"", "path = \"/\"", "path = \"/a/**\"", "path = \"/{x}/\"", "path = \"/a/{x}\"",
            "path = \"/a/b\"\nmethods = [\"GET\"]", "path = \"/a/b\"", "path = \"/a/b\"\nhost = \"h\"",
        ].map { "[[route]]\n\($0)\n\(rest)" }.joined()
        let policy = try #require(load(sample.text).configuration).policy
        #expect(RouteOrder.ordered(policy.routes) == Array(policy.routes.indices))
        #expect(RouteOrder.conflicts(policy.routes).isEmpty)
    }

    @Test func aTimeThatIsWrittenIsNeverZero() {
        #expect(
            Duration.nanoseconds(1).wholeMilliseconds == 1 && Duration.seconds(2).wholeMilliseconds == 2000)
        #expect(Duration.zero.wholeMilliseconds == 0)
    }
}
