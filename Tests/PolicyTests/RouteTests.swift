import Testing

@testable import Policy

@Suite("Routes: what matches, and what is the most specific")
struct RouteTests {
    /// Routes without authentication, by their paths.
    private func table(_ paths: [String]) throws -> Gate {
        try Gate(spec(paths.map { try route($0, auth: .none) }))
    }

    @Test(
        "templates match whole segments",
        arguments: [
            ("/api/tasks", "/api/tasks", true), ("/api/tasks", "/api/tasks/", false),
            ("/api/tasks", "/api/task", false), ("/api/tasks", "/api/tasks/1", false),
            ("/api/tasks", "/API/tasks", false), ("/api/tasks/", "/api/tasks/", true),
            ("/api/tasks/", "/api/tasks", false), ("/", "/", true), ("/", "/a", false),
            ("/{id}", "/a", true), ("/{id}", "/", false), ("/{id}", "/a/", false), ("/{id}/", "/a/", true),
            ("/api/**", "/api", true), ("/api/**", "/api/", true), ("/api/**", "/api/a/b/", true),
            ("/api/**", "/apix", false), ("/**", "/", true), ("/**", "/a", true),
            ("/a/{x}/c/**", "/a/b/c", true), ("/a/{x}/c/**", "/a/b/d", false),
        ])
    func matching(template: String, path: String, matches: Bool) throws {
        let snapshot = try table([template])
        let outcome = snapshot.send(get(path))
        #expect(outcome == .reject(.noRoute, route: nil) ? !matches : matches && outcome.route == 0)
    }

    @Test(
        "the most specific route wins, wherever it stands",
        arguments: [
            (["/**", "/a/**", "/a/{x}", "/a/b"], "/a/b", 3), (["/**", "/a/**", "/a/{x}", "/a/b"], "/a/c", 2),
            (["/a/b", "/a/{x}", "/a/**", "/**"], "/a/c/d", 2), (["/**", "/a/**"], "/b", 0),
            (["/{x}/b", "/a/{x}"], "/a/b", 1), (["/a/{x}/c", "/a/b/{y}"], "/a/b/c", 1),
            (["/a/**", "/a"], "/a", 1), (["/a/**", "/a/"], "/a/", 1), (["/{x}/**", "/{x}/{y}"], "/1/2", 1),
        ])
    func specificity(paths: [String], path: String, expected: Int) throws {
        let snapshot = try table(paths)
        #expect(snapshot.send(get(path)).route == expected)
    }

    @Test("a route bound to hosts comes before one for any host, a route bound to methods before any method")
    func bindings() throws {
        let snapshot = try Gate(
            spec([
                route("/a", auth: .none), route("/a", methods: ["POST", "PURGE"], auth: .none),
                route("/a", hosts: ["x.example", "y.example"], auth: .none),
            ]))
        #expect(snapshot.send(get("/a")).route == 0)
        #expect(snapshot.send(get("/a", method: "POST")).route == 1)
        #expect(snapshot.send(get("/a", method: "PURGE")).route == 1)
        #expect(snapshot.send(get("/a", method: "PURGED")).route == 0)
        #expect(snapshot.send(get("/a", host: "y.example", method: "POST")).route == 2)
        #expect(snapshot.send(get("/a", host: "z.example")).route == 0)
    }

    @Test("a method that no matching route serves is 404, no_route")
    func methods() throws {
        let snapshot = try Gate(spec([route("/a", methods: ["GET", "LINK"], auth: .none)]))
        #expect(snapshot.send(get("/a")).route == 0)
        #expect(snapshot.send(get("/a", method: "LINK")).route == 0)
        for method in ["POST", "HEAD", "OPTIONS", "UNLINK"] {
            #expect(snapshot.send(get("/a", method: method)).code == .noRoute)
        }
    }

