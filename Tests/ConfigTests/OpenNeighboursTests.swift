import Testing

@testable import Config

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
        let started = ContinuousClock.now
        let routes = (0..<2000).map { route("/api/r\($0)\(end)", "main") }.joined()
        #expect(warnings(route("/**", "none"), routes).count == (end.isEmpty ? 2000 : 0))
        #expect(ContinuousClock.now - started < .seconds(15))
    }
}
