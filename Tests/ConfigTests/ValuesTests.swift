import Policy
import Testing

@testable import Config

/// What a correct file says arrives as it was meant.
@Suite struct ValuesTests {
    private func configuration(_ sample: Sample) throws -> Configuration {
        let loaded = load(sample.text)
        #expect(headlines(loaded).filter { $0.contains("error") } == [])
        return try #require(loaded.configuration)
    }

    @Test(arguments: [
        ("\"127.0.0.1:8080\"", "127.0.0.1:8080"), ("\"[::]:8080\"", "[::]:8080"),
        ("\"[2001:DB8:0:0:1::1]:1\"", "[2001:db8::1:0:0:1]:1"),
        ("\"unix:/run/u.sock\"", "unix:/run/u.sock"), ("\"unix:u.sock\"", "unix:/etc/usher/u.sock"),
        ("\"localhost:65535\"", "127.0.0.1:65535"), ("\"${HOST}:${PORT}\"", "10.0.0.7:9000"),
        ("\"${NOPE:-127.0.0.1}:${EMPTY:-81}\"", "127.0.0.1:81"),
    ])
    func listenerAddresses(text: String, shown: String) throws {
        var sample = Sample()
        sample.listen = "[listen.public]\naddress = \(text)\n"
        #expect(try configuration(sample).listeners.map(\.address.description) == [shown])
    }

    @Test func trustedProxiesAreRanges() throws {
        var sample = Sample()
        sample.listen += "trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\", \"fc00::/7\", \"::1\"]\n"
        let ranges = try #require(try configuration(sample).listeners.first).trustedProxies
        #expect(ranges.map(\.description) == ["10.0.0.0/8", "192.0.2.7/32", "fc00::/7", "::1/128"])
    }

    @Test func valuesOfLaterKeysThatAskForNothingAreAccepted() throws {
        var sample = Sample(first: "watch = false")
        sample.listen += "proxy_protocol = false\nprotocols = [\"http/1.1\"]\n"
        sample.upstream += "protocol = \"http/1.1\"\ntls = false\n"
        sample.issuer += "token_from = [\"header\"]\n"
        _ = try configuration(sample)
    }