    @Test(
        "P5: case, trailing dot and port of the host make no difference",
        arguments: ["api.example.com", "API.Example.COM.:443", "Api.example.com:8080", "api.example.com."])
    func hosts(host: String) throws {
        let snapshot = try Gate(spec([route("/a", hosts: ["api.example.com"], auth: .none)]))
        #expect(snapshot.send(get("/a", host: host)).route == 0)
        #expect(snapshot.send(get("/a", host: "api.example.org")).code == .noRoute)
        #expect(snapshot.send(get("/a", host: "x.api.example.com")).code == .noRoute)
    }

    @Test(
        "P2: a percent-encoded literal is the literal, and takes its route",
        arguments: ["/v1/users:batch", "/v1/users%3Abatch", "/v1/users%3abatch"])
    func encodedLiteral(path: String) throws {
        let snapshot = try Gate(spec([route("/v1/users:batch"), route("/**", auth: .none)]))
        #expect(snapshot.send(get(path)).code == .tokenMissing)
        #expect(snapshot.send(get("/v1/users%3Abatchx")).route == 1)
        #expect(snapshot.send(get("/v1/users%3A")).route == 1)
    }

    @Test("P1: a prefix is stripped by its segments, however they are spelt")
    func strippedSpelling() throws {
        let snapshot = try Gate(spec([route("/a:b/c/**", auth: .none, stripPrefix: "/a:b/c")]))
        #expect(snapshot.send(get("/a:b/c/d?e")).target == "/d?e")
        #expect(snapshot.send(get("/a%3Ab/c/d?e")).target == "/d?e")
        #expect(snapshot.send(get("/a%3Ab/c")).target == "/")
        #expect(snapshot.send(get("/a:b/c?e")).target == "/?e")
    }

    @Test(
        "P1: a path whose route depends on whether parameters are cut off is refused",
        arguments: [
            "/api;x/tasks", "/api;/tasks", "/api%3Bx/tasks", "/api%3bx/tasks", "/api/tasks;x=1",
            "/;x/api/tasks", "/%3Bx", "/api;x", "/api;%20/tasks",
        ])
    func parameters(path: String) throws {
        let snapshot = try Gate(
            spec([
                route("/api/tasks"), route("/api/{x}", auth: .none), route("/api/**"),
                route("/**", auth: .none),
            ]))
        #expect(snapshot.send(get(path)).code == .badRequest)
    }

    @Test("parameters that change no route pass, byte for byte")
    func harmlessParameters() throws {
        let snapshot = try Gate(
            spec([route("/api/{id}", require: [[needs("sub", "{id}")]]), route("/**", auth: .none)]))
        #expect(snapshot.send(get("/public/a;v=1/b")).target == "/public/a;v=1/b")
        #expect(snapshot.send(get("/public/a%3Bv%201/b")).target == "/public/a%3Bv%201/b")
        let alice = token(sub: "alice")
        #expect(snapshot.send(get("/api/alice", "Authorization: Bearer \(alice)")).user == "alice")
        #expect(snapshot.send(get("/api/alice;x", "Authorization: Bearer \(alice)")).code == .notYours)
    }

