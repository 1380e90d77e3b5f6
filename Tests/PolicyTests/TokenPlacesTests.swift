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
            ([.header], get("/a", cookie)), ([.header], get(query)), ([.cookie("t")], get(query)),
            ([.cookie("T")], get("/a", cookie)), ([.query("T")], get(query)),
            ([.webSocket], get("/a", "Sec-WebSocket-Protocol: bearer, \(good)")),
        ] as [([TokenPlace], String)] {
            #expect(try gate(places).send(request).code == .tokenMissing)
        }
        #expect(try gate([.cookie("t")]).send(get("/a", header)).code == .tokenInvalid)
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
        // So does one that reads a value to its first space or comma, or trims what is beyond ASCII.
        for hidden in [
            "a=b t=forged", "a=b, t = forged", "a=\"b\"\tt=forged", "\u{a0}t=forged", "t\u{a0}=forged",
        ] {
            #expect(gate.send(get("/a", "Cookie: x=1; \(hidden); t=\(good)")).values("cookie") == ["x=1"])
        }
        // And so do those that look at names in another way: ASP.NET Core, Rack, PHP.
        for spelled in ["T=forged", "%74=forged", "%54=forged", "%20t=forged", "+t=forged", "t%00x=forged"] {
            #expect(gate.send(get("/a", "Cookie: x=1; \(spelled); t=\(good)")).values("cookie") == ["x=1"])
        }
        let others = "x={\"t\":1}, {\"t\": 2}; at=1 2; n=é ê; u=/a?t=1"
        #expect(gate.send(get("/a", "Cookie: \(others); t=\(good)")).values("cookie") == [others])
        #expect(gate.send(get("/a?x=1&t=\(good)&y=2")).target == "/a?x=1&y=2")
        #expect(gate.send(get("/a?t=\(good)")).target == "/a")
    }

    @Test(
        "A cookie whose name looks encoded does not reach the backend under that name either",
        arguments: ["app%3At", "%74", "t%20", "+t", "a+b"])
    func encodedName(name: String) throws {
        let gate = try gate([.cookie(name)])
        let outcome = gate.send(get("/a", "Cookie: x=1; \(name)=\(good); y=2"))
        #expect(outcome.user == "u1")
        #expect(outcome.values("cookie") == ["x=1; y=2"])
    }

    @Test(
        "A parameter that is looked for by its own name is no other spelling of another one",
        arguments: [("t", "T"), ("t_x", "t.x")])
    func namesAlike(one: String, other: String) throws {
        let gate = try gate([.query(one), .query(other)])
        for name in [one, other] {
            let outcome = gate.send(get("/a?x=1&\(name)=\(good)"))
            #expect(outcome.user == "u1")
            #expect(outcome.target == "/a?x=1")
            #expect(gate.send(get("/a?\(name)=\(good);T=x&x=1")).code == .tokenInvalid)
        }
        #expect(
            gate.send(get("/a?\(one)=\(good)&\(other)=\(token(sub: "u2", secret: secret))")).code
                == .badRequest)
        #expect(gate.send(get("/a?\(one)=\(good)&%74=x&%54_x=x")).code == .badRequest)
    }

    @Test(
        "H7, J15: a parameter that only some backends take for the token passes neither beside one nor for none",
        arguments: [
            "T=x", "%74=x", "%54=x", "t%20=x", "+t=x", "%20t=x", "t%00=x", "x=1;t=x", "x;%74=x", "x;;T=x",
        ])
    func otherSpellings(parameter: String) throws {
        let spec = IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(secret))
        let entry = IssuerEntry(name: "main", spec: spec, tokenFrom: [.header, .query("t")])
        let gate = try Gate(
            PolicyTests.spec([route("/a"), route("/b", auth: .optional([0]))], issuers: [entry]))
        let header = "Authorization: Bearer \(good)"
        #expect(gate.send(get("/a?\(parameter)", header)).code == .badRequest)
        #expect(gate.send(get("/a?t=\(good)&\(parameter)")).code == .badRequest)
        #expect(gate.send(get("/b?\(parameter)")).code == .tokenMissing)
        #expect(gate.send(get("/a?x=t=1&tt=1&x=t;y&u=;&t=\(good)")).target == "/a?x=t=1&tt=1&x=t;y&u=;")
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

    @Test(
        "J15, H7: an Authorization that none of the route's issuers reads is neither nobody nor beside anybody",
        arguments: [TokenPlace.cookie("t"), .query("t"), .webSocket])
    func unreadHeader(place: TokenPlace) throws {
        let entry = IssuerEntry(
            name: "main", spec: IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(secret)),
            tokenFrom: [place])
        let gate = try Gate(
            spec(
                [try route("/a"), try route("/o", auth: .optional([0]))], issuers: [entry],
                authorization: .forward))
        let other = token(sub: "u2", secret: secret)
        #expect(gate.send(get("/o")).user == "")
        for (field, code) in [
            ("Bearer \(good)", ReasonCode.tokenInvalid), ("Bearer x", .tokenInvalid),
            ("Basic dTpw", .tokenMissing),
            ("Bearer", .tokenMissing), ("DPoP \(good)", .tokenMissing), ("Bearer a b", .tokenInvalid),
        ] {
            #expect(gate.send(get("/a", "Authorization: \(field)")).code == code, "\(field)")
            #expect(gate.send(get("/o", "Authorization: \(field)")).code == code, "\(field)")
        }
        let offer = ["Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Protocol: bearer, \(good)"]
        func send(_ path: String, _ header: String) -> Outcome {
            switch place {
            case .cookie: gate.send(get(path, header, "Cookie: t=\(good)"))
            case .query: gate.send(get("\(path)?t=\(good)", header))
            default: gate.send(get(path, header, offer[0], offer[1], offer[2]))
            }
        }
        for path in ["/a", "/o"] {
            #expect(send(path, "X: y").user == "u1")
            #expect(send(path, "Authorization: Bearer \(other)").code == .badRequest)
            #expect(send(path, "Authorization: Basic dTpw").code == .tokenMissing)
            #expect(send(path, "Authorization: DPoP \(good)").code == .tokenMissing)
            #expect(send(path, "Authorization: Bearer a b").code == .tokenInvalid)
            // One token, and it is proven.
            #expect(send(path, "Authorization: Bearer \(good)").user == "u1")
        }
    }

    @Test(
        "J4: an unchecked issuer speaks for no named one of the route, which looks elsewhere",
        arguments: [true, false])
    func uncheckedElsewhere(isAsked: Bool) throws {
        let unchecked = IssuerEntry(
            name: "any", spec: IssuerSpec(issuer: nil, audiences: ["a"], keys: .secret(secret)))
        var named = IssuerEntry(
            name: "named", spec: IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(otherSecret)),
            tokenFrom: [.cookie("t")])
        if isAsked {
            named.tokenFrom = [.header]
            named.spec.keys = .pending
        }
        var policy = spec(
            [
                try route("/any"), try route("/both", auth: .required([0, 1])),
                try route("/named", auth: .required([1])),
            ], issuers: [unchecked, named])
        if isAsked {
            policy.remoteSources = [RemoteSourceSpec(name: "named", owner: .issuer(1), cacheForSeconds: 30)]
        }
        let other =
            "Authorization: Bearer "
            + token(#"{"iss":"x","aud":"a","sub":"u1","exp":\#(now + 600)}"#, secret: secret)
        for paths in [["/any", "/both"], ["/both", "/any"]] {
            let gate = try Gate(policy)
            for path in paths + paths {
                let outcome = gate.send(get(path, "Authorization: Bearer \(good)"))
                #expect(outcome.user == (path == "/any" ? "u1" : nil))
                #expect(outcome.code == (path == "/any" ? nil : .tokenInvalid))
                #expect(gate.send(get(path, other)).user == "u1")
            }
            guard !isAsked else { continue }
            let own = token(sub: "u2", secret: otherSecret)
            #expect(gate.send(get("/both", "Cookie: t=\(own)")).user == "u2")
            #expect(gate.send(get("/both", "Cookie: t=\(good)")).code == .tokenInvalid)
        }
    }

    @Test("J4: what an unchecked issuer answers speaks for no named one of the route")
    func uncheckedAnswer() throws {
        let unchecked = IssuerEntry(
            name: "any", spec: IssuerSpec(issuer: nil, audiences: ["a"], keys: .pending))
        var policy = spec(
            [try route("/any"), try route("/both", auth: .required([0, 1]))],
            issuers: [unchecked, issuer("named")])
        policy.remoteSources = [RemoteSourceSpec(name: "any", owner: .issuer(0), cacheForSeconds: 30)]
        for (iss, isNamed) in [("i", true), ("x", false)] {
            let gate = try Gate(policy)
            let request = "Authorization: Bearer opaque"
            #expect(gate.send(get("/both", request), round: .withKeys) == .awaitVerdict)
            #expect(gate.send(get("/both", request), round: .last).code == .authenticationUnavailable)
            #expect(gate.send(get("/both", request)) == .awaitVerdict)
            guard let question = gate.snapshot.takeQuestion() else {
                Issue.record("nobody is asked")
                return
            }
            let claims = #"{"active":true,"iss":"\#(iss)","aud":"a","sub":"u1"}"#
            gate.snapshot.note(
                RemoteAnswer(key: question.key, result: .accepted(Array(claims.utf8))), now: now)
            #expect(gate.send(get("/any", request)).user == "u1")
            #expect(gate.send(get("/both", request)).code == (isNamed ? .tokenInvalid : nil))
        }
    }

    /// An issuer that is asked about the tokens in cookie `t`, alone at `/asked`; at `/both` beside `named`, which has keys.
    private func askingGate(_ iss: String?) throws -> Gate {
        let asked = IssuerEntry(
            name: "asked", spec: IssuerSpec(issuer: iss, audiences: ["a"], keys: .pending),
            tokenFrom: [.cookie("t")])
        var policy = spec(
            [try route("/asked"), try route("/both", auth: .required([0, 1]))],
            issuers: [asked, issuer("named")])
        policy.remoteSources = [RemoteSourceSpec(name: "asked", owner: .issuer(0), cacheForSeconds: 30)]
        return try Gate(policy)
    }

    /// Answers the question that waits: the token is `u1`'s.
    private func accept(_ iss: String?, at gate: Gate) throws {
        let waiting = gate.snapshot.takeQuestion()
        let question = try #require(waiting)
        let answer = #"{"active":true,"aud":"a","sub":"u1"\#(iss.map { #","iss":"\#($0)""# } ?? "")}"#
        gate.snapshot.note(
            RemoteAnswer(key: question.key, result: .accepted(Array(answer.utf8))), now: now)
    }

    @Test("An issuer's no counts at once, though its yes is remembered, of a bound token too")
    func noAfterYes() throws {
        let jkt = encoded([UInt8](repeating: 7, count: 32))
        for more in ["", #","cnf":{"jkt":"\#(jkt)"}"#] {
            let gate = try askingGate("o")
            for other in ["other", "opaque"] {
                #expect(gate.send(get("/asked", "Cookie: t=\(other)")) == .awaitVerdict)
                let waiting = gate.snapshot.takeQuestion()
                let key = try #require(waiting).key
                let answer = #"{"active":true,"aud":"a","sub":"u1","iss":"o"\#(more)}"#
                gate.snapshot.note(RemoteAnswer(key: key, result: .accepted(Array(answer.utf8))), now: now)
                if other == "opaque" {
                    #expect(gate.cachedTokenCount == 2)
                    #expect(gate.snapshot.note(RemoteAnswer(key: key, result: .refused), now: now) != nil)
                }
            }
            #expect(gate.cachedTokenCount == 1)
            #expect(gate.send(get("/asked", "Cookie: t=opaque")).code == .tokenInvalid)
        }
    }

    @Test("An answer that makes no sense says so in the log")
    func unusableAnswer() throws {
        let gate = try askingGate("o")
        let request = get("/asked", "Cookie: t=opaque")
        #expect(gate.send(request) == .awaitVerdict)
        let waiting = gate.snapshot.takeQuestion()
        let key = try #require(waiting).key
        gate.snapshot.note(RemoteAnswer(key: key, result: .accepted(Array("{}".utf8))), now: now)
        let rejection = try #require(gate.rejection(request)).0
        #expect(rejection.code == .authenticationUnavailable && rejection.refusal == .unusableAnswer)
        gate.snapshot.note(RemoteAnswer(key: key, result: .unavailable), now: now)
        #expect(try #require(gate.rejection(request)).0.refusal == nil)
    }

    @Test(
        "J4: who is asked decides on no JWT of another issuer of the route, which looks elsewhere",
        arguments: [nil, "o"])
    func askedElsewhere(iss: String?) throws {
        let gate = try askingGate(iss)
        let named = token(sub: "u1", secret: otherSecret)
        let unnamed = token(#"{"iss":"x","sub":"u1","exp":\#(now + 600)}"#, secret: otherSecret)
        #expect(gate.send(get("/both", "Cookie: t=\(named)")).code == .tokenInvalid)
        let question = gate.snapshot.takeQuestion()
        #expect(question == nil, "and nobody else sees it")
        // Where the one that it names is not accepted, the one that is asked may decide; not so of what it said there.
        #expect(gate.send(get("/asked", "Cookie: t=\(named)")) == .awaitVerdict)
        try accept(iss, at: gate)
        #expect(gate.send(get("/asked", "Cookie: t=\(named)")).user == "u1")
        #expect(gate.send(get("/both", "Cookie: t=\(named)")).code == .tokenInvalid)
        for token in [unnamed, "opaque", "a.b.c"] {
            #expect(gate.send(get("/both", "Cookie: t=\(token)")) == .awaitVerdict)
            try accept(iss, at: gate)
            #expect(gate.send(get("/both", "Cookie: t=\(token)")).user == "u1")
        }
    }

    @Test(
        "J4: who is asked decides on no JWT whose issuer cannot be read, where another may be meant",
        arguments: [nil, "o"])
    func askedAboutUnreadable(iss: String?) throws {
        let gate = try askingGate(iss)
        // Strict readers take neither, and lenient ones find the other issuer's name in both.
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        for payload in [#"{"iss":"named","x":\#(deep)}"#, #"{"iss":"x","iss":"named","sub":"u1"}"#] {
            let token = token(payload, secret: otherSecret)
            #expect(gate.send(get("/both", "Cookie: t=\(token)")).code == .tokenInvalid)
            let question = gate.snapshot.takeQuestion()
            #expect(question == nil, "and nobody sees it")
            // Where nobody else can be meant, it may be a token of a kind that only its issuer reads.
            #expect(gate.send(get("/asked", "Cookie: t=\(token)")) == .awaitVerdict)
            try accept(iss, at: gate)
            #expect(gate.send(get("/asked", "Cookie: t=\(token)")).user == "u1")
            #expect(gate.send(get("/both", "Cookie: t=\(token)")).code == .tokenInvalid)
        }
    }

    @Test("Each issuer's cookies are used by the pages that this issuer trusts")
    func originsOfTwoIssuers() throws {
        func entry(_ iss: String, _ cookie: String, _ origin: String) -> IssuerEntry {
            IssuerEntry(
                name: iss, spec: IssuerSpec(issuer: iss, audiences: ["a"], keys: .secret(secret)),
                tokenFrom: [.cookie(cookie)], trustedOrigins: [origin])
        }
        // The first two look into one cookie: whose it is shows in the token.
        let issuers = [
            entry("one", "t", "https://one"), entry("two", "t", "https://two"),
            entry("three", "x", "https://three"),
        ]
        let gate = try Gate(
            spec(
                [try route("/a", auth: .required([0, 1, 2])), try route("/b", auth: .optional([0]))],
                issuers: issuers))
        for (iss, cookie) in [("one", "t"), ("two", "t"), ("three", "x")] {
            let token = token(#"{"iss":"\#(iss)","aud":"a","sub":"\#(iss)","exp":\#(now + 600)}"#)
            // Cached, too.
            for origin in ["one", "two", "three", "one", "two", "three"] {
                let outcome = gate.send(
                    get("/a", "Origin: https://\(origin)", "Cookie: \(cookie)=\(token)", method: "POST"))
                #expect(
                    origin == iss ? outcome.user == iss : outcome.code == .originRefused, "\(iss) \(origin)")
            }
            #expect(
                gate.send(get("/a", "Origin: https://h", "Cookie: \(cookie)=\(token)", method: "POST")).user
                    == iss)
        }
        let one = token(#"{"iss":"one","aud":"a","sub":"one","exp":\#(now + 600)}"#)
        #expect(
            gate.send(get("/b", "Origin: https://two", "Cookie: t=\(one)", method: "POST")).code
                == .originRefused)
    }

    @Test("H7: a request that names two pages is from neither")
    func twoPages() throws {
        let gate = try gate([.cookie("t")], origins: ["https://app"])
        for (name, code) in [("Origin", ReasonCode.badRequest), ("Referer", .originRefused)] {
            let evil = "\(name): https://evil/"
            for fields in [[evil, "\(name): https://app"], ["\(name): https://app", evil]] {
                let request = get("/a", fields[0], fields[1], "Cookie: t=\(good)", method: "POST")
                #expect(gate.send(request).code == code)
            }
        }
    }

    @Test("A token that was issued in the last part of a second is revoked with the second behind it")
    func revokedWithinASecond() throws {
        let list = try #require(RevocationList(Array("{\"sub\":{\"u1\":1799999990}}".utf8)))
        for (issued, isRevoked) in [
            ("1799999989.999", true), ("1799999989", true), ("17999999895e-1", true), ("1799999990", false),
            ("1799999990.5", false),
        ] {
            let gate = try gate([.header])
            gate.snapshot.replaceRevocations(list)
            let token = token(sub: "u1", #","iat":\#(issued)"#)
            let outcome = gate.send(get("/a", "Authorization: Bearer \(token)"))
            #expect(outcome.code == (isRevoked ? .tokenInvalid : nil), "\(issued)")
        }
    }

    @Test("A `jti` that is a number is revoked by its digits")
    func revokedNumber() throws {
        let gate = try gate([.header])
        let request = get("/a", "Authorization: Bearer \(token(sub: "u1", #","jti":42"#))")
        for (list, isRevoked) in [(#"{"jti":["43"]}"#, false), (#"{"jti":["42"]}"#, true)] {
            gate.snapshot.replaceRevocations(try #require(RevocationList(Array(list.utf8))))
            #expect(gate.send(request).code == (isRevoked ? .tokenInvalid : nil))
        }
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
