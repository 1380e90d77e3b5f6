import Testing

@testable import Config

/// What a message suggests must be what was meant: following it must not lead to another mistake that nobody is told of.
@Suite struct HintsTests {
    /// What the sample says where lines are added behind one of its parts.
    private func said(
        listen: String = "", upstream: String = "", issuer: String = "", route: String = "",
        first: String = ""
    ) -> [String] {
        var sample = Sample(first: first)
        sample.listen += listen
        sample.upstream += upstream
        sample.issuer += issuer
        sample.route += route
        return headlines(load(sample.text))
    }

    private func servers(_ text: String, _ more: String = "") -> [String] {
        headlines(load(Sample(upstream: "[upstream.tasks]\nservers = [\(text)]\n\(more)\n").text))
    }

    private func isOne(_ lines: [String], _ parts: String...) -> Bool {
        lines.count == 1 && parts.allSatisfy { lines[0].contains($0) }
    }

    @Test(
        "A scheme in front of a server says its port and TLS, too",
        arguments: [
            ("https://api:8443", "api:8443"), ("https://api/v1", "api:443"), ("https://[::1]", "[::1]:443"),
            ("http://api", "api:80"), ("http://api:8000/", "api:8000"),
        ])
    func schemes(server: String, meant: String) {
        let lines = servers("\"\(server)\"")
        #expect(isOne(lines, "5:12: error: an address has no ", "did you mean \"\(meant)\"?"), "\(lines)")
        #expect(lines[0].contains("TLS to servers is \"tls = true\"") == server.hasPrefix("https"))
    }

    @Test("Port 443 without TLS is warned of, unless the file says that it is meant")
    func plainPort() {
        let lines = servers("\"a:80\", \"api.example.com:443\"")
        #expect(isOne(lines, "5:20: warning: port 443 is that of TLS", "tls = true"), "\(lines)")
        #expect(servers("\"a:443\"", "tls = true") == [] && servers("\"a:443\"", "tls = false") == [])
        #expect(servers("\"a:8443\", \"unix:/run/a\"") == [])
    }

    @Test(
        "A host is what is left of a URL",
        arguments: [
            ("https://a.example", "a.example"), ("https://A.example:8443/x", "a.example"),
            ("a.example/path", "a.example"), ("a.example:443", "a.example"), ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
        ])
    func hosts(host: String, meant: String) {
        let lines = said(route: "host = \"\(host)\"\n")
        #expect(isOne(lines, "14:8: error: ", "did you mean \"\(meant)\"?"), "\(lines)")
    }

    @Test("HTTP/2 by any name", arguments: ["http/2", "http2", "HTTP/2", "http/2.0", "h2c", "2", "grpc"])
    func protocols(name: String) {
        #expect(isOne(said(listen: "protocols = [\"\(name)\"]\n"), "4:14: error", "did you mean \"h2\"?"))
        #expect(isOne(said(upstream: "protocol = \"\(name)\"\n"), "6:12: error", "did you mean \"h2\"?"))
    }

    @Test func oldProtocols() {
        #expect(isOne(said(listen: "protocols = [\"http/1.2\"]\n"), "did you mean \"http/1.1\"?"))
        #expect(isOne(said(upstream: "protocol = \"http1.1\"\n"), "did you mean \"http/1.1\"?"))
    }

    @Test("An IPv4 address in the form of IPv6 is none to listen at")
    func mappedAddresses() {
        let text = Sample(listen: "[listen.public]\naddress = \"[::ffff:127.0.0.1]:8080\"\n").text
        #expect(isOne(headlines(load(text)), "3:11: error", "did you mean \"127.0.0.1:8080\"?"))
        #expect(isOne(said(route: "[admin]\naddress = \"[::ffff:127.0.0.1]:1\"\n"), "15:11: error"))
        #expect(servers("\"[::ffff:127.0.0.1]:8000\"") == [])
    }