    @Test("a claim with a semicolon names no segment: a backend may cut it off")
    func semicolonClaim() throws {
        let snapshot = try Gate(spec([route("/api/{id}", require: [[needs("nick", "{id}")]])]))
        let mallory = token(sub: "mallory", #","nick":"alice;x""#)
        #expect(snapshot.send(get("/api/alice;x", "Authorization: Bearer \(mallory)")).code == .notYours)
        #expect(snapshot.send(get("/api/alice%3Bx", "Authorization: Bearer \(mallory)")).code == .notYours)
    }

    @Test("P3: the authority of an absolute target routes, and replaces Host")
    func absolute() throws {
        let snapshot = try Gate(
            spec([
                route("/a", hosts: ["good"], auth: .none),
                route("/**", hosts: ["evil"], auth: .required([0])),
            ]))
        let outcome = snapshot.send(get("http://evil/a", host: "good"))
        #expect(outcome.code == .tokenMissing)
        let permitted = snapshot.send(get("http://good:81/a?q", host: "evil"))
        #expect(permitted.values("Host") == ["good:81"])
        #expect(permitted.target == "/a?q")
    }

    @Test(
        "P1, P2, P3, P4: what could mean two paths is refused before any route is looked at",
        arguments: [
            "/public/../api/x", "/api%2e%2e/", "/public/%2e%2e/api/x", "/public/%2E%2E/api/x", "/api/./x",
            "/api/..",
            "/api%2fx", "/api%2Fx", "/api%5cx", "/api%5Cx", "/api\\x", "/api%00x", "//api/x", "/api//x",
            "/api/x#/public", "/api/%zz", "/%61pi/x",
        ])
    func ambiguous(path: String) throws {
        let snapshot = try table(["/public/**", "/api/**", "/**"])
        #expect(snapshot.send(get(path)).code == .badRequest)
    }

    @Test(
        "P1: another case of a protected path does not go by a wider route: many backends do not tell them apart"
    )
    func otherCase() throws {
        let snapshot = try Gate(
            spec([
                route("/api/**", auth: .required([0])), route("/api/public", auth: .none),
                route("/{tenant}/Admin", auth: .optional([0])), route("/Old/{x}", auth: .required([0])),
                route("/old/{x}", auth: .none), route("/only/posts", methods: ["POST"], auth: .required([0])),
                route("/named", hosts: ["b"], auth: .required([0])), route("/**", auth: .none),
            ]))
        for path in [
            "/API/x", "/Api", "/aPi/x/y?z", "/AP%49/x", "/x/admin", "/x/ADMIN", "/api;v=1/x", "/API;v=1/x",
            "/API/PUBLIC",
        ] {
            #expect(snapshot.send(get(path)).code == .badRequest, "\(path)")
        }
        // What differs in more than case; what the routes tell apart themselves; what would be open, or another's.
        for (path, place) in [
            ("/API-docs", 7), ("/apix/y", 7), ("/x/admin/", 7), ("/x/admin/y", 7), ("/old/a", 4),
            ("/Old/a/b", 7), ("/Only/posts", 7),
            ("/NAMED", 7), ("/\u{21}pi/x", 7),
        ] {
            #expect(snapshot.send(get(path)).route == place, "\(path)")
        }
        #expect(snapshot.send(get("/api/PUBLIC")).code == .tokenMissing)
        #expect(snapshot.send(get("/Old/a")).code == .tokenMissing)
        #expect(snapshot.send(get("/Only/posts", method: "POST")).code == .badRequest)
        #expect(snapshot.send(get("/NAMED", host: "b")).code == .badRequest)
    }

    @Test("P1: so does a letter beyond ASCII whose other case is one of a protected path")
    func otherCaseBeyondASCII() throws {
        let snapshot = try Gate(
            spec([route("/kiosk/**", auth: .required([0])), route("/**", auth: .none)]))
        for path in [
            "/k%C4%B0osk", "/k%c4%b1osk/x", "/kio%C5%BFk/x", "/kios%E2%84%AA", "/%E2%84%AA%C4%B1O%C5%BFK;v/x",
        ] {
            #expect(snapshot.send(get(path)).code == .badRequest, "\(path)")
        }
        for path in ["/k%C4%B2osk", "/kio%C5%BEk", "/kios%E2%84%AB", "/kios%E2%84", "/kio%C5", "/kiosk%C4"] {
            #expect(snapshot.send(get(path)).route == 1, "\(path)")
        }
    }

    @Test("P4: the query takes no part, and goes upstream as it came")
    func query() throws {
        let snapshot = try Gate(
            spec([route("/public/**", auth: .none), route("/api/**", auth: .required([0]))]))
        #expect(snapshot.send(get("/api/x?/public")).code == .tokenMissing)
        #expect(snapshot.send(get("/public/x?a=%2F..%2f&b")).target == "/public/x?a=%2F..%2f&b")
        #expect(snapshot.send(get("/public?")).target == "/public?")
    }

    @Test("P1: what was matched is what goes upstream, byte for byte, without the stripped prefix")
    func stripping() throws {
        let snapshot = try Gate(
            spec([
                route("/v1/{x}/**", auth: .none, stripPrefix: "/v1"),
                route("/v2/**", auth: .none, stripPrefix: "/v2"),
            ]))
        #expect(snapshot.send(get("/v1/a/b?c=d")).target == "/a/b?c=d")
        #expect(snapshot.send(get("/v2")).target == "/")
        #expect(snapshot.send(get("/v2?q=1")).target == "/?q=1")
        #expect(snapshot.send(get("/v2/")).target == "/")
        #expect(snapshot.send(get("/v2/x%20y")).target == "/x%20y")
        #expect(snapshot.send(get("/v2x")).code == .noRoute)
    }

    @Test("P6: without a route nothing is served")
    func empty() throws {
        let snapshot = try Gate(spec([]))
        #expect(snapshot.send(get("/")) == .reject(.noRoute, route: nil))
        #expect(snapshot.send(get("*", method: "OPTIONS")) == .reject(.noRoute, route: nil))
    }

    @Test("P8: CONNECT and TRACE are 405, and the connection ends", arguments: ["CONNECT", "TRACE"])
    func tunnels(method: String) throws {
        let snapshot = try table(["/**"])
        let outcome = snapshot.send("\(method) \(method == "CONNECT" ? "h:443" : "/") HTTP/1.1\nHost: h\n")
        #expect(outcome == .reject(.methodNotAllowed, route: nil))
        if let (rejection, _) = snapshot.rejection("TRACE / HTTP/1.1\nHost: h\n") {
            #expect(rejection.closesConnection)
        }
    }

    @Test("routes that only their places in the file could tell apart are found")
    func conflicts() throws {
        let routes = [
            try route("/a/{x}"), try route("/a/{y}"), try route("/a/b"), try route("/a/c"),
            try route("/a/{x}", methods: ["GET"]), try route("/a/{x}", methods: ["POST"]),
            try route("/a/{x}", methods: ["POST", "PUT"]), try route("/a/{x}", hosts: ["h"]),
            try route("/a/{x}", hosts: ["i"]), try route("/{x}/b"), try route("/a/{x}/"),
        ]
        let found = RouteOrder.conflicts(routes).map { [$0.first, $0.second] }
        #expect(found == [[0, 1], [5, 6]])
        #expect(throws: PolicyError.equallySpecific(first: 0, second: 1)) {
            _ = try Gate(spec(Array(routes.prefix(2))))
        }
    }

