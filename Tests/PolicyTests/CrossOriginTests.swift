import Bytes
import HTTP
import Testing

@testable import Policy

/// What an answer says to the page that asked.
private struct Said: Equatable {
    var status: UInt16
    var code: ReasonCode
    /// The lines for other origins.
    var lines: [String]
    var varies: Bool
    /// The lines for preflights, or the `Location` of a redirect.
    var more: [String]
}

extension Gate {
    /// What the answer to a request says to browsers; a permit has status 0.
    fileprivate func said(_ request: String, answersPreflights: Bool = true) -> Said? {
        var head = RequestHead(fieldCapacity: 100)
        let (bytes, fault) = parse(request, &head)
        guard fault == nil else { return nil }
        let peer = PeerFacts(address: IPAddress(v4: 1), listener: 0, isSecure: false)
        let decision = snapshot.decide(
            head: head, bytes: bytes.span, peer: peer, now: now, answersPreflights: answersPreflights)
        switch decision {
        case .awaitKeys: return nil
        case .awaitVerdict: return nil
        case .permit(let permit):
            return Said(
                status: 0, code: .ok, lines: lines(permit.crossOrigin),
                varies: permit.crossOrigin.variesByOrigin, more: [])
        case .reject(let rejection):
            return Said(
                status: rejection.status, code: rejection.code, lines: lines(rejection.crossOrigin),
                varies: rejection.crossOrigin.variesByOrigin, more: more(rejection, bytes))
        }
    }

    private func lines(_ answer: CrossOriginAnswer) -> [String] {
        split(snapshot.crossOriginText(answer))
    }

    private func more(_ rejection: Rejection, _ bytes: [UInt8]) -> [String] {
        switch rejection.form {
        case .problem: []
        case .preflight: split(written { snapshot.appendPreflight(rejection, to: &$0) })
        case .signIn(let path):
            split(
                written {
                    let path = Array(written { path.append(bytes.span, to: &$0) }.utf8)
                    return snapshot.appendSignIn(rejection, path: path.span, to: &$0)
                })
        }
    }

    private func written(_ write: (inout Buffer) -> Bool) -> String {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        return write(&buffer) ? text(buffer.bytes) : "does not fit"
    }

    private func split(_ text: String) -> [String] {
        text.split(separator: "\r\n").map(String.init)
    }
}

extension PolicySnapshot {
    fileprivate borrowing func crossOriginText(_ answer: CrossOriginAnswer) -> String {
        text(crossOriginLines(answer))
    }
}

private let app = CrossOriginSpec(
    name: "app", origins: ["https://app.example.com", "http://localhost:3000"],
    methods: ["GET", "POST", "DELETE"], headers: ["Authorization", "Content-Type"],
    exposedHeaders: ["X-Request-Id"], allowsCredentials: true, maximumAgeSeconds: 600)
private let everybody = CrossOriginSpec(name: "all", origins: ["*"], methods: ["GET"])

/// `/a/**` and the method-bound `/m` have the rule, `/all` that for everybody, `/plain/**` none.
private func gate(signIn: String? = nil) throws -> Gate {
    var routes = [
        try route("/a/**"), try route("/m", methods: ["DELETE"]), try route("/m", methods: ["GET"]),
        try route("/all", auth: .none), try route("/plain/**"), try route("/denied", scopes: ["s"]),
    ]
    for index in [0, 1, 5] { routes[index].crossOrigin = 0 }
    routes[3].crossOrigin = 1
    routes[0].signIn = signIn
    var policy = spec(routes)
    policy.crossOrigins = [app, everybody]
    return try Gate(policy)
}

private let origin = "Origin: https://app.example.com"
private let granted = [
    "Access-Control-Allow-Origin: https://app.example.com", "Access-Control-Allow-Credentials: true",
    "Access-Control-Expose-Headers: X-Request-Id",
]

