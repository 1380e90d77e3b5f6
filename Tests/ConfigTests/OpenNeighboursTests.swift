import Glibc
import Testing

@testable import Config

/// What this thread has had of a CPU: how many others want it makes no difference.
private func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

@Suite("What a protected route leaves to a wider one")
struct OpenNeighboursTests {
    /// A route of a test's file: what differs from `/a` for everybody.
    private func route(_ path: String, _ auth: String, _ more: String = "", to upstream: String = "tasks")
        -> String
    {
        "[[route]]\npath = \"\(path)\"\nauth = \"\(auth)\"\nupstream = \"\(upstream)\"\n\(more)\n"
    }

    private func warnings(_ routes: String...) -> [String] {
        var sample = Sample()
        sample.upstream += """
            [upstream.same]
            servers = ["127.0.0.1:8000", "127.0.0.1:8002"]
            [upstream.web]
            servers = ["127.0.0.1:8001"]

            """
        sample.route = routes.joined()
        return headlines(load(sample.text)).filter { $0.contains("warning") }
    }

    @Test(
        "A slash behind the path, methods that are not named, and hosts that are not, go to the wider route")
    func leaks() {
        let open = route("/**", "none")
        for (auth, wide) in [("main", "open"), ("optional:main", "open"), ("main", "optional")] {
            let wider = wide == "open" ? open : route("/**", "optional:main")
            let slash = warnings(wider, route("/admin", auth))
            #expect(
                slash.count == 1
                    && slash[0].contains("/admin/ is not this route and goes to the \(wide) route /**"))
            let methods = warnings(wider, route("/admin/**", auth, "methods = [\"GET\"]"))
            #expect(
                methods.count == 1
                    && methods[0].contains("other methods than GET go to the \(wide) route /**"))
            let hosts = warnings(wider, route("/admin/**", auth, "host = [\"a.test\"]"))
            #expect(hosts.count == 1 && hosts[0].contains("other hosts than a.test"))
        }
        #expect(
            warnings(open, route("/admin", "main", "host = [\"a.test\"]\nmethods = [\"GET\"]")).count == 3)
        #expect(warnings(open, route("/admin", "main", to: "same")).count == 1, "one server is the same")
    }

    @Test(
        "No alarm where the backend is another, a third route comes first, or nobody is let in who was not before"
    )
    func silence() {
        let open = route("/**", "none")
        #expect(
            warnings(route("/**", "none", to: "web"), route("/admin", "main", "host = [\"a.test\"]")) == [])
        for third in [route("/admin/**", "main"), route("/admin/**", "main", to: "web")] {
            #expect(warnings(open, third, route("/admin/x", "main")) == [])
            #expect(warnings(open, third, route("/admin/x/**", "main", "methods = [\"GET\"]")) == [])
            #expect(warnings(open, third, route("/admin/x/**", "main", "host = [\"a.test\"]")) == [])
        }
        #expect(warnings(open, route("/admin", "main"), route("/admin/", "main")) == [])
        #expect(
            warnings(
                open, route("/admin/{x}/**", "main"), route("/admin/x/**", "main", "methods = [\"GET\"]"))
                == [])
        // A site of its own, and one that nothing but its host tells from others.
        #expect(
            warnings(
                route("/**", "none", "host = [\"b.test\"]"), route("/admin/**", "main", "host = [\"a.test\"]")
            ) == [])
        #expect(
            warnings(
                open, route("/admin", "none"), route("/x/**", "main"),
                route("/**", "main", "host = [\"a.test\"]")
            ).count == 1)
        #expect(
            warnings(route("/**", "optional:main"), route("/admin", "optional:main"), route("/x", "none"))
                == [])
    }

    @Test("A prefix that is stripped leads to what another route protects")
    func stripped() {
        let strips = "rewrite = { strip_prefix = \"/pub\" }"
        let open = route("/pub/**", "none", strips)
        for (wider, laxness) in [(open, "open"), (route("/pub/**", "optional:main", strips), "optional")] {
            let found = warnings(wider, route("/admin/**", "main"))
            #expect(
                found.count == 1
                    && found[0].contains(
                        "the \(laxness) route /pub/**, which strips \"/pub\", leads to what /admin/** protects"
                    ))
        }
        #expect(
            warnings(open, route("/v1/admin/**", "main", "rewrite = { strip_prefix = \"/v1\" }")).count == 1)
        // A route of its own comes first, the backend is another, or nothing behind the prefix is that path.
        #expect(warnings(open, route("/pub/admin/**", "main", strips), route("/admin/**", "main")) == [])
        #expect(warnings(open, route("/admin/**", "main", to: "web")) == [])
        #expect(warnings(route("/pub/x/**", "none", strips), route("/admin/**", "main")) == [])
        #expect(warnings(route("/pub/**", "main", strips), route("/admin/**", "main")) == [])
    }

    @Test(
        "A slash that is missing, a capture, and the same path for other methods or hosts are neighbours, too"
    )
    func narrowNeighbours() {
        let open = route("/**", "none")
        let bare = warnings(open, route("/admin/", "main"))
        #expect(
            bare.count == 1 && bare[0].contains("/admin is not this route and goes to the open route /**")
                && bare[0].contains("write \"/admin/**\""))
        for wide in ["/users/{id}", "/users/me"] {
            for auth in ["none", "optional:main"] {
                let wider = route(wide, auth)
                let methods = warnings(wider, route("/users/me", "main", "methods = [\"GET\"]"))
                #expect(methods.count == 1 && methods[0].contains("route \(wide), HEAD too"), "\(methods)")
                let hosts = warnings(wider, route("/users/me", "main", "host = \"a.test\""))
                #expect(hosts.count == 1 && hosts[0].contains("go to the") && hosts[0].contains(wide))
            }
        }
        #expect(warnings(route("/{page}", "none"), route("/admin/", "main")).count == 1)
        #expect(warnings(route("/users/{id}/", "none"), route("/users/me", "main")).count == 1)
    }

    @Test(
        "No alarm about what is meant: pages beside protected ones, and reading for more people than writing")
    func deliberate() {
        #expect(warnings(route("/users/{id}", "none"), route("/users/me", "main")) == [])
        #expect(warnings(route("/**", "none"), route("/", "main")) == [], "a path without it is none")
        #expect(warnings(route("/admin/", "none"), route("/admin", "main")) == [], "written for that alone")
        #expect(warnings(route("/**", "none"), route("/admin/", "main"), route("/admin", "none")) == [])
        let all = "methods = [\"POST\", \"PUT\", \"PATCH\", \"DELETE\"]"
        for path in ["/posts", "/posts/{id}", "/posts/**"] {
            #expect(warnings(route(path, "none"), route(path, "main", all)) == [])
            #expect(warnings(route(path, "none", "methods = [\"GET\"]"), route(path, "main")) == [])
            let open = route(path, "none", "methods = [\"GET\"]")
            #expect(warnings(open, route(path, "main", "methods = [\"POST\"]")) == [])
        }
        // PUT and DELETE are nobody's, and so everybody's.
        let some = warnings(route("/posts", "none"), route("/posts", "main", "methods = [\"POST\"]"))
        #expect(some.count == 1 && some[0].contains("give that route \"methods\", too"))
        // Two routes may name all that changes something between them.
        #expect(
            warnings(
                route("/posts", "none"), route("/posts", "main", "methods = [\"POST\", \"PUT\"]"),
                route("/posts", "optional:main", "methods = [\"PATCH\", \"DELETE\"]")) == [])
    }

    @Test("A route that asks less of the token is one that asks for less")
    func lessDemanding() {
        let any = route("/**", "main")
        for demand in ["require = { role = \"admin\" }", "scopes = [\"admin\"]"] {
            let slash = warnings(any, route("/admin", "main", demand))
            #expect(
                slash.count == 1
                    && slash[0].contains("/admin/ is not this route and goes to the less demanding route /**")
            )
            #expect(warnings(any, route("/admin/**", "main", demand)) == [])
            #expect(warnings(any, route("/admin/**", "main", "host = \"a.test\"\n\(demand)")).count == 1)
            #expect(warnings(any, route("/admin/**", "main", "methods = [\"GET\"]\n\(demand)")).count == 1)
            // To change something may take more than to read it.
            #expect(warnings(any, route("/admin/**", "main", "methods = [\"DELETE\"]\n\(demand)")) == [])
            let other = route("/**", "main", "require = { role = \"owner\" }\nscopes = [\"x\"]")
            #expect(warnings(other, route("/admin", "main", demand)) == [], "neither asks for less")
            #expect(warnings(route("/**", "main", demand), route("/admin", "main", demand)) == [])
        }
        // Scopes by method, as most interfaces have them.
        #expect(
            warnings(
                any, route("/tasks/**", "main", "methods = [\"GET\"]\nscopes = [\"read\"]"),
                route(
                    "/tasks/**", "main",
                    "methods = [\"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\nscopes = [\"read\", \"write\"]"))
                == [])
    }

    @Test("One server by several names", arguments: ["localhost", "[::1]", "web.localhost"])
    func names(host: String) {
        let text = "[upstream.local]\nservers = [\"\(host):8000\"]\n"
        #expect(warnings(route("/**", "none", to: "local"), route("/admin", "main"), text).count == 1)
        let other = text.replacing("8000", with: "8009")
        #expect(warnings(route("/**", "none", to: "local"), route("/admin", "main"), other) == [])
    }

    @Test("A third route that takes some of them is not enough")
    func partly() {
        let open = route("/**", "none")
        let post = route("/admin/**", "main", "methods = [\"POST\"]")
        #expect(
            warnings(open, post, route("/admin/x", "main")).filter { $0.contains("/admin/x/ is") }.count == 1)
        let other = route("/admin/**", "main", "host = [\"a.test\"]")
        #expect(
            warnings(open, other, route("/admin/x", "main")).filter { $0.contains("/admin/x/ is") }.count == 1
        )
        #expect(
            warnings(open, other, route("/admin/x", "main", "host = [\"a.test\"]")).filter {
                $0.contains("/admin/x/ is")
            } == [])
    }

    @Test("Thousands of routes are not compared with one another", arguments: ["", "/**"])
    func many(end: String) {
        let started = cpuSeconds()
        let routes = (0..<2000).map { route("/api/r\($0)\(end)", "main") }.joined()
        #expect(warnings(route("/**", "none"), routes).count == (end.isEmpty ? 2000 : 0))
        #expect(cpuSeconds() - started < 15)
    }

    @Test("One warning for a route, however many prefixes lead to it")
    func onePerRoute() {
        let open = (0..<5).map {
            route("/v\($0)/**", "none", "rewrite = { strip_prefix = \"/v\($0)\" }")
        }
        let found = warnings(open.joined(), route("/admin/**", "main"))
        #expect(found.count == 1 && found[0].contains("the open route /v0/**, which strips \"/v0\""))
        // Routes of their own hold all but the last one back.
        let held = (0..<4).map { route("/v\($0)/admin/**", "main", to: "web") }
        let last = warnings((open + held).joined(), route("/admin/**", "main"))
        #expect(last.count == 1 && last[0].contains("the open route /v4/**"))
    }

    @Test("A prefix of one host's route leads to what other routes of that host protect, and no other host's")
    func strippedHosts() {
        let strips = "rewrite = { strip_prefix = \"/pub\" }"
        let sites = (0..<100).map { site in
            route("/pub/**", "none", "host = [\"a\(site).test\"]\n\(strips)")
                + route("/admin/**", "main", "host = [\"a\(site).test\"]")
        }
        #expect(warnings(sites.joined()).count == 100)
        #expect(
            warnings(
                route("/pub/**", "none", "host = [\"b.test\"]\n\(strips)"),
                route("/admin/**", "main", "host = [\"a.test\"]")) == [])
    }

    @Test(
        "Thousands of routes are not compared with thousands that strip a prefix, and warnings are bounded",
        arguments: ["own", "shared", "held back", "many servers"])
    func manyShortcuts(shape: String) {
        let count = 1000
        var text = ""
        for number in 0..<count {
            let upstream = shape == "own" || shape == "many servers" ? "u\(number)" : "tasks"
            text += route(
                "/v\(number)/**", "none", "rewrite = { strip_prefix = \"/v\(number)\" }", to: upstream)
            text += route("/p\(number)/x/**", "main", to: upstream)
            if shape == "held back" { text += route("/v\(number)/{any}/x/**", "main", to: "web") }
        }
        for number in 0..<count {
            var servers = ["\"10.0.0.1:\(1000 + number)\""]
            if shape == "many servers" { servers += (1...10).map { "\"10.0.0.2:\($0)\"" } }
            text += "[upstream.u\(number)]\nservers = [\(servers.joined(separator: ", "))]\n"
        }
        let started = cpuSeconds()
        #expect(warnings(text).count == (shape == "held back" ? 0 : count))
        // Compared with one another they take from some tens of seconds to many minutes.
        #expect(cpuSeconds() - started < 30)
    }
}
