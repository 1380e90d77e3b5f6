import HTTP
import JOSE
import Testing

@testable import Policy

@Suite struct TokenPlacesTests {
    private func gate(_ places: [TokenPlace], origins: [String] = []) throws -> Gate {
        let spec = IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(secret))
        let entry = IssuerEntry(name: "main", spec: spec, tokenFrom: places, trustedOrigins: origins)
        return try Gate(PolicyTests.spec([route("/a")], issuers: [entry]))
    }

    private var good: String { token(sub: "u1", secret: secret) }

    @Test func whereTokensAreLookedForAndWhereNot() throws {
        let cookie = "Cookie: t=\(good)"
        let query = "/a?t=\(good)"
        let header = "Authorization: Bearer \(good)"
        let everywhere = try gate([.header, .cookie("t"), .query("t")])
        #expect(everywhere.send(get("/a", cookie)).user == "u1")
        #expect(everywhere.send(get(query)).user == "u1")
        #expect(everywhere.send(get("/a", header)).user == "u1")
        for (places, request) in [
            ([.header], get("/a", cookie)), ([.header], get(query)), ([.cookie("t")], get("/a", header)),
            ([.cookie("t")], get(query)), ([.cookie("T")], get("/a", cookie)), ([.query("T")], get(query)),
            ([.webSocket], get("/a", "Sec-WebSocket-Protocol: bearer, \(good)")),
        ] as [([TokenPlace], String)] {
            #expect(try gate(places).send(request).code == .tokenMissing)
        }
    }

    @Test func theBackendDoesNotSeeThem() throws {
        let gate = try gate([.cookie("t"), .query("t")])
        let cookies = gate.send(get("/a", "Cookie: x=1; t=\(good); y=2"))
        #expect(cookies.values("cookie") == ["x=1; y=2"])
        #expect(gate.send(get("/a", "Cookie: t=\(good)")).values("cookie") == [])
        // Backends that trim names would take these for it.
        for loose in ["t =forged", "t\t=forged"] {
            #expect(gate.send(get("/a", "Cookie: x=1; \(loose); t=\(good)")).values("cookie") == ["x=1"])
        }
        #expect(gate.send(get("/a?x=1&t=\(good)&y=2")).target == "/a?x=1&y=2")
        #expect(gate.send(get("/a?t=\(good)")).target == "/a")
    }

    @Test("two different tokens in one request are 400, whatever each is worth")
    func severalTokens() throws {
        let gate = try gate([.header, .cookie("t"), .query("t")])
        let other = token(sub: "u2", secret: secret)
        #expect(gate.send(get("/a?t=\(good)", "Cookie: t=\(other)")).code == .badRequest)
        #expect(gate.send(get("/a", "Cookie: t=\(good); t=garbage")).code == .badRequest)
        #expect(gate.send(get("/a?t=\(good)&t=\(good)")).code == .badRequest)
        #expect(
            gate.send(get("/a", "Authorization: Bearer \(other)", "Cookie: t=\(good)")).code == .badRequest)
        #expect(gate.send(get("/a?t=\(good)", "Cookie: t=\(good)")).user == "u1")
    }

    @Test("J15: credentials that nobody looks at do not pass for none")
    func otherCredentials() throws {
        let gate = try gate([.header, .cookie("t")])
        #expect(gate.send(get("/a", "Authorization: Basic dTpw", "Cookie: t=\(good)")).code == .tokenMissing)
        #expect(gate.send(get("/a", "Authorization: Bearer", "Cookie: t=\(good)")).code == .tokenMissing)
    }

    @Test(
        "a cookie from another site's page writes nothing",
        arguments: [
            ("Origin: https://evil", false), ("Origin: null", false), ("Origin: https://h.evil", false),
            ("Origin: ftp://h", false), ("Sec-Fetch-Site: cross-site", false), ("Origin: https://h", true),
            ("Origin: http://H", true), ("Origin: https://app", true), ("Sec-Fetch-Site: none", true),
            ("Referer: https://evil/x", false), ("Referer: https://h.evil/h/", false), ("Referer: x", false),
            ("Referer: https://app/a/b?c", true), ("Referer: http://h/", true),
        ])
    func forgery(field: String, allowed: Bool) throws {
        let gate = try gate([.header, .cookie("t")], origins: ["https://app"])
        let post = gate.send(get("/a", field, "Cookie: t=\(good)", method: "POST"))
        #expect(allowed ? post.user == "u1" : post.code == .originRefused)
        #expect(gate.send(get("/a", field, "Cookie: t=\(good)")).user == "u1")
        let header = get("/a", field, "Authorization: Bearer \(good)", method: "POST")
        #expect(gate.send(header).user == "u1")
    }

    @Test("J8: a revoked token is refused, one that is cached too")
    func revocation() throws {
        let gate = try gate([.header])
        let request = get("/a", "Authorization: Bearer \(good)")
        #expect(gate.send(request).user == "u1")
        let list = try #require(RevocationList(Array("{\"sub\":{\"u1\":999999999999}}".utf8)))
        gate.snapshot.replaceRevocations(list)
        #expect(gate.cachedTokenCount == 0)
        #expect(gate.send(request).code == .tokenInvalid)
        gate.snapshot.replaceRevocations(RevocationList())
        #expect(gate.send(request).user == "u1")
    }
}