@Suite("CORS: which pages may read answers")
struct CrossOriginTests {
    @Test("every answer of a route with a rule says it to a listed origin: the backend's and the proxy's own")
    func answers() throws {
        let gate = try gate()
        let good = "Authorization: Bearer \(token(sub: "u1"))"
        #expect(
            gate.said(get("/a", origin, good))
                == Said(status: 0, code: .ok, lines: granted, varies: true, more: []))
        #expect(gate.said(get("/a", origin))?.lines == granted)
        #expect(gate.said(get("/a", origin))?.status == 401)
        #expect(
            gate.said(get("/denied", origin, good))
                == Said(
                    status: 403, code: .insufficientScope, lines: granted, varies: true, more: []))
        #expect(
            gate.said(get("/a", "Origin: http://localhost:3000"))?.lines.first
                == "Access-Control-Allow-Origin: http://localhost:3000")
        // Caches must know that the answer depends on Origin also where none came.
        #expect(gate.said(get("/a", good)) == Said(status: 0, code: .ok, lines: [], varies: true, more: []))
        #expect(
            gate.said(get("/plain", origin))
                == Said(
                    status: 401, code: .tokenMissing, lines: [], varies: false, more: []))
        #expect(gate.said(get("/none", origin))?.lines == [])
    }

    @Test(
        "an origin that is not listed byte for byte is told nothing",
        arguments: [
            "null", "https://app.example.com.evil.test", "https://evil-app.example.com",
            "https://example.com",
            "http://app.example.com", "https://app.example.com:444", "https://app.example.com:443",
            "https://app.example.com/", "https://APP.example.com", "http://localhost",
            "http://localhost:30000", "*",
            "https://app.example.com https://app.example.com", "",
        ])
    func unlisted(origin: String) throws {
        let gate = try gate()
        let good = "Authorization: Bearer \(token(sub: "u1"))"
        #expect(gate.said(get("/a", "Origin: \(origin)", good))?.lines == [])
        let preflight = gate.said(
            get("/a", "Origin: \(origin)", "Access-Control-Request-Method: GET", method: "OPTIONS"))
        #expect(preflight == Said(status: 403, code: .originRefused, lines: [], varies: true, more: []))
    }

    @Test("a rule for everybody says so always, and varies by nothing")
    func everyOrigin() throws {
        let gate = try gate()
        for fields in [[], ["Origin: https://any.test"], ["Origin: null"]] {
            let request = get("/all") + fields.map { $0 + "\n" }.joined()
            #expect(
                gate.said(request)
                    == Said(
                        status: 0, code: .ok, lines: ["Access-Control-Allow-Origin: *"], varies: false,
                        more: []))
        }
    }

    @Test("a preflight is answered for the route that serves the requested method, without credentials")
    func preflight() throws {
        let gate = try gate()
        let said = gate.said(
            get("/a/b", origin, "Access-Control-Request-Method: POST", method: "OPTIONS"))
        #expect(
            said
                == Said(
                    status: 204, code: .ok, lines: granted, varies: true,
                    more: [
                        "Access-Control-Allow-Methods: GET, POST, DELETE",
                        "Access-Control-Allow-Headers: Authorization, Content-Type",
                        "Access-Control-Max-Age: 600",
                    ]))
        #expect(
            gate.said(get("/m", origin, "Access-Control-Request-Method: DELETE", method: "OPTIONS"))?.status
                == 204)
        // The route of the other method has no rule, and nobody serves OPTIONS there.
        #expect(
            gate.said(get("/m", origin, "Access-Control-Request-Method: GET", method: "OPTIONS"))?.code
                == .noRoute)
        #expect(
            gate.said(get("/none", origin, "Access-Control-Request-Method: GET", method: "OPTIONS"))?.code
                == .noRoute)
    }

    @Test(
        "P7: any other OPTIONS is authenticated like the rest",
        arguments: [
            [], [origin], ["Access-Control-Request-Method: GET"],
            [origin, "Access-Control-Request-Method:"], [origin, "Access-Control-Request-Method: G T"],
            [origin, "Access-Control-Request-Method: TRACE"],
            [origin, "Access-Control-Request-Method: CONNECT"],
            [origin, "Access_Control_Request_Method: GET"],
            [origin, "Access-Control-Request-Method: GET", "Authorization: Bearer x"],
        ])
    func otherOptions(fields: [String]) throws {
        let gate = try gate()
        let request = get("/a", method: "OPTIONS") + fields.map { $0 + "\n" }.joined()
        #expect(gate.said(request)?.status == 401)
    }

    @Test("P7: where 2xx would let a request pass, no preflight is answered")
    func forwardAuthentication() throws {
        let gate = try gate()
        let request = get("/a", origin, "Access-Control-Request-Method: GET", method: "OPTIONS")
        #expect(gate.said(request, answersPreflights: false)?.status == 401)
        #expect(gate.said(request, answersPreflights: false)?.lines == granted)
    }

    @Test("P1: a preflight's path keeps the path rules", arguments: ["/a/../b", "/a%2fb", "//a"])
    func paths(path: String) throws {
        let request = get(path, origin, "Access-Control-Request-Method: GET", method: "OPTIONS")
        #expect(try gate().said(request)?.code == .badRequest)
    }

    @Test("a rule that is unsafe, or whose lines are none, is refused")
    func unsound() throws {
        var rules = [CrossOriginSpec](repeating: app, count: 8)
        rules[0].origins = []
        rules[1].origins = ["*"]
        rules[2].origins = ["*", "https://a"]
        rules[2].allowsCredentials = false
        rules[3].origins = ["https://a\r\nX: y"]
        rules[4].headers = ["*"]
        rules[5].exposedHeaders = [String(repeating: "a", count: 1024)]
        rules[6].maximumAgeSeconds = -1
        rules[7].methods = ["A,B"]
        for rule in rules {
            var policy = spec([try route("/a")])
            policy.crossOrigins = [rule]
            #expect(throws: PolicyError.badCrossOrigin("app")) { try Gate(policy) }
        }
        var policy = spec([try route("/a")])
        policy.routes[0].crossOrigin = 0
        #expect(throws: PolicyError.danglingReference(route: 0)) { try Gate(policy) }
    }

    // MARK: What a backend says

    private func relayed(_ lines: [String], _ answer: CrossOriginAnswer, _ own: String) -> [String] {
        let text = "HTTP/1.1 200 OK\r\n" + lines.map { $0 + "\r\n" }.joined()
        let bytes = Array(text.utf8)
        var head = ResponseHead(fieldCapacity: 20)
        var offset = 17
        _ = head.begin(status: 200, reason: .empty, version: .http11)
        for line in lines {
            let colon =
                line.utf8.firstIndex(of: UInt8(ascii: ":")).map {
                    line.utf8.distance(from: line.utf8.startIndex, to: $0)
                } ?? 0
            _ = head.add(
                bytes.span, name: ByteRange(start: offset, count: colon),
                value: ByteRange(from: offset + colon + 2, to: offset + line.utf8.count),
                line: ByteRange(start: offset, count: line.utf8.count + 2))
            offset += line.utf8.count + 2
        }
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        let (id, owned) = (Array("id".utf8), Array(own.utf8))
        let fits = ResponseFields.append(
            of: head, bytes: bytes.span, requestID: id.span, crossOrigin: answer,
            crossOriginLines: owned.span, to: &buffer)
        #expect(fits)
        return PolicyTests.text(buffer.bytes).split(separator: "\r\n").map(String.init)
    }

    private let listed = CrossOriginAnswer(isRuled: true, variesByOrigin: true, entry: 0)

    @Test("the backend's own fields for other origins make way for the rule's, there is exactly one of each")
    func replaces() {
        let backend = [
            "Access-Control-Allow-Origin: *", "A: 1", "access-control-allow-credentials: true",
            "Access-Control-Expose-Headers: A", "Access-Control-Allow-Methods: GET",
            "Access-Control-Allow-Headers: A", "Access-Control-Max-Age: 1",
            "Access-Control-Allow-Private-Network: true", "B: 2",
        ]
        let own = "Access-Control-Allow-Origin: https://a\r\n"
        #expect(
            relayed(backend, listed, own) == [
                "A: 1", "B: 2", "Vary: Origin", "Access-Control-Allow-Origin: https://a", "Via: 1.1 usher",
                "X-Request-Id: id",
            ])
        // Who is not listed is told nothing, whatever the backend thinks; a route without a rule passes all of it on.
        let unlisted = CrossOriginAnswer(isRuled: true, variesByOrigin: true, entry: -1)
        #expect(relayed(backend, unlisted, "").filter { $0.lowercased().hasPrefix("access-control") } == [])
        #expect(relayed(backend, .none, "").starts(with: backend))
    }

    @Test(
        "Vary is one line that names Origin once",
        arguments: [
            (["Vary: Accept-Encoding"], "Vary: Accept-Encoding, Origin"), (["vary: origin"], "Vary: origin"),
            (["Vary: Accept, ORIGIN"], "Vary: Accept, ORIGIN"), (["Vary: *"], "Vary: *"),
            (["Vary: "], "Vary: Origin"),
            (["Vary: A", "Vary: B"], "Vary: A, B, Origin"), (["Vary: X-Origin"], "Vary: X-Origin, Origin"),
            ([], "Vary: Origin"),
        ])
    func vary(lines: [String], expected: String) {
        let found = relayed(lines, listed, "").filter { $0.lowercased().hasPrefix("vary") }
        #expect(found == [expected])
        let everybody = CrossOriginAnswer(isRuled: true, variesByOrigin: false, entry: 0)
        #expect(relayed(lines, everybody, "").filter { $0.lowercased().hasPrefix("vary") } == lines)
    }
}

