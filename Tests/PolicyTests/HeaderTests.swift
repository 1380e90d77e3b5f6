import Bytes
import HTTP
import JOSE
import Testing

@testable import Policy

@Suite("What goes upstream: the identity, and nothing forged")
struct HeaderTests {
    private func bearer(_ token: String) -> String { "Authorization: Bearer \(token)" }

    /// A route that needs a token, one that may have one, and a public one.
    private func gate(
        headers: [IdentitySpec.Header] = [
            .init(name: "X-User-Id", claim: "sub"), .init(name: "X-User-Email", claim: "email"),
        ],
        authorization: UpstreamAuthorization = .remove, preserveHost: Bool = true, trusted: [String] = []
    ) throws -> Gate {
        try Gate(
            spec(
                [route("/a/**"), route("/optional", auth: .optional([0])), route("/public", auth: .none)],
                identity: IdentitySpec(headers: headers), authorization: authorization,
                preserveHost: preserveHost,
                trusted: trusted))
    }

    @Test(
        "H1, H2: no alias of an identity header arrives beside the real one",
        arguments: [
            "X-User-Id", "x-user-id", "X_User_Id", "x-user_id", "X_USER-ID", "X.User.Id", "X-User.Id",
            "X~User~Id",
            "X!User'Id", "X*User|Id", "X`User^Id", "x+user%id", "X$User#Id", "X&User-Id",
        ])
    func aliases(name: String) throws {
        let gate = try gate()
        let outcome = gate.send(get("/a", "\(name): evil", bearer(token(sub: "u1")), "\(name): evil2"))
        #expect(outcome.values("X-User-Id") == ["u1"])
        guard case .permit(_, _, _, let lines) = outcome else { return }
        #expect(!lines.contains { $0.contains("evil") })
        #expect(lines.contains("X-User-Id: u1"))
    }