    @Test("the order for `usher routes` is the order in which they are tried")
    func order() throws {
        let routes = try ["/**", "/a/{x}", "/a/b", "/a/**", "/a"].map { try route($0) }
        #expect(
            RouteOrder.ordered(routes).map { routes[$0].name } == ["/a", "/a/b", "/a/{x}", "/a/**", "/**"])
    }

    @Test(
        "a path that is no template is refused with a reason",
        arguments: [
            ("api", PathTemplateError.notAbsolute), ("", .notAbsolute), ("/a//b", .emptySegment),
            ("/**/a", .restNotLast), ("/a/../b", .dotSegment), ("/.", .dotSegment),
            ("/{}", .captureName("{}")),
            ("/{a-b}", .captureName("{a-b}")), ("/{a}/{a}", .captureTwice("a")),
            ("/a*", .unexpectedByte("a*")),
            ("/a{b}", .unexpectedByte("a{b}")), ("/a?b", .unexpectedByte("a?b")),
            ("/a b", .unexpectedByte("a b")),
            ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", .tooLong),
        ])
    func badTemplates(text: String, expected: PathTemplateError) {
        #expect(throws: expected) { _ = try PathTemplate(text) }
    }

    @Test("a required value is literal text with captures in it, or refused")
    func requiredValues() throws {
        #expect(
            try RequiredValue(template: "user:{id}!").parts == [
                .literal(Array("user:".utf8)), .capture("id"), .literal(Array("!".utf8)),
            ])
        for text in ["{", "}", "{a", "a}", "{}", "{a b}"] {
            #expect(throws: PathTemplateError.self) { _ = try RequiredValue(template: text) }
        }
    }
}