@Suite("Browsers are sent to sign in, programs are refused")
struct SignInTests {
    private let page = "https://app.example.com/sign-in"
    private let navigation = "Sec-Fetch-Mode: navigate"

    private func location(_ gate: Gate, _ request: String) -> String? {
        gate.said(request).flatMap { $0.status == 302 ? $0.more.joined(separator: "|") : nil }
    }

    @Test(
        "who navigates without valid credentials is sent to sign in",
        arguments: [
            ["Sec-Fetch-Mode: navigate"],
            ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: cross-site", "Accept: */*"],
            ["Accept: text/html"], ["Accept: application/json, Text/HTML ;q=0.9, */*"],
            ["Sec-Fetch-Mode: navigate", "Authorization: Bearer nonsense"],
        ])
    func navigations(fields: [String]) throws {
        let request = get("/a/b") + fields.map { $0 + "\n" }.joined()
        #expect(location(try gate(signIn: page), request) == "Location: \(page)?return_to=%2Fa%2Fb")
    }

    @Test(
        "programs, scripts of pages and WebSockets are refused with 401",
        arguments: [
            [], ["Accept: */*"], ["Accept: application/json"], ["Accept: text/htmlx"],
            ["Sec-Fetch-Mode: cors", "Accept: text/html"],
            ["Sec-Fetch-Mode: no-cors"], ["Sec-Fetch-Site: same-origin", "Accept: text/html"],
            ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Mode: cors"], ["Sec_Fetch_Mode: navigate"],
            ["Sec-Fetch-Mode: navigate", "Connection: upgrade", "Upgrade: websocket"],
        ])
    func programs(fields: [String]) throws {
        let said = try gate(signIn: page).said(get("/a") + fields.map { $0 + "\n" }.joined())
        #expect(said?.status == 401 && said?.more == [])
    }