    @Test func crossOriginsAndSignIn() throws {
        var sample = Sample()
        sample.route += """
            cors = "app"
            sign_in = "https://app.example.com/sign-in?from=api"
            [cors.app]
            origins = ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000"]
            methods = ["PUT"]
            headers = ["Authorization"]
            expose_headers = ["Retry-After"]
            credentials = true
            max_age = "10m"
            [cors.all]
            origins = ["*"]
            headers = ["*"]

            """
        let configuration = try configuration(sample)
        #expect(
            configuration.crossOrigins == [
                CrossOriginConfiguration(
                    name: "app",
                    origins: ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000"],
                    methods: ["PUT"], headers: ["Authorization"], exposedHeaders: ["Retry-After"],
                    allowsCredentials: true, maximumAge: .seconds(600)),
                CrossOriginConfiguration(
                    name: "all", origins: ["*"], methods: ["GET", "HEAD", "POST"], headers: ["*"],
                    exposedHeaders: [], allowsCredentials: false, maximumAge: nil),
            ])
        let policy = configuration.policy
        #expect(policy.crossOrigins.map(\.name) == ["app", "all"] && policy.routes[0].crossOrigin == 0)
        #expect(policy.crossOrigins[0].maximumAgeSeconds == 600)
        #expect(policy.routes[0].signIn == "https://app.example.com/sign-in?from=api")
        _ = try PolicySnapshot(policy)
    }

    @Test(arguments: ["/sign-in", "/a?b=c", "https://app.test", "http://localhost:3000/sign-in"])
    func signInPages(page: String) throws {
        var sample = Sample()
        sample.route += "sign_in = \"\(page)\"\n"
        let loaded = load(sample.text)
        #expect(loaded.render() == "" && loaded.configuration?.routes.first?.signIn == page)
    }

    @Test func signInOverPlainHTTPIsWarnedOf() {
        var sample = Sample()
        sample.route += "sign_in = \"http://app.test/sign-in\"\n"
        #expect(headlines(load(sample.text)).filter { $0.contains("14:11: warning") }.count == 1)
    }

    @Test func rateLimitsStreamsAndProxyHeaders() throws {
        var sample = Sample(
            first: "limits.failed_authentications = { requests = 20, per = \"1m\", burst = 5 }")
        sample.listen += "trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = true\n"
        sample.listen += "[listen.local]\naddress = \"unix:/run/u.sock\"\nproxy_protocol = true\n"
        sample.route += "rate_limit = \"b\"\nstream_lifetime = \"unlimited\"\n"
        sample.route += "[rate_limit.a]\nkey = \"user\"\nrequests = 100\nper = \"10s\"\nburst = 50\n"
        sample.route += "[rate_limit.b]\nkey = \"address\"\nrequests = 7\nper = \"1d\"\n"
        let configuration = try configuration(sample)
        #expect(configuration.listeners.map(\.proxyProtocol) == [true, true])
        #expect(
            configuration.limits.failedAuthentications
                == RateConfiguration(requests: 20, per: .seconds(60), burst: 5))
        #expect(
            configuration.rateLimits == [
                RateLimitConfiguration(
                    name: "a", key: .user,
                    rate: RateConfiguration(requests: 100, per: .seconds(10), burst: 50)),
                RateLimitConfiguration(
                    name: "b", key: .address,
                    rate: RateConfiguration(requests: 7, per: .seconds(86_400), burst: 7)),
            ])
        #expect(configuration.routes.first?.rateLimit == "b")
        #expect(configuration.routes.first?.streamLifetime == .unlimited)
        let policy = configuration.policy
        #expect(policy.routes.first?.rateLimit == 1 && policy.routes.first?.endsWithToken == false)
        #expect(policy.failedAuthentications == RateSpec(requests: 20, perSeconds: 60, burst: 5))
    }

    @Test func failedAuthenticationsMayBeOff() throws {
        let sample = Sample(first: "limits.failed_authentications = \"off\"")
        #expect(try configuration(sample).limits.failedAuthentications == nil)
    }

    @Test func severalServersWithWeights() throws {
        var sample = Sample()
        sample.upstream = """
            [upstream.tasks]
            servers = ["Backend:8000", { address = "unix:/run/tasks.sock", weight = 2 }, "[::1]:8000"]
            balance = "round-robin"
            preserve_host = false
            max_pending = 0

            """
        let upstream = try #require(try configuration(sample).upstreams.first)
        #expect(
            upstream.servers.map { "\($0.address) \($0.weight)" } == [
                "backend:8000 1", "unix:/run/tasks.sock 2", "[::1]:8000 1",
            ])
        #expect(upstream.balance == .roundRobin && !upstream.preserveHost && upstream.maxPending == 0)
    }

    @Test func healthEjectionAndTheOtherBalances() throws {
        var sample = Sample()
        sample.upstream = """
            [upstream.tasks]
            servers = ["backend:8000"]
            balance = "hash-user"
            slow_start = "0s"
            resolve_interval = "2s"
            eject = {}
            health = { path = "/health?deep=1", interval = "500ms", timeout = "50ms", healthy_after = 1, unhealthy_after = 4 }

            """
        let upstream = try #require(try configuration(sample).upstreams.first)
        #expect(upstream.balance == .hashUser && upstream.slowStart == .zero)
        #expect(upstream.resolveInterval == .seconds(2))
        #expect(upstream.eject == EjectionConfiguration(consecutiveFailures: 5, duration: .seconds(10)))
        #expect(
            upstream.health
                == HealthConfiguration(
                    path: "/health?deep=1", interval: .milliseconds(500), timeout: .milliseconds(50),
                    healthyAfter: 1, unhealthyAfter: 4))
        sample.upstream = sample.upstream.split(separator: "\n").prefix(2).joined(separator: "\n")
        sample.upstream += "\nbalance = \"random-two\"\neject.for = \"1s\"\nhealth.path = \"/\"\n"
        let other = try #require(try configuration(sample).upstreams.first)
        #expect(other.balance == .randomTwo && other.eject?.duration == .seconds(1))
        #expect(other.health?.interval == .seconds(5) && other.health?.timeout == .seconds(1))
        #expect(other.health?.healthyAfter == 2 && other.health?.unhealthyAfter == 3)
    }

    @Test func authorizationInAllForms() throws {
        let bytes = Array(goodSecret.utf8)
        let forms: [(String, AuthorizationConfiguration)] = [
            ("\"remove\"", .remove), ("\"forward\"", .forward),
            ("{ bearer = { env = \"SERVICE_TOKEN\" } }", .bearer(Secret(bytes: Array("abc.def".utf8)))),
            (
                "{ mint = { secret = { file = 'secret' }, lifetime = '5m', claims = { type = 'a', 'x.y' = 'z' } } }",
                .mint(
                    MintConfiguration(
                        secret: Secret(bytes: bytes), lifetime: .seconds(300),
                        claims: [MintedClaim(name: "type", value: "a"), MintedClaim(name: "x.y", value: "z")])
                )
            ),
        ]
        for (text, expected) in forms {
            var sample = Sample()
            sample.upstream += "authorization = \(text)\n"
            #expect(try configuration(sample).upstreams.first?.authorization == expected)
        }
    }

    @Test(arguments: [
        "{ env = \"SECRET\" }", "{ file = \"secret\" }", "{ file = \"/abs/secret\" }", "{ file = 'windows' }",
        "'\(goodSecret)'", "{ file = \"${NOPE:-secret}\" }",
    ])
    func secretsFromEveryPlace(source: String) throws {
        var sample = Sample()
        sample.issuer = "[issuer.main]\nissuer = 'i'\naudience = ['a']\nsecret = \(source)\n"
        let issuer = try #require(try configuration(sample).issuers.first)
        #expect(issuer.keySource == .secret(Secret(bytes: Array(goodSecret.utf8))))
    }

    @Test func onlyOneLineEndIsTrimmedFromASecret() throws {
        var sample = Sample()
        sample.issuer = "[issuer.main]\nissuer = 'i'\naudience = ['a']\nsecret = { file = 'twice' }\n"
        let issuer = try #require(try configuration(sample).issuers.first)
        #expect(issuer.keySource == .secret(Secret(bytes: Array((goodSecret + "\n").utf8))))
    }

    @Test func aWholeIssuer() throws {
        var sample = Sample()
        sample.issuer = """
            [issuer.main]
            issuer = "https://a"
            audience = "one"
            jwks = { file = "jwks.json" }
            algorithms = ["PS512", "EdDSA"]
            subject = ["user_id", "realm.sub"]
            types = ["JWT"]
            required_type = true
            leeway = "0s"
            maximum_lifetime = "7d"
            refuse_claims = ["azp"]

            """
        let issuer = try #require(try configuration(sample).issuers.first)
        #expect(issuer.issuer == "https://a" && issuer.audience == ["one"])
        #expect(issuer.algorithms == [.ps512, .edDSA] && issuer.subject == ["user_id", "realm.sub"])
        #expect(issuer.types == ["JWT"] && issuer.requiredType && issuer.leeway == .zero)
        #expect(issuer.maximumLifetime == .seconds(7 * 86400) && issuer.refuseClaims == ["azp"])
        #expect(
            issuer.keySource == .keySet(json: Array(ed25519KeySet.utf8), origin: "/etc/usher/jwks.json"))
    }

    @Test func aWholeRoute() throws {
        var sample = Sample()
        sample.route = """
            [[route]]
            host = ["API.Example.com.", "[::1]"]
            methods = ["GET", "PROPFIND"]
            path = "/v1/{user_id}/a:b/**"
            auth = ["main"]
            require = [{ sub = "{user_id}", role = ["a", "b-{user_id}"] }, { realm.group = "x" }]
            scopes = ["tasks:read", "tasks:write"]
            denied = 404
            upstream = "tasks"
            timeout = "off"
            max_body = "off"
            rewrite = { strip_prefix = "/v1" }

            """
        let route = try #require(try configuration(sample).routes.first)
        #expect(route.hosts == ["api.example.com", "[::1]"] && route.methods == ["GET", "PROPFIND"])
        #expect(
            route.path.segments == [.literal("v1"), .capture("user_id"), .literal("a:b"), .rest])
        #expect(route.authentication == .required(issuers: ["main"]))
        #expect(route.require.map { $0.entries.map(\.claim) } == [["sub", "role"], ["realm.group"]])
        #expect(route.require[0].entries[0].anyOf.map(\.parts) == [[.capture("user_id")]])
        #expect(
            route.require[0].entries[1].anyOf.map(\.parts) == [
                [.literal("a")], [.literal("b-"), .capture("user_id")],
            ])
        #expect(route.scopes == ["tasks:read", "tasks:write"] && route.denied == 404)
        #expect(route.timeout == nil && route.maxBodyBytes == nil && route.stripPrefix == "/v1")
    }

    @Test(arguments: [
        ("\"none\"", RouteAuthentication.open), ("\"main\"", .required(issuers: ["main"])),
        ("[\"main\"]", .required(issuers: ["main"])), ("\"optional:main\"", .optional(issuers: ["main"])),
        ("[\"optional:main\"]", .optional(issuers: ["main"])), ("[\"none\"]", .open),
    ])
    func authInAllForms(text: String, expected: RouteAuthentication) throws {
        var sample = Sample()
        sample.route = "[[route]]\npath = \"/\"\nauth = \(text)\nupstream = \"tasks\"\n"
        #expect(try configuration(sample).routes.first?.authentication == expected)
    }

    @Test func theMostSpecificRouteComesFirst() throws {
        var sample = Sample()
        let rest = "auth = \"main\"\nupstream = \"tasks\"\n"
        sample.route = [
            "path = \"/**\"", "path = \"/a/**\"", "path = \"/a/{x}\"", "path = \"/a/b\"\nmethods = [\"GET\"]",
            "path = \"/a/b\"", "path = \"/a/b\"\nhost = \"h\"", "path = \"/a\"", "path = \"/a/{x}/c\"",
        ].map { "[[route]]\n\($0)\n\(rest)" }.joined()
        let routes = try configuration(sample).routes
        #expect(
            routes.map {
                "\($0.path.text)\($0.hosts.isEmpty ? "" : " host")\($0.methods.isEmpty ? "" : " methods")"
            }
                == ["/a", "/a/b host", "/a/b methods", "/a/b", "/a/{x}", "/a/{x}/c", "/a/**", "/**"])
    }

    @Test func routesThatShareNoRequestAreNoConflict() throws {
        var sample = Sample()
        let rest = "auth = \"main\"\nupstream = \"tasks\"\n"
        sample.route = [
            "path = \"/a/{x}\"\nmethods = [\"GET\"]", "path = \"/a/{y}\"\nmethods = [\"POST\"]",
            "path = \"/a/{y}\"\nhost = \"h\"", "path = \"/a/{y}\"\nhost = \"i\"", "path = \"/a/{y}\"",
            "path = \"/b/{y}\"",
        ].map { "[[route]]\n\($0)\n\(rest)" }.joined()
        #expect(try configuration(sample).routes.count == 6)
    }

    @Test func twoIssuersOfOneNameAreToldApartByTheirAlgorithms() throws {
        var sample = Sample()
        sample.issuer += """
            [issuer.keys]
            issuer = "https://app.example.com"
            audience = ["https://app.example.com"]
            jwks = { file = "jwks.json" }

            """
        sample.route = "[[route]]\npath = \"/**\"\nauth = [\"main\", \"keys\"]\nupstream = \"tasks\"\n"
        #expect(
            try configuration(sample).routes.first?.authentication == .required(issuers: ["main", "keys"]))
    }

    @Test func limitsLogAndAdmin() throws {
        var sample = Sample(first: "workers = \"${NOPE:-3}\"")
        sample.listen += """
            [limits]
            header_bytes = "64KiB"
            connections = 500
            drain_timeout = "0s"
            idle_timeout = "250ms"
            tokens_cached = 1
            [log]
            level = "debug"
            format = "text"
            access = "logs/access.log"
            [admin]
            address = "unix:/run/admin.sock"

            """
        let configuration = try configuration(sample)
        #expect(configuration.workers == .count(3))
        #expect(configuration.limits.headerBytes == 65536 && configuration.limits.connections == 500)
        #expect(
            configuration.limits.drainTimeout == .zero
                && configuration.limits.idleTimeout == .milliseconds(250))
        #expect(configuration.log.level == .debug && configuration.log.format == .text)
        #expect(configuration.log.access == .file(path: "/etc/usher/logs/access.log"))
        #expect(configuration.admin?.address == .unix(path: "/run/admin.sock"))
    }

    @Test func theEnvironmentWinsOverTheFile() throws {
        let text = Sample(first: "workers = 2").text
        let environment = variables.merging(["USHER_WORKERS": "7", "USHER_LOG_LEVEL": "error"]) { $1 }
        let configuration = try #require(load(text, environment).configuration)
        #expect(configuration.workers == .count(7) && configuration.log.level == .error)
        let wrong = load(text, variables.merging(["USHER_WORKERS": "0", "USHER_LOG_LEVEL": "infos"]) { $1 })
        #expect(wrong.configuration == nil && wrong.diagnostics.count == 2)
        #expect(wrong.render().contains("usher.toml: error: USHER_LOG_LEVEL"))
    }

    @Test func aSecretIsNeverDescribed() {
        let secret = Secret(bytes: Array(goodSecret.utf8))
        var dumped = ""
        dump(secret, to: &dumped)
        #expect("\(secret)" == "<secret>" && String(reflecting: secret) == "<secret>")
        #expect(!dumped.contains("48"))
    }
}