    @Test("A short token, a page in the place of the base, and milliseconds are warned of")
    func slips() {
        let admin = "[admin]\naddress = \"127.0.0.1:1\"\ntoken = { env = \"@\" }\n"
        func token(_ name: String) -> [String] { said(route: admin.replacing("@", with: name)) }
        #expect(
            isOne(token("SHORT"), "16:9: warning: \"token\" has fewer than 16 bytes"), "\(token("SHORT"))")
        #expect(token("SECRET") == [])
        func base(_ url: String) -> [String] {
            let issuer = "[issuer.main]\nprovider = \"better-auth\"\nurl = \"\(url)\"\n"
            return headlines(load(Sample(issuer: issuer).text))
        }
        let page = base("https://a.example/api/auth/jwks")
        #expect(isOne(page, "8:7: warning: ", "is its base: without \"/jwks\""), "\(page)")
        #expect(base("https://a.example/api/auth") == [])
        let late = said(route: "[revocation]\nfile = \"late.json\"\n")
        #expect(isOne(late, "15:8: warning: ", "seconds since 1970, not milliseconds"), "\(late)")
        #expect(said(route: "[revocation]\nfile = \"revoked.json\"\n") == [])
    }

    @Test("An issuer or a session that no route names has no effect")
    func unusedIssuers() {
        let other = "[issuer.b]\nissuer = 'https://b'\naudience = 'a'\nsecret = { env = 'SECRET' }\n"
        let session =
            "[session.s]\nprovider = 'better-auth'\nsecret = { env = 'SECRET' }\ntrusted_origins = []\n"
        #expect(isOne(said(issuer: other), "10:1: warning: [issuer.b] has no effect: no route names it"))
        #expect(isOne(said(issuer: session), "10:1: warning: [session.s] has no effect: no route names it"))
        for names in ["\"b\"", "[\"optional:b\"]"] {
            let route = "[[route]]\npath = \"/b\"\nauth = \(names)\nupstream = \"tasks\"\n"
            #expect(said(issuer: other, route: route) == [])
        }
        #expect(said(issuer: session, route: "[[route]]\npath='/s'\nauth='s'\nupstream='tasks'\n") == [])
        let bare = headlines(load(Sample(route: "").text))
        #expect(isOne(bare, "every request is answered 404"), "one mistake, one line: \(bare)")
    }

    @Test("Nobody waits for the keys of an issuer or a session that no route names")
    func keysInUse() throws {
        var sample = Sample()
        for name in ["s", "unused"] {
            sample.issuer +=
                "[session.\(name)]\nprovider = 'better-auth'\nsecret = { env = 'SECRET' }\ncookie_prefix = '\(name)'\n"
                + "url = 'https://a.test/api/auth'\ntrusted_origins = []\n"
        }
        sample.route += "[[route]]\npath='/s'\nauth='optional:s'\nupstream='tasks'\n"
        let configuration = try #require(load(sample.text).configuration)
        let used = configuration.keyIssuersInUse
        #expect(
            configuration.keyIssuers.map(\.name).filter(used.contains) == ["main", "session.s"], "\(used)")
    }

    @Test(
        "What is wrong with the keys of a set that holds none of use",
        arguments: [
            (#"{"kty":"EC","crv":"P-256","use":"enc","x":"AA","y":"AA"}"#, "(key 1: use is not sig)"),
            (#"{"kty":"oct","k":"AAAA"}"#, "(key 1: a secret (kty oct), and no public key)"),
            (
                #"{"kty":"OKP","crv":"Ed25519","d":"AA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
                "(key 1: it holds a private key)"
            ),
            (
                #"{"kty":"EC","crv":"P-384","x":"qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3","#
                    + #""y":"NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f"}"#,
                "(key 1: for ES384, which is not among the issuer's algorithms)"
            ),
            ("", ": it is empty"), ("1,2,3,4,5,6", "key 4: not an object; 2 more)"),
        ])
    func keysOfNoUse(keys: String, reason: String) {
        let text = Sample(issuer: "[issuer.main]\nissuer='i'\naudience='a'\njwks={ file='set.json' }\n").text
        let loaded = Configuration.load(
            text: Array(text.utf8), path: "/etc/usher/usher.toml", environment: variables,
            files: MemoryFiles(files: ["/etc/usher/set.json": "{\"keys\":[\(keys)]}"]))
        let lines = headlines(loaded)
        #expect(
            isOne(lines, "holds no key for any of the algorithms RS256, ES256, EdDSA", reason), "\(lines)")
    }

    @Test(
        "A server that is the proxy itself",
        arguments: [
            ("127.0.0.1:8080", "127.0.0.1:8080"), ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "localhost:8080"), ("[::]:8080", "[::1]:8080"), ("[::1]:8080", "localhost:8080"),
            ("unix:/run/a.sock", "unix:/run/a.sock"), ("10.0.0.1:8080", "10.0.0.1:8080"),
        ])
    func ownListener(listener: String, server: String) {
        let lines = headlines(
            load(
                Sample(
                    listen: "[listen.public]\naddress = \"\(listener)\"\n",
                    upstream: "[upstream.tasks]\nservers = [\"\(server)\"]\n"
                ).text)
        ).filter { !$0.contains("listened at") }
        #expect(isOne(lines, "5:12: warning: ", "is [listen.public] of usher itself"), "\(lines)")
    }

    @Test("Another port, another family, or somebody else's address is no loop")
    func othersServers() {
        for server in ["127.0.0.1:8081", "[::1]:8080", "10.0.0.1:8080", "tasks:8080", "127.0.0.2:8080"] {
            #expect(servers("\"\(server)\"") == [], "\(server)")
        }
    }

    @Test("A sign-in page that nobody gets to who has not signed in")
    func guardedSignIn() {
        func route(_ path: String, _ auth: String, _ more: String = "") -> String {
            "[[route]]\npath = \"\(path)\"\nauth = \"\(auth)\"\nupstream = \"tasks\"\n\(more)\n"
        }
        func warned(_ routes: String..., listen: String = "") -> [String] {
            var sample = Sample(route: routes.joined())
            sample.listen += listen
            return headlines(load(sample.text)).filter { $0.contains("sign_in") }
        }
        let all = route("/**", "main", "sign_in = \"/sign-in?lang=en\"")
        #expect(isOne(warned(all), "leads to /sign-in, which the route /** protects", "again and again"))
        let pages = route("/app/**", "main", "sign_in = \"/sign-in\"")
        #expect(isOne(warned(pages, route("/**", "main")), "it would be refused"))
        #expect(warned(pages) == [], "who knows what answers there")
        for open in [
            route("/sign-in", "none"), route("/sign-in", "optional:main"), route("/{page}", "none"),
            route("/sign-in", "none", "methods = [\"GET\"]"), route("/sign-in", "none", "host = \"a.test\""),
        ] { #expect(warned(all, open) == [], "\(open)") }
        #expect(warned(all, route("/sign-in", "none", "methods = [\"POST\"]")).count == 1)
        #expect(warned(route("/**", "main", "sign_in = \"https://a.test/sign-in\"")) == [])
        // The proxy in front need not ask about that page.
        let verify = "mode = \"forward-auth\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n"
        #expect(warned(all, listen: verify) == [])
    }

    @Test(
        "Several quantities, and fractions, are said as one",
        arguments: [
            ("1.5s", "1500ms"), ("1m30s", "90s"), ("1h30m", "90m"), ("1h 30m", "90m"), ("0.5m", "30s"),
            ("2 s", "2s"),
        ])
    func severalQuantities(text: String, meant: String) {
        let lines = said(upstream: "connect_timeout = \"\(text)\"\n")
        #expect(isOne(lines, "6:19: error: ", "did you mean \"\(meant)\"?"), "\(lines)")
    }

    @Test(
        "None is meant by what is no whole number of the smallest unit",
        arguments: ["1.5ms", "1h30", "1.2.3s", "1.s", "0.0000001s", "1,5s", "9999999d1s"])
    func noQuantity(text: String) {
        let lines = said(upstream: "connect_timeout = \"\(text)\"\n")
        #expect(lines.count == 1 && !lines[0].contains("did you mean"), "\(lines)")
    }

    @Test func fractionsOfSizes() {
        #expect(isOne(said(route: "max_body = \"1.5MiB\"\n"), "did you mean \"1536KiB\"?"))
    }

    @Test("A variable without braces is warned of, and its name not repeated")
    func bareVariables() {
        func warnings(_ text: String) -> [String] {
            said(route: "[log]\naccess = \"\(text)\"\n").filter { $0.contains("without braces") }
        }
        for text in ["/$HOST", "/a/$HOST.log", "/$HOST/$PORT"] {
            #expect(isOne(warnings(text), "15:10: warning: ", "written \"${NAME}\""), "\(text)")
            #expect(!warnings(text)[0].contains("HOST"))
        }
        for text in ["/${HOST}", "/$metadata", "/$NOBODY", "/$", "/$$", "/$1"] {
            #expect(warnings(text) == [], "\(text)")
        }
        let whole = headlines(load(Sample(upstream: "[upstream.tasks]\nservers = [\"$BACKEND\"]\n").text))
        #expect(whole.contains { $0.hasPrefix("5:12: warning: \"$\" without braces") }, "\(whole)")
    }

    @Test("A table without its name is one mistake")
    func tableWithoutName() {
        let text = Sample(
            issuer: "[issuer]\nissuer = 'i'\naudience = 'a'\nsecret = { env = 'SECRET' }\njwks.url = 'x'\n",
            route: "[[route]]\npath = '/'\nauth = 'none'\nupstream = 'tasks'\n"
        ).text
        let lines = headlines(load(text))
        #expect(
            isOne(lines, "7:1: error: [issuer] holds named tables: \"issuer\" belongs into one"), "\(lines)")
        // Those with a header are looked at all the same.
        let both = headlines(load(text + "[issuer.main]\nissur = 'i'\n"))
        #expect(both.contains { $0.contains("unknown key \"issur\" in [issuer.main]") }, "\(both)")
    }

    @Test func aStatusInTheSample() {
        let lines = said(route: "[log]\nsample = { 200 = 0.1 }\n")
        #expect(isOne(lines, "unknown key \"200\" in \"sample\" of [log]; did you mean \"2xx\"?"), "\(lines)")
    }

    @Test("A quote that is missing is said", arguments: ["\"127.0.0.1:8080", "'127.0.0.1:8080"])
    func unclosed(text: String) {
        for end in ["", "\n[upstream.tasks]\n"] {
            let lines = headlines(load("[listen.public]\naddress = \(text)\(end)"))
            #expect(isOne(lines, "2:26: error: this is not TOML", "its closing quote is missing"), "\(lines)")
        }
    }
}