    @Test("other methods, other refusals and routes without a page stay as they are")
    func others() throws {
        let gate = try gate(signIn: page)
        for method in ["POST", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            #expect(gate.said(get("/a", navigation, method: method))?.status == 401)
        }
        #expect(gate.said(get("/plain", navigation))?.status == 401)
        #expect(gate.said(get("/none", navigation))?.status == 404)
        #expect(gate.said(get("/a", navigation, "Authorization: Bearer \(token(sub: "u"))"))?.status == 0)
    }

    @Test(
        "F10: the way back is this request's path and query, percent-encoded, whatever Host and target say",
        arguments: [
            (
                "/a/b?x=1&return_to=https://evil.test", "h",
                "%2Fa%2Fb%3Fx%3D1%26return_to%3Dhttps%3A%2F%2Fevil.test"
            ),
            ("/a", "evil.test", "%2Fa"), ("http://evil.test/a?b", "h", "%2Fa%3Fb"),
            ("/a/%C3%A4;x?%0d%0aX:y", "h", "%2Fa%2F%25C3%25A4%3Bx%3F%250d%250aX%3Ay"),
        ])
    func returnPath(target: String, host: String, expected: String) throws {
        let found = location(try gate(signIn: page), get(target, navigation, host: host))
        #expect(found == "Location: \(page)?return_to=\(expected)")
    }

    @Test(
        "F10: what a browser could take for another host is no path",
        arguments: ["//evil.test/a", "/\\evil.test", "/a/..//evil.test"])
    func otherHosts(target: String) throws {
        #expect(try gate(signIn: page).said(get(target, navigation))?.status != 302)
    }

    @Test("a page with a query, a page by path; a path that is too long stays behind")
    func forms() throws {
        #expect(
            location(try gate(signIn: page + "?lang=en"), get("/a", navigation))
                == "Location: \(page)?lang=en&return_to=%2Fa")
        #expect(
            location(try gate(signIn: "/sign-in"), get("/a", navigation))
                == "Location: /sign-in?return_to=%2Fa")
        let long = "/a/" + String(repeating: "x", count: 1022)
        #expect(location(try gate(signIn: page), get(long, navigation)) == "Location: \(page)?return_to=%2F")
    }

    @Test("a token in the query is not sent along")
    func tokenInQuery() throws {
        var policy = spec([try route("/a")], issuers: [issuer()])
        policy.issuers[0].tokenFrom = [.query("token")]
        policy.routes[0].signIn = page
        let gate = try Gate(policy)
        #expect(
            location(gate, get("/a?x=1&token=secret&y=2", navigation))
                == "Location: \(page)?return_to=%2Fa%3Fx%3D1%26y%3D2")
    }

    @Test(
        "a page that is no address, or on an open route, is refused",
        arguments: [
            "", "sign-in", "//evil.test", "javascript:alert(1)", "https://a/#x", "https://a\r\nX: y", "/a\\b",
            "ftp://a",
        ])
    func unsound(page: String) throws {
        #expect(throws: PolicyError.badSignIn(route: 0)) { try gate(signIn: page) }
        var policy = spec([try route("/open", auth: .none)])
        policy.routes[0].signIn = "https://app.example.com/"
        #expect(throws: PolicyError.badSignIn(route: 0)) { try Gate(policy) }
    }
}