    @Test(
        "H3: a claim that is absent leaves no header, not the client's",
        arguments: ["X-User-Email", "X_User_Email"])
    func absentClaim(name: String) throws {
        let gate = try gate()
        let outcome = gate.send(get("/a", "\(name): a@b", bearer(token(sub: "u1"))))
        #expect(outcome.values("X-User-Email") == [])
        #expect(outcome.values("X-User-Id") == ["u1"])
        for empty in [#","email":null"#, #","email":"""#, #","email":[]"#] {
            #expect(
                gate.send(get("/a", "\(name): a@b", bearer(token(sub: "u1", empty)))).values("X-User-Email")
                    == [])
        }
    }

    @Test(
        "U6: credentials that authenticate a connection are told from those of a request",
        arguments: [
            ("NTLM TlRM", true), ("ntlm", true), ("Negotiate YII=", true), ("Nego2 x", true),
            ("kerberos x", true),
            ("Basic dTpw", false), ("Bearer ntlm", false), ("NTL", false), ("", false),
        ])
    func connectionCredentials(credentials: String, binds: Bool) {
        #expect(ConnectionCredentials.matches(Array(credentials.utf8).span) == binds)
    }

    @Test(
        "H4: stripping does not depend on authentication",
        arguments: ["/public", "/optional"],
        [
            "X-User-Id", "X_User_Id", "X-User-Anything", "x-forwarded-user", "Remote-User", "REMOTE_USER",
            "X-Remote-User",
            "X-Auth-Request-Email", "X-Forwarded-Email",
        ])
    func stripEverywhere(path: String, name: String) throws {
        let gate = try gate()
        #expect(gate.send(get(path, "\(name): evil")).values(name) == [])
    }

    @Test(
        "H8: no field tells the backend of another path, whatever the file strips",
        arguments: [
            "SCRIPT_NAME", "Path-Info", "x-script-name", "X-Middleware-Subrequest", "X.Accel.Mapping",
        ])
    func rerouting(name: String) throws {
        let gate = try Gate(spec([route("/public", auth: .none)], identity: IdentitySpec(strip: [])))
        #expect(gate.send(get("/public", "\(name): /public")).values(name) == [])
    }

    @Test("what only looks alike is kept")
    func keeps() throws {
        let gate = try gate()
        let outcome = gate.send(
            get(
                "/public", "X-Users: 1", "XUser-Id: 2", "X-Use-Id: 3", "Remote-Users: 4", "X-Custom: 5",
                "Cookie: c=1"))
        for (name, value) in [
            ("X-Users", "1"), ("XUser-Id", "2"), ("X-Use-Id", "3"), ("Remote-Users", "4"), ("X-Custom", "5"),
            ("Cookie", "c=1"),
        ] {
            #expect(outcome.values(name) == [value])
        }
    }

    @Test("H5: Connection takes the client's own headers away, never ours")
    func nominations() throws {
        let gate = try gate(authorization: .bearer(Array("service".utf8)))
        let outcome = gate.send(
            get(
                "/a", "Connection: close, X-User-Id, Authorization, X-Forwarded-For, Host, X-Mine",
                "X-Mine: 1", "X-Other: 2", bearer(token(sub: "u1"))))
        #expect(outcome.values("X-User-Id") == ["u1"])
        #expect(outcome.values("Authorization") == ["Bearer service"])
        #expect(outcome.values("X-Forwarded-For") == ["192.0.2.7"])
        #expect(outcome.values("Host") == ["h"])
        #expect(outcome.values("X-Mine") == [])
        #expect(outcome.values("Connection") == [])
        #expect(outcome.values("X-Other") == ["2"])
    }

    @Test(
        "H6: a client's claims of a verified certificate are removed, from a trusted proxy too",
        arguments: [
            "X-SSL-Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN", "X_SSL_Client_Cert",
            "X-Client-Cert",
            "X-Client-Cert-Chain", "X-Client-Verify", "Client-Cert", "X-Forwarded-Client-Cert", "XFCC",
            "SSL-Client-Verify", "X-SSL-Cert", "X_SSL_Client",
        ])
    func certificates(name: String) throws {
        for trusted in [[], ["192.0.2.0/24"]] {
            let gate = try gate(trusted: trusted)
            #expect(gate.send(get("/public", "\(name): evil")).values(name) == [])
        }
    }

    @Test(
        "H8: forwarding headers of an untrusted peer are removed or replaced",
        arguments: [
            "X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-Proto", "X-Forwarded-Host", "X.Forwarded.Host",
            "Forwarded",
            "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Original-URL", "X-Rewrite-URL",
            "X_Original_URL",
            "X-HTTP-Method-Override", "X-Method-Override", "X-Real-IP", "True-Client-IP",
            "X-Forwarded-Whatever",
        ])
    func forwarding(name: String) throws {
        let outcome = try gate().send(get("/public", "\(name): evil"))
        guard case .permit(_, _, _, let lines) = outcome else { return #expect(Bool(false)) }
        #expect(!lines.contains { $0.contains("evil") })
        #expect(outcome.values("X-Forwarded-For") == ["192.0.2.7"])
        #expect(outcome.values("X-Forwarded-Proto") == ["http"])
        #expect(outcome.values("X-Forwarded-Host") == ["h"])
        #expect(outcome.values("Forwarded") == [#"for=192.0.2.7;host="h";proto=http"#])
    }

    @Test("what a trusted peer says is kept, and this hop is added")
    func trustedPeer() throws {
        let gate = try gate(trusted: ["192.0.2.0/24", "2001:db8::/32"])
        let outcome = gate.send(
            get(
                "/public", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: site",
                "X-Forwarded-For: 2.2.2.2", "X-Forwarded-Port: 443",
                "X_Forwarded_For: evil"))
        #expect(outcome.values("X-Forwarded-For") == ["1.1.1.1, 2.2.2.2, 192.0.2.7"])
        #expect(outcome.values("X-Forwarded-Proto") == ["https"])
        #expect(outcome.values("X-Forwarded-Host") == ["site"])
        #expect(outcome.values("X-Forwarded-Port") == ["443"])
        #expect(outcome.values("Forwarded") == [])
        let plain = gate.send(get("/public"), from: "2001:db8::9", secure: true)
        #expect(plain.values("X-Forwarded-For") == ["2001:db8::9"])
        #expect(plain.values("X-Forwarded-Proto") == ["https"])
        #expect(plain.values("Forwarded") == [#"for="[2001:db8::9]";host="h";proto=https"#])
        let stranger = gate.send(get("/public", "X-Forwarded-For: 1.1.1.1"), from: "198.51.100.1")
        #expect(stranger.values("X-Forwarded-For") == ["198.51.100.1"])
        let partial = gate.send(get("/public", "X-Forwarded-For: 1.1.1.1"))
        #expect(partial.values("Forwarded") == [])
    }

    @Test(
        "H8: a Forwarded that did not count does not reach the backend",
        arguments: [
            (["X-Forwarded-For: 1.1.1.1"], "for=6.6.6.6", []),
            (["X-Forwarded-Proto: https"], "for=6.6.6.6", []),
            (["X-Forwarded-Host: site"], "for=6.6.6.6", []),
            (["X-Forwarded-Proto: https"], "for=127.0.0.01", []),
            (["X-Forwarded-For: unknown"], "for=_admin", []),
            ([], #"for="6.6.6.6"#, [#"for=192.0.2.7;host="h";proto=http"#]),
            ([], "for=6.6.6.6, =", [#"for=192.0.2.7;host="h";proto=http"#]),
        ])
    func forwardedThatDoesNotCount(older: [String], value: String, expected: [String]) throws {
        let gate = try gate(trusted: ["192.0.2.0/24"])
        for lines in [older + ["Forwarded: \(value)"], ["Forwarded: \(value)"] + older] {
            let request = "GET /public HTTP/1.1\nHost: h\n" + lines.joined(separator: "\n")
            #expect(gate.send(request).values("Forwarded") == expected)
        }
    }

    @Test(
        "a trusted peer may say the same in both kinds",
        arguments: [
            ("for=1.1.1.1", true), ("for=1.1.1.1;proto=HTTPS;host=Site", true),
            ("for=1.1.1.1;proto=http", false), ("for=1.1.1.1;host=other", false), ("proto=https", false),
            ("for=1.1.1.1, for=2.2.2.2", false), ("for=9.9.9.9, for=1.1.1.1", false),
            ("for=1.1.1.1, for=192.0.2.9", true),
        ])
    func bothKinds(value: String, isKept: Bool) throws {
        let outcome = try gate(trusted: ["192.0.2.0/24"]).send(
            get(
                "/public", "Forwarded: \(value)", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https",
                "X-Forwarded-Host: site"))
        #expect(outcome.values("X-Forwarded-For") == ["1.1.1.1, 192.0.2.7"])
        #expect(
            outcome.values("Forwarded") == (isKept ? [value + #", for=192.0.2.7;host="h";proto=http"#] : []))
    }

    @Test("what a trusted peer says in Forwarded alone is said in the older fields, too")
    func trustedPeerSaysForwarded() throws {
        let gate = try gate(trusted: ["192.0.2.0/24"])
        let field =
            #"Forwarded: for=6.6.6.6;proto=http, for="[2001:db8::1]:99";proto=HTTPS;host=site, for=192.0.2.9"#
        let outcome = gate.send(get("/public", field))
        #expect(outcome.values("X-Forwarded-For") == ["2001:db8::1, 192.0.2.7"])
        #expect(outcome.values("X-Forwarded-Proto") == ["https"])
        #expect(
            outcome.values("Forwarded") == [field.dropFirst(11) + #", for=192.0.2.7;host="h";proto=http"#])
        let nobody = gate.send(get("/public", #"Forwarded: for="[::]""#))
        #expect(nobody.values("X-Forwarded-For") == ["192.0.2.7"])
        let unreadable = gate.send(get("/public", "Forwarded: for=unknown"), secure: true)
        #expect(unreadable.values("X-Forwarded-For") == ["192.0.2.7"])
        #expect(unreadable.values("X-Forwarded-Proto") == ["https"])
        let stranger = gate.send(get("/public", field), from: "198.51.100.1")
        #expect(stranger.values("X-Forwarded-For") == ["198.51.100.1"])
        #expect(stranger.values("X-Forwarded-Proto") == ["http"])
    }

    @Test(
        "what a trusted peer may have let through from its client is removed",
        arguments: [
            "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
            "X-Forwarded-Access-Token", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
            "X-Real-IP",
            "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Whatever", "X_Forwarded_Proto",
        ])
    func trustedPeerLetsThrough(name: String) throws {
        let outcome = try gate(trusted: ["192.0.2.7"]).send(get("/public", "\(name): evil"))
        guard case .permit(_, _, _, let lines) = outcome else { return #expect(Bool(false)) }
        #expect(!lines.contains { $0.contains("evil") })
    }

    @Test("a peer on a Unix socket has no address to tell")
    func unixSocket() throws {
        let outcome = try gate().send(get("/public", "X-Forwarded-For: 1.1.1.1"), from: "")
        #expect(outcome.values("X-Forwarded-For") == [])
        #expect(outcome.values("Forwarded") == [#"for=unknown;host="h";proto=http"#])
    }

    @Test("H12: Proxy never goes upstream", arguments: ["Proxy", "PROXY", "proxy"])
    func httpoxy(name: String) throws {
        #expect(try gate().send(get("/public", "\(name): http://evil")).values("Proxy") == [])
    }

    @Test("hop-by-hop and framing fields end here, under aliases too")
    func hopByHop() throws {
        let outcome = try gate().send(
            get(
                "/public", "Keep-Alive: 1", "Proxy-Authorization: x", "TE: trailers", "Upgrade: h2c",
                "Content_Length: 5",
                "Transfer_Encoding: chunked", "Content-Length: 5", "X-Kept: 1", "Proxy_Authorization: y"))
        for name in [
            "Keep-Alive", "Proxy-Authorization", "TE", "Upgrade", "Content-Length", "Transfer-Encoding",
        ] {
            #expect(outcome.values(name) == [], "\(name)")
        }
        #expect(outcome.values("X-Kept") == ["1"])
    }

    @Test(
        "H11: a claim that cannot stand in a header refuses the token",
        arguments: [
            #","email":"a\nX-User-Id: evil""#, #","email":"a\r\nb""#, #","email":"a\u0000""#,
            #","email":"a\tb""#,
            #","email":"a\u0085b""#, #","email":"\u009f""#, #","email":["é","\u0080"]"#,
            #","email":"\#(String(repeating: "é", count: 129))""#, #","email":"\ud800""#, #","email":" a""#,
            #","email":"a ""#, #","email":{"a":1}"#,
            #","email":["a,b"]"#,
            #","email":["a",""]"#, #","email":["a",["b"]]"#, #","email":["a",null]"#,
            #","email":"\#(String(repeating: "x", count: 257))""#,
            #","email":"\u007f""#, #","email":["a\nb"]"#,
        ])
    func refusedClaims(claims: String) throws {
        let gate = try gate()
        for _ in 0..<2 {
            #expect(gate.send(get("/a", bearer(token(sub: "u1", claims)))).code == .tokenInvalid)
        }
        #expect(gate.cachedTokenCount == 0)
    }

    @Test(
        "H11: where the name says that the value is who the user is, it is ASCII, whichever claim it is of",
        arguments: [
            "X-User-Id", "X-User", "x_forwarded_user", "X-Remote-User", "REMOTE-USER", "X-Auth-Request-User",
        ])
    func names(header: String) throws {
        let gate = try gate(headers: [
            .init(name: header, claim: "email"), .init(name: "X-Name", claim: "name"),
        ])
        let good = gate.send(get("/a", bearer(token(sub: "u1", #","email":"a b@c","name":"Zoë""#))))
        #expect(good.values(header) == ["a b@c"] && good.values("X-Name") == ["Zoë"])
        for value in [#""zoë""#, #""a\u200bb""#, #"["a","é"]"#] {
            let outcome = gate.send(get("/a", bearer(token(sub: "u1", #","email":\#(value)"#))))
            #expect(outcome.code == .tokenInvalid, "\(value)")
        }
    }

    @Test("H11: a joined value has a limit of its own")
    func joinedLimit() throws {
        let gate = try gate()
        let element = String(repeating: "r", count: 255)
        let many = Array(repeating: "\"\(element)\"", count: 16).joined(separator: ",")
        #expect(gate.send(get("/a", bearer(token(sub: "u1", #","email":[\#(many)]"#)))).user == "u1")
        let more = many + #","x""#
        #expect(gate.send(get("/a", bearer(token(sub: "u1", #","email":[\#(more)]"#)))).code == .tokenInvalid)
    }

    @Test(
        "claims become text: strings, numbers, booleans, arrays joined by commas; nested and dotted names",
        arguments: [
            (#","email":"a b@c""#, "a b@c"), (#","email":5"#, "5"), (#","email":true"#, "true"),
            (#","email":["a","b"]"#, "a,b"), (#","email":[1,false]"#, "1,false"),
            (#","realm":{"roles":["x","y"]}"#, "x,y"),
            (#","email":"Zoë""#, "Zoë"), (#","email":"Zo\u00eb\u00a0\ud83d\ude00""#, "Zoë\u{a0}😀"),
            (#","email":["é","张伟"]"#, "é,张伟"),
            (
                #","email":"\#(String(repeating: "é", count: 128))""#,
                String(repeating: "é", count: 128)
            ),
            (#","realm.roles":"literal","realm":{"roles":"nested"}"#, "literal"),
        ])
    func values(claims: String, expected: String) throws {
        let path = claims.contains("realm") ? "realm.roles" : "email"
        let gate = try gate(headers: [.init(name: "X-Claim", claim: path)])
        #expect(gate.send(get("/a", bearer(token(sub: "u1", claims)))).values("X-Claim") == [expected])
    }

    @Test("Authorization: removed, forwarded byte by byte, ours, or minted for the user")
    func authorization() throws {
        let good = bearer(token(sub: "u\\\"1"))
        #expect(try gate().send(get("/a", good)).values("Authorization") == [])
        let forwarding = try gate(authorization: .forward)
        #expect(forwarding.send(get("/a", good)).values("Authorization") == [String(good.dropFirst(15))])
        #expect(
            forwarding.send(get("/public", "Authorization:Basic  x")).values("Authorization") == ["Basic  x"])
        let fixed = try gate(authorization: .bearer(Array("s".utf8)))
        #expect(fixed.send(get("/a", good)).values("Authorization") == ["Bearer s"])
        #expect(fixed.send(get("/public", good)).values("Authorization") == ["Bearer s"])
    }

    @Test(
        "a minted token names the verified user, is used again for half of its life, and is nobody's for nobody"
    )
    func minted() throws {
        let mint = MintSpec(
            secret: otherSecret, lifetimeSeconds: 60, claims: [.init(name: "type", value: .string("access"))])
        let gate = try gate(authorization: .mint(mint))
        let request = get("/a", bearer(token(sub: "u1")))
        let first = gate.send(request).values("Authorization")
        let parts = try #require(first.first).split(separator: ".")
        #expect(
            decoded(String(parts[1])) == #"{"sub":"u1","iat":1800000000,"exp":1800000060,"type":"access"}"#)
        let signed = String(try #require(first.first).dropFirst("Bearer ".count))
        let check = try Gate(
            spec(
                [route("/a")],
                issuers: [
                    IssuerEntry(
                        name: "m", spec: IssuerSpec(issuer: nil, audiences: nil, keys: .secret(otherSecret)))
                ]))
        #expect(check.send(get("/a", bearer(signed))).user == "u1")
        #expect(gate.send(request, now: now + 29).values("Authorization") == first)
        #expect(gate.send(request, now: now + 30).values("Authorization") != first)
        let other = gate.send(get("/a", bearer(token(sub: "u2")))).values("Authorization")
        #expect(other.count == 1 && other != first)
        for path in ["/public", "/optional"] {
            #expect(gate.send(get(path)).values("Authorization") == [])
        }
        #expect(gate.send(get("/public", bearer(token(sub: "u1")))).values("Authorization") == [])
    }

    @Test("Host: the client's, or the server's own")
    func host() throws {
        #expect(
            try gate().send(get("/public", host: "Site.example:81")).values("Host") == ["Site.example:81"])
        #expect(try gate(preserveHost: false).send(get("/public")).values("Host") == ["backend:80"])
        #expect(try gate().send("GET /public HTTP/1.0\n").values("Host") == ["backend:80"])
    }

    @Test("Via and X-Request-Id are ours; a client's Via stays before it")
    func via() throws {
        let outcome = try gate().send(
            get(
                "/public", "Via: 1.0 edge", "X-Request-Id: evil", "X_Request_Id: evil", "Expect: 100-continue"
            ))
        #expect(outcome.values("Via") == ["1.0 edge", "1.1 usher"])
        #expect(outcome.values("X-Request-Id") == ["id-1"])
        #expect(outcome.values("Expect") == [])
        #expect(try gate().send("GET /public HTTP/1.0\nHost: h\n").values("Via") == ["1.0 usher"])
    }

    @Test("lines are copied in order; one with other whitespace is written anew")
    func order() throws {
        let outcome = try gate().send(get("/public", "A: 1", "B:2", "X-User-Id: x", "C:  3", "D: 4", "E: 5"))
        guard case .permit(_, _, _, let lines) = outcome else { return #expect(Bool(false)) }
        #expect(Array(lines.prefix(6)) == ["Host: h", "A: 1", "B: 2", "C: 3", "D: 4", "E: 5"])
    }

    @Test(
        "a request line that stands in the buffer already takes no room again", arguments: [false, true])
    func roomBehindTarget(isOneTooMany: Bool) throws {
        let gate = try gate()
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        let path = "/public?" + String(repeating: "q", count: 7_000)
        // The names and fixed texts that the proxy adds take 768 bytes, the rest is counted in the test.
        let added = HeaderWriter.addedByteCount + "id-1".utf8.count + 3 * "h".utf8.count + 2
        let lines = buffer.room - path.utf8.count - added + (isOneTooMany ? 1 : 0)
        let filler = lines - "Host: h\r\nX-Long: \r\n\r\n".utf8.count
        var head = RequestHead(fieldCapacity: 100)
        let (bytes, fault) = parse(get(path, "X-Long: \(String(repeating: "x", count: filler))"), &head)
        #expect(fault == nil)
        let peer = PeerFacts(address: .none, listener: 0, isSecure: false)
        guard
            case .permit(let permit) = gate.snapshot.decide(
                head: head, bytes: bytes.span, peer: peer, now: now)
        else {
            Issue.record("not permitted")
            return
        }
        let isTargetWritten = permit.appendTarget(bytes.span, to: &buffer)
        #expect(isTargetWritten)
        let id = Array("id-1".utf8)
        let isWritten = gate.snapshot.appendUpstreamFields(
            of: head, bytes: bytes.span, permit: permit, peer: peer, certificate: ClientCertificate(),
            requestID: id.span, serverAuthority: Span(), to: &buffer)
        #expect(isWritten == !isOneTooMany)
    }

    @Test("what does not fit is not written at all")
    func room() throws {
        let gate = try gate()
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        var head = RequestHead(fieldCapacity: 100)
        let long = String(repeating: "x", count: 16_000)
        let (bytes, fault) = parse(get("/public", "X-Long: \(long)"), &head)
        #expect(fault == nil)
        let peer = PeerFacts(address: .none, listener: 0, isSecure: false)
        guard
            case .permit(let permit) = gate.snapshot.decide(
                head: head, bytes: bytes.span, peer: peer, now: now)
        else { return #expect(Bool(false)) }
        let isWritten = gate.snapshot.appendUpstreamFields(
            of: head, bytes: bytes.span, permit: permit, peer: peer, certificate: ClientCertificate(),
            requestID: Span(),
            serverAuthority: Span(), to: &buffer)
        #expect(!isWritten)
        let isEmpty = buffer.isEmpty
        #expect(isEmpty)
        let isTargetWritten = permit.appendTarget(bytes.span, to: &buffer)
        #expect(isTargetWritten)
    }

    @Test(
        "an identity header that the proxy needs for itself, or that is there twice, is refused",
        arguments: [
            ["Host"], ["Authorization"], ["Connection"], ["Content-Length"], ["Transfer-Encoding"], ["Proxy"],
            ["Cookie"],
            ["X-Forwarded-For"], ["X Y"], [""], ["X-User-Id", "x_user_id"], ["X-Request-Id"],
        ])
    func badIdentityHeaders(names: [String]) throws {
        #expect(throws: PolicyError.self) {
            _ = try gate(headers: names.map { .init(name: $0, claim: "sub") })
        }
    }

    @Test(
        "a strip pattern is a name with at most a star at its end",
        arguments: ["", "*", "X-*-Y", "X Y*", "X-**"])
    func badStrip(pattern: String) throws {
        #expect(throws: PolicyError.badStripPattern(pattern)) {
            _ = try Gate(spec([], identity: IdentitySpec(strip: [pattern])))
        }
    }
}

@Suite("The way back, trailers and identifiers")
struct ResponseFieldTests {
    private func table(_ fields: [String]) -> (bytes: [UInt8], table: FieldTableBox) {
        let box = FieldTableBox()
        var bytes: [UInt8] = []
        for field in fields {
            let raw = Array(field.utf8)
            let colon = raw.firstIndex(of: UInt8(ascii: ":")) ?? 0
            let start = bytes.count
            bytes += raw + [13, 10]
            let name = ByteRange(start: start, count: colon)
            let known = FieldName.lookUp(bytes.span, name)
            box.add(
                FieldLine(
                    name: known.name, flags: known.flags.union(.canonical), nameRange: name,
                    valueRange: ByteRange(from: start + colon + 2, to: start + raw.count),
                    lineRange: ByteRange(from: start, to: bytes.count)))
        }
        return (bytes, box)
    }

    /// A table that a tuple can hold.
    final class FieldTableBox {
        var fields = FieldTable(capacity: 32)
        func add(_ line: FieldLine) { _ = fields.append(line) }
    }

    private func written(_ body: (inout Buffer) -> Bool) -> String {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        return body(&buffer) ? text(buffer.bytes) : "refused"
    }

    @Test("a request's trailers bear no identity, no framing, no forwarding and no credentials")
    func requestTrailers() throws {
        let gate = try Gate(spec([]))
        let (bytes, box) = table([
            "X-Checksum: 1", "X-User-Id: evil", "x_user_id: evil", "Content-Length: 5", "Host: evil",
            "Authorization: evil",
            "X-Forwarded-For: evil", "Transfer-Encoding: chunked", "Proxy: evil", "X-SSL-Client-Cert: evil",
            "X-Other: 2",
        ])
        let output = written { gate.snapshot.appendUpstreamTrailers(box.fields, bytes: bytes.span, to: &$0) }
        #expect(output == "X-Checksum: 1\r\nX-Other: 2\r\n")
    }

    @Test("an answer's trailers bear no framing and nothing for one hop")
    func responseTrailers() throws {
        let (bytes, box) = table([
            "grpc-status: 0", "Content-Length: 5", "Connection: x", "Trailer: y", "Server-Timing: 3",
        ])
        let output = written { ResponseFields.appendTrailers(box.fields, bytes: bytes.span, to: &$0) }
        #expect(output == "grpc-status: 0\r\nServer-Timing: 3\r\n")
    }

    /// What a client gets of an answer with these fields.
    private func answered(_ lines: [String], isPersonal: Bool = false) -> String {
        var head = ResponseHead(fieldCapacity: 32)
        let (bytes, box) = table(lines)
        #expect(head.begin(status: 200, reason: .empty, version: .http11) == nil)
        for index in 0..<box.fields.count {
            let line = box.fields[index]
            #expect(
                head.add(bytes.span, name: line.nameRange, value: line.valueRange, line: line.lineRange)
                    == nil)
        }
        #expect(head.finish(bytes.span, requestMethod: .get, byteCount: bytes.count) == nil)
        let id = Array("id-1".utf8)
        return written {
            ResponseFields.append(
                of: head, bytes: bytes.span, requestID: id.span, isPersonal: isPersonal, to: &$0)
        }
    }

    @Test("an answer keeps its fields but those for one hop and its framing")
    func response() throws {
        let output = answered([
            "Content-Type: text/plain", "Connection: close, X-Hop", "X-Hop: 1", "Content-Length: 5",
            "Set-Cookie: a=b",
            "Keep-Alive: 1", "X-Request-Id: backend", "Set-Cookie: c=d",
        ])
        #expect(
            output
                == "Content-Type: text/plain\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nVia: 1.1 usher\r\nX-Request-Id: id-1\r\n"
        )
    }

    @Test(
        "an answer that gets somebody's cookies is kept by no cache, whatever the backend says",
        arguments: [
            "Cache-Control: public, max-age=3600", "cache-control: s-maxage=60",
            "Expires: Thu, 01 Dec 2099 16:00:00 GMT",
            "CDN-Cache-Control: max-age=60", "Vercel-CDN-Cache-Control: max-age=60",
            "Surrogate-Control: max-age=60",
            "Edge-Control: cache-maxage=60", "X-Accel-Expires: 60",
        ])
    func personal(line: String) {
        let end = "Via: 1.1 usher\r\nX-Request-Id: id-1\r\n"
        #expect(answered(["ETag: 1", line]) == "ETag: 1\r\n\(line)\r\n" + end)
        #expect(
            answered(["ETag: 1", line], isPersonal: true)
                == "ETag: 1\r\nCache-Control: private, no-store\r\n" + end)
    }

    @Test("whatever else stands in an answer that gets somebody's cookies stays")
    func personalKeepsTheRest() {
        let line = "X-Cache-Control-Of: me\r\nExpires-In: 5\r\nAge: 4\r\nVary: Accept\r\n"
        let output = answered(
            ["X-Cache-Control-Of: me", "Expires-In: 5", "Age: 4", "Vary: Accept"], isPersonal: true)
        #expect(output.hasPrefix(line + "Cache-Control: private, no-store\r\n"))
    }

    @Test(
        "a client's request identifier is taken over where it can stand in a log",
        arguments: [
            ("3f2a-7.b_C", true), (String(repeating: "x", count: 128), true),
            (String(repeating: "x", count: 129), false),
            ("", false), ("a b", false), ("a\"b", false), ("a/b", false), ("ä", false), ("a,b", false),
        ])
    func identifiers(value: String, isAccepted: Bool) {
        #expect(RequestIdentifier.isAcceptable(Array(value.utf8).span) == isAccepted)
        var head = RequestHead(fieldCapacity: 10)
        let (bytes, _) = parse(get("/", "X-Request-Id: \(value)"), &head)
        let range = RequestIdentifier.accepted(of: head, bytes: bytes.span)
        #expect((range != nil) == isAccepted)
        let (other, _) = parse(get("/"), &head)
        #expect(RequestIdentifier.accepted(of: head, bytes: other.span) == nil)
    }
}
