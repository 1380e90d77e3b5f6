import HTTP
import JOSE
import Testing

@testable import Policy

@Suite("Who sends it: authentication and authorization")
struct AuthenticateTests {
    private func bearer(_ token: String) -> String { "Authorization: Bearer \(token)" }

    @Test(
        "the scheme is Bearer in any case, with one token behind it",
        arguments: [
            ("Bearer T", nil), ("bearer T", nil), ("BEARER T", nil), ("bEaReR   T", nil),
            ("Basic dTpw", ReasonCode.tokenMissing), ("BearerX T", .tokenMissing), ("T", .tokenMissing),
            ("Bearer", .tokenMissing), ("Bearer T T", .tokenInvalid), ("Bearer T,T", .tokenInvalid),
            ("Bearer T, Basic x", .tokenInvalid), ("Bearer,T", .tokenInvalid), ("", .tokenMissing),
        ] as [(String, ReasonCode?)])
    func schemes(field: String, code: ReasonCode?) throws {
        let snapshot = try Gate(spec([route("/a")]))
        let field = field.replacing("T", with: token(sub: "u1"))
        let outcome = snapshot.send(get("/a", "Authorization: \(field)"))
        #expect(outcome.code == code)
        #expect(outcome.user == (code == nil ? "u1" : nil))
    }

    @Test("H7: two Authorization lines are 400, on a public route too", arguments: ["/a", "/public"])
    func twoAuthorizations(path: String) throws {
        let snapshot = try Gate(spec([route("/a"), route("/public", auth: .none)]))
        let good = bearer(token(sub: "u1"))
        #expect(snapshot.send(get(path, good, good)).code == .badRequest)
        #expect(snapshot.send(get(path, good, "authorization: Basic x")).code == .badRequest)
    }

    @Test("a missing token is 401 without error, a bad one with invalid_token, an expired one says so")
    func challenges() throws {
        let snapshot = try Gate(spec([route("/a", scopes: ["tasks:read", "x"])]))
        let missing = try #require(snapshot.rejection(get("/a")))
        #expect(missing.0.status == 401)
        #expect(missing.challenge == #"Bearer realm="usher""#)
        let bad = try #require(snapshot.rejection(get("/a", bearer(token(sub: "u1", secret: otherSecret)))))
        #expect(bad.0.code == .tokenInvalid)
        #expect(bad.0.refusal == .badSignature)
        #expect(bad.challenge.hasPrefix(#"Bearer realm="usher", error="invalid_token""#))
        let old = try #require(snapshot.rejection(get("/a", bearer(token(sub: "u1", expires: now - 31)))))
        #expect(old.0.code == .tokenExpired)
        #expect(old.challenge.contains("expired"))
        let few = try #require(snapshot.rejection(get("/a", bearer(token(sub: "u1", #","scope":"x y""#)))))
        #expect(few.0.status == 403)
        #expect(few.challenge == #"Bearer realm="usher", error="insufficient_scope", scope="tasks:read x""#)
    }

    @Test("J21: bad signature, wrong audience and unknown issuer are told apart in the log alone")
    func sameAnswer() throws {
        let snapshot = try Gate(spec([route("/a")]))
        let tokens = [
            token(sub: "u1", secret: otherSecret),
            token(#"{"iss":"i","aud":"b","sub":"u1","exp":1800000600}"#),
            token(#"{"iss":"j","aud":"a","sub":"u1","exp":1800000600}"#),
            token(#"{"iss":"i","aud":"a","sub":"u1","exp":1799999000}"#, secret: otherSecret),
        ]
        var refusals: Set<UInt8> = []
        var challenges: Set<String> = []
        for token in tokens {
            let (rejection, challenge) = try #require(snapshot.rejection(get("/a", bearer(token))))
            #expect(rejection.code == .tokenInvalid)
            refusals.insert(try #require(rejection.refusal).rawValue)
            challenges.insert(challenge)
        }
        #expect(refusals.count == 3)
        #expect(challenges.count == 1)
    }

    @Test("a token above the limit is refused unread")
    func tooLarge() throws {
        var small = spec([try route("/a")])
        small.tokenBytes = 64
        let snapshot = try Gate(small)
        let rejection = try #require(snapshot.rejection(get("/a", bearer(token(sub: "u1")))))
        #expect(rejection.0.refusal == .tooLarge)
    }

    @Test("J15: on an optional route no token is nobody, and anything else must be good")
    func optional() throws {
        let snapshot = try Gate(spec([route("/a", auth: .optional([0]))]))
        #expect(snapshot.send(get("/a")).user == "")
        #expect(snapshot.send(get("/a", bearer(token(sub: "u1")))).user == "u1")
        for field in [
            "Bearer", "Bearer x", "Basic dTpw", "Negotiate x", "",
            "Bearer \(token(sub: "u", secret: otherSecret))",
        ] {
            let code = snapshot.send(get("/a", "Authorization: \(field)")).code
            #expect(code == .tokenInvalid || code == .tokenMissing, "\(field)")
        }
        #expect(snapshot.send(get("/a", bearer(token(sub: "u1", expires: now - 60)))).code == .tokenExpired)
    }

    @Test("a public route asks nobody, and knows nobody, whatever the token")
    func none() throws {
        let snapshot = try Gate(spec([route("/a", auth: .none)]))
        for field in [bearer(token(sub: "u1")), bearer("nonsense"), "Authorization: Basic x"] {
            let outcome = snapshot.send(get("/a", field))
            #expect(outcome.user == "")
            #expect(outcome.values("X-User-Id") == [])
            #expect(outcome.values("Authorization") == [])
        }
    }

    @Test("P7: OPTIONS is authenticated like any other method")
    func options() throws {
        let snapshot = try Gate(spec([route("/a")]))
        #expect(snapshot.send(get("/a", method: "OPTIONS")).code == .tokenMissing)
        #expect(snapshot.send(get("/a", "Origin: https://x", method: "OPTIONS")).code == .tokenMissing)
    }

    @Test(
        "H8, H10: no header of the client exempts or reroutes a request",
        arguments: [
            "User-Agent: kube-probe/1.29", "User-Agent: GoogleHC/1.0", "X-Forwarded-Uri: /public",
            "X-Forwarded-Prefix: /public", "X-Original-URL: /public", "X-Rewrite-URL: /public",
            "X-HTTP-Method-Override: PURGE", "X-Forwarded-Host: public", "X-Forwarded-Method: PURGE",
            "X-Forwarded-For: 127.0.0.1", "Forwarded: host=public", "X-Forwarded-Proto: https",
        ])
    func clientHeaders(field: String) throws {
        let snapshot = try Gate(
            spec(
                [
                    route("/a"), route("/a", methods: ["PURGE"], auth: .none), route("/public", auth: .none),
                    route("/{x}", hosts: ["public"], auth: .none),
                ], trusted: ["192.0.2.7"]))
        #expect(snapshot.send(get("/a", field)).code == .tokenMissing)
    }

    @Test(
        "J4, J5: one token on two routes with different issuers has independent answers, cache warm both ways"
    )
    func twoIssuerSets() throws {
        let snapshot = try Gate(
            spec(
                [
                    route("/a", auth: .required([0])), route("/b", auth: .required([1])),
                    route("/ab", auth: .required([0, 1])),
                ],
                issuers: [issuer(), issuer("other", iss: "j", secret: otherSecret)]))
        let ofMain = bearer(token(sub: "u1"))
        let ofOther = bearer(
            token(#"{"iss":"j","aud":"a","sub":"u2","exp":1800000600}"#, secret: otherSecret))
        let forged = bearer(token(#"{"iss":"j","aud":"a","sub":"u2","exp":1800000600}"#, secret: secret))
        for _ in 0..<2 {
            #expect(snapshot.send(get("/a", ofMain)).user == "u1")
            #expect(snapshot.send(get("/b", ofMain)).code == .tokenInvalid)
            #expect(snapshot.send(get("/b", ofOther)).user == "u2")
            #expect(snapshot.send(get("/a", ofOther)).code == .tokenInvalid)
            #expect(snapshot.send(get("/ab", ofMain)).user == "u1")
            #expect(snapshot.send(get("/ab", ofOther)).user == "u2")
            #expect(snapshot.send(get("/ab", forged)).code == .tokenInvalid)
        }
    }

    @Test(
        "require compares a claim with the captures of the path",
        arguments: [
            ("/api/u1/tasks", "u1", true), ("/api/u2/tasks", "u1", false), ("/api/U1/tasks", "u1", false),
            ("/api/u1x/tasks", "u1", false), ("/api/u/tasks", "u1", false),
            ("/api/auth0%7C1/tasks", "auth0|1", true),
            ("/api/auth0%7c1/tasks", "auth0|1", true), ("/api/auth0%7C2/tasks", "auth0|1", false),
            ("/api/u1/tasks/7", "u1", true),
        ])
    func ownership(path: String, sub: String, isAllowed: Bool) throws {
        let snapshot = try Gate(
            spec([route("/api/{user_id}/tasks/**", require: [[needs("sub", "{user_id}")]])]))
        let outcome = snapshot.send(get(path, bearer(token(sub: sub))))
        #expect(outcome.code == (isAllowed ? nil : .notYours))
    }

    @Test(
        "all entries of one of the tables must hold; a list value, and an array claim, are any of",
        arguments: [
            (#","role":"admin""#, true), (#","role":["user","admin"]"#, true), (#","role":"user""#, false),
            (#","role":"staff","level":5"#, true), (#","role":"staff","level":"5""#, true),
            (#","role":"staff","level":50"#, false), (#","role":"staff""#, false), (#","role":null"#, false),
            (#","role":{"admin":true}"#, false), (#","role":[["admin"]]"#, false),
            (#","role":"Admin""#, false),
            (#","role":"admin ""#, false), ("", false), (#","realm":{"vip":true}"#, true),
            (#","realm.vip":true"#, true), (#","realm":{"vip":false}"#, false),
        ])
    func tables(claims: String, isAllowed: Bool) throws {
        let admin = Requirement(
            claim: "role", anyOf: [RequiredValue(literal: "admin"), RequiredValue(literal: "root")])
        let staff = [try needs("role", "staff"), try needs("level", "5")]
        let snapshot = try Gate(
            spec([route("/a", require: [[admin], staff, [needs("realm.vip", "true")]], denied: .notFound)]))
        let outcome = snapshot.send(get("/a", bearer(token(sub: "u1", claims))))
        #expect(outcome.code == (isAllowed ? nil : .notFound))
    }

    @Test("requirements of several routes are kept apart in one cached token")
    func severalRoutes() throws {
        let snapshot = try Gate(
            spec([
                route("/a", require: [[needs("role", "a")]]), route("/b", require: [[needs("tier", "b")]]),
                route("/c", require: [[needs("role", "c"), needs("tier", "b")]]),
            ]))
        let good = bearer(token(sub: "u1", #","role":["a","x"],"tier":"b""#))
        for _ in 0..<2 {
            #expect(snapshot.send(get("/a", good)).user == "u1")
            #expect(snapshot.send(get("/b", good)).user == "u1")
            #expect(snapshot.send(get("/c", good)).code == .notYours)
        }
        #expect(snapshot.cachedTokenCount == 1)
    }

    @Test("nobody meets no requirement: an optional route that has some wants a token")
    func optionalWithRequirement() throws {
        let snapshot = try Gate(
            spec([route("/{u}", auth: .optional([0]), require: [[needs("sub", "{u}")]])]))
        #expect(snapshot.send(get("/u1")).code == .tokenMissing)
        #expect(snapshot.send(get("/u1", bearer(token(sub: "u1")))).user == "u1")
    }

    @Test(
        "scopes come from scope, scp or scopes, as a string or an array; all are needed",
        arguments: [
            (#","scope":"a b c""#, true), (#","scp":["b","a"]"#, true), (#","scopes":["a"],"scp":"b""#, true),
            (#","scope":"a""#, false), (#","scope":"ab""#, false), (#","scope":"a bb""#, false), ("", false),
            (#","scope":{"a":1,"b":1}"#, false), (#","scope":["a",["b"]]"#, false),
            (#","scope":"A B""#, false), (#","scope":["a b"]"#, false), (#","scopes":["a b","a"]"#, false),
            (#","scp":["a b","b","a"]"#, true),
        ])
    func scopes(claims: String, isAllowed: Bool) throws {
        let snapshot = try Gate(spec([route("/a", scopes: ["a", "b"])]))
        let outcome = snapshot.send(get("/a", bearer(token(sub: "u1", claims))))
        #expect(outcome.code == (isAllowed ? nil : .insufficientScope))
    }

    @Test("the log learns who was refused, where the token is good")
    func refusedSubject() throws {
        let gate = try Gate(spec([route("/{u}", require: [[needs("sub", "{u}")]])]))
        let (rejection, _) = try #require(gate.rejection(get("/u2", bearer(token(sub: "u1")))))
        #expect(gate.subject(of: rejection) == "u1")
        let (unknown, _) = try #require(gate.rejection(get("/u2")))
        #expect(gate.subject(of: unknown) == "")
        gate.snapshot.cache.removeAll()
        #expect(gate.subject(of: rejection) == "")
    }

    @Test("keys that never came are 503, not 401")
    func pending() throws {
        let entry = IssuerEntry(
            name: "main", spec: IssuerSpec(issuer: "i", audiences: ["a"], keys: .pending, algorithms: nil))
        let snapshot = try Gate(spec([route("/a")], issuers: [entry]))
        let outcome = snapshot.send(
            get(
                "/a",
                bearer(
                    token(sub: "u1", secret: secret).replacing(
                        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", with: encoded(Array(#"{"alg":"ES256"}"#.utf8))
                    ))))
        #expect(outcome.code == .keysUnavailable)
    }

    @Test("an unknown key may be waited for, where keys are fetched, and another one in vain")
    func awaitingKeys() throws {
        var remote = IssuerSpec(issuer: "i", audiences: ["a"], keys: .pending, algorithms: nil)
        remote.fetchesKeys = true
        let header = encoded(Array(#"{"alg":"EdDSA","kid":"b"}"#.utf8))
        let request = get(
            "/a",
            bearer(
                token(sub: "u1", secret: secret).replacing(
                    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", with: header)))
        let empty = try Gate(spec([route("/a")], issuers: [IssuerEntry(name: "main", spec: remote)]))
        #expect(empty.send(request) == .awaitKeys(issuer: 0))
        #expect(empty.send(request, round: .again) == .awaitKeys(issuer: 0))
        #expect(empty.send(request, round: .withKeys).code == .keysUnavailable, "once")
        #expect(empty.send(request, round: .last).code == .keysUnavailable)

        let key =
            #"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"KID","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#
        remote.keys = .jwks(Array(key.replacing("KID", with: "a").utf8))
        let other = try Gate(spec([route("/a")], issuers: [IssuerEntry(name: "main", spec: remote)]))
        #expect(other.send(request) == .awaitKeys(issuer: 0))
        #expect(other.send(request, round: .last).code == .tokenInvalid)

        // The key is there, and did not make this signature: nothing can change that.
        remote.keys = .jwks(Array(key.replacing("KID", with: "b").utf8))
        let same = try Gate(spec([route("/a")], issuers: [IssuerEntry(name: "main", spec: remote)]))
        #expect(same.send(request).code == .tokenInvalid)
        // Keys from a file do not come later.
        remote.fetchesKeys = false
        remote.keys = .jwks(Array(key.replacing("KID", with: "a").utf8))
        let file = try Gate(spec([route("/a")], issuers: [IssuerEntry(name: "main", spec: remote)]))
        #expect(file.send(request).code == .tokenInvalid)
    }
}
