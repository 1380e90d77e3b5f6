import Bytes
import Crypto
import Foundation
import HTTP
import JOSE
import Testing

@testable import Policy

/// A policy with a JWT issuer and a session, and what its server says.
@Suite("Sessions")
struct SessionTests {
    private static let key = Array("a-secret-of-sessions-with-40-characters!".utf8)

    private static func code(_ text: String) -> Data {
        guard let key = HMACKey(algorithm: .hs256, secret: key.span) else { return Data() }
        var code = [UInt8](repeating: 0, count: 32)
        var room = code.mutableSpan
        _ = key.authenticate(Array(text.utf8).span, into: &room)
        return Data(code)
    }

    private static func signed(_ text: String) -> String { text + "." + code(text).base64EncodedString() }

    /// The cookies of a session with a cache in the compact form.
    private func cookies(
        _ token: String = "T", user: String = "alice", of session: String? = nil, ends: Int64 = 600,
        prefix: String = "better-auth"
    ) -> String {
        let payload =
            #"{"session":{"id":"S","token":"\#(session ?? token)","userId":"\#(user)","# + "\""
            + #"expiresAt":"2099-01-01T00:00:00.000Z","createdAt":"2027-01-15T08:00:00.000Z"},"user":{"id":""#
            + user + #"","email":"\#(user)@b.c"},"updatedAt":1,"version":"1"}"#
        let expires = (now + ends) * 1000
        let code = Self.code(payload.dropLast() + ",\"expiresAt\":\(expires)}")
        let outer =
            #"{"session":\#(payload),"expiresAt":\#(expires),"signature":"\#(encoded([UInt8](code)))"}"#
        return "\(tokenCookie(token, prefix)); \(prefix).session_data=\(encoded(Array(outer.utf8)))"
    }

    private func tokenCookie(_ token: String = "T", _ prefix: String = "better-auth") -> String {
        "\(prefix).session_token=\(Self.signed(token))"
    }

    private func gate(
        _ auth: RouteSpec.Authentication = .required([0, 1]), asks: Bool = true,
        _ change: (inout PolicySpec) -> Void = { _ in }
    ) throws -> Gate {
        var policy = spec([try route("/**", auth: auth)])
        policy.sessions = [
            SessionEntry(
                name: "browser", spec: SessionSpec(secrets: [Self.key]), hasSecureCookies: false,
                trustedOrigins: ["https://app.test"], remote: asks ? 0 : nil)
        ]
        policy.remoteSources = [
            RemoteSourceSpec(name: "session.browser", owner: .session(0), cacheForSeconds: 30)
        ]
        policy.identity = IdentitySpec(headers: [
            .init(name: "X-User-Id", claim: "sub"), .init(name: "X-User-Email", claim: "email"),
            .init(name: "X-User-Session", claim: "session.id"),
        ])
        change(&policy)
        return try Gate(policy)
    }

    private func get(_ cookies: String, _ more: String..., method: String = "GET") -> String {
        "\(method) /x HTTP/1.1\nHost: h\nCookie: \(cookies)\n" + more.map { $0 + "\n" }.joined()
    }

    private func answer(
        _ token: String = "T", user: String = "alice", ends: String = "2099-01-01T00:00:00.000Z"
    )
        -> RemoteAnswer.Result
    {
        .accepted(
            Array(
                (#"{"session":{"id":"S","token":"\#(token)","userId":"\#(user)","expiresAt":"\#(ends)"},"#
                    + #""user":{"id":"\#(user)","email":"\#(user)@b.c"}}"#).utf8))
    }

    /// Answers the question that the last decision had; false where there was none.
    private func say(_ result: RemoteAnswer.Result, to gate: Gate, now: Int64 = now) -> Bool {
        guard let question = gate.takeQuestion() else { return false }
        gate.snapshot.note(RemoteAnswer(key: question.key, result: result), now: now)
        return true
    }

    // MARK: The cache

    @Test("The claims are the user's, and the session's by their path")
    func claims() throws {
        let gate = try gate()
        let outcome = gate.send(get("a=1; \(cookies()); b=2"))
        #expect(outcome.user == "alice")
        #expect(outcome.values("x-user-email") == ["alice@b.c"])
        #expect(outcome.values("x-user-session") == ["S"])
        #expect(outcome.values("cookie") == ["a=1; b=2"])
    }

    @Test("A verdict is remembered for the bytes of both cookies, until the cache ends")
    func remembered() throws {
        let gate = try gate(asks: false)
        let request = get(cookies())
        #expect(gate.send(request).user == "alice")
        #expect(gate.send(request).user == "alice")
        #expect(gate.takeTally() == CacheTally(hits: 1, misses: 1, verified: 1))
        #expect(gate.send(request, now: now + 599).user == "alice")
        #expect(gate.send(request, now: now + 600).code == .tokenExpired)
        // J6: another cache, or another token, is another credential.
        #expect(gate.send(get(cookies(user: "bob"))).user == "bob")
        #expect(gate.send(get(cookies().dropLast() + "A")).user == nil)
    }

    @Test("Cookies that are there twice, or do not belong together, are refused")
    func contradictions() throws {
        let gate = try gate()
        #expect(gate.send(get("\(cookies()); \(tokenCookie())")).code == .badRequest)
        #expect(gate.send(get("\(cookies()); \(tokenCookie("U"))")).code == .badRequest)
        #expect(gate.send(get("\(cookies()); better-auth.session_data=x")).code == .badRequest)
        #expect(
            gate.send("GET /x HTTP/1.1\nHost: h\nCookie: \(cookies())\nCookie: \(tokenCookie())").code
                == .badRequest)
        #expect(
            gate.send(get("\(tokenCookie()); better-auth.session_data.0=a; better-auth.session_data.0=a"))
                .code
                == .badRequest)
        // The cache of another session, genuine in itself.
        #expect(gate.send(get(cookies("T", of: "U"))).code == .tokenInvalid)
        #expect(gate.takeQuestion() == nil)
    }

    @Test("Chunks are joined by their numbers, whole or not at all")
    func chunks() throws {
        let gate = try gate(asks: false)
        let (token, data) = try #require(
            cookies().range(of: "; better-auth.session_data=").map {
                (cookies()[..<$0.lowerBound], cookies()[$0.upperBound...])
            })
        func chunk(_ number: String, _ text: Substring) -> String {
            "better-auth.session_data.\(number)=\(text)"
        }
        let (a, b) = (data.prefix(100), data.dropFirst(100))
        #expect(gate.send(get("\(chunk("1", b)); \(token); \(chunk("0", a))")).user == "alice")
        #expect(
            gate.send(get("\(chunk("1", b)); \(token); \(chunk("0", a)); x=1")).values("cookie") == ["x=1"])
        for (first, second) in [("0", "2"), ("1", "2"), ("00", "1"), ("0", "01"), ("0", "1x"), ("0", "")] {
            let request = get("\(token); \(chunk(first, a)); \(chunk(second, b))")
            #expect(gate.send(request).user == nil, "\(first) \(second)")
        }
        // The cookie in one piece wins, as for Better Auth.
        #expect(gate.send(get("\(cookies()); \(chunk("0", "x"))")).user == "alice")
    }

    @Test("The chunks that a second session left behind do not take the place of the first one's")
    func chunksOfTwoSessions() throws {
        let gate = try gate(.required([1, 2]), asks: false) { policy in
            policy.sessions.append(policy.sessions[0])
            policy.sessions[1].name = "other"
            policy.sessions[1].cookiePrefix = "other"
        }
        let whole = cookies()
        let place = try #require(whole.range(of: "; better-auth.session_data="))
        let (token, data) = (whole[..<place.lowerBound], whole[place.upperBound...])
        let own =
            "better-auth.session_data.0=\(data.prefix(100)); better-auth.session_data.1=\(data.dropFirst(100))"
        for left in [
            "other.session_data.0=x", "other.session_data.1=x",
            "other.session_data.0=x; other.session_data.1=y",
        ] {
            #expect(gate.send(get("\(token); \(own); \(left)")).user == "alice", "\(left)")
            #expect(gate.send(get("\(left); \(own); \(token)")).user == "alice", "\(left)")
        }
    }

    @Test("Everything of Better Auth's is taken out, under both names, and nothing else")
    func stripped() throws {
        let gate = try gate()
        let own = [
            "better-auth.account_data=1", "better-auth.account_data.0=1", "better-auth.dont_remember=1",
            "better-auth.session_token_multi-t=1", "better-auth.session_data.7=x",
            "better-auth.admin_session=1", "better-auth.two_factor=1", "better-auth.trust_device=1",
            "__Secure-better-auth.admin_session=1",
        ]
        let others = [
            "better-auth.session_tokens=1", "better-auth.admin_sessions=1", "better-auth.theme=2",
            "xbetter-auth.session_token=3", "a",
        ]
        let request = get((own + others + [cookies()]).joined(separator: "; "))
        #expect(gate.send(request).values("cookie") == [others.joined(separator: "; ")])
        let secure = try self.gate { $0.sessions[0].hasSecureCookies = true }
        let both = "\(cookies(prefix: "__Secure-better-auth")); \(cookies("U", user: "evil"))"
        #expect(secure.send(get(both)).user == "alice")
        #expect(secure.send(get(both)).values("cookie") == [])
        #expect(secure.send(get(cookies())).code == .tokenMissing)
        let other = "\(cookies()); \(cookies("U", user: "evil", prefix: "__Secure-better-auth"))"
        #expect(gate.send(get(other)).user == "alice")
        #expect(gate.send(get(other)).values("cookie") == [])
    }

    @Test(
        "J9: a cache under a secret that nobody has makes no other issuer's keys be fetched",
        arguments: [true, false])
    func unknownSecret(asks: Bool) throws {
        let gate = try gate(asks: asks) { policy in
            policy.issuers[0].spec.keys = .pending
            policy.issuers[0].spec.fetchesKeys = true
        }
        let header = encoded(Array(#"{"alg":"RS256","typ":"JWT","kid":"k"}"#.utf8))
        let payload = encoded(Array(#"{"iss":"i","aud":"a","sub":"u","exp":\#(now + 600)}"#.utf8))
        let bearer = "GET /x HTTP/1.1\nHost: h\nAuthorization: Bearer \(header).\(payload).AAAA"
        #expect(gate.send(bearer) == .awaitKeys(issuer: 0))
        let sealed = encoded(Array(#"{"alg":"dir","enc":"A256CBC-HS512","kid":"k"}"#.utf8))
        let request = get("\(tokenCookie()); better-auth.session_data=\(sealed)..AAAA.AAAA.AAAA")
        #expect(asks ? gate.send(request) == .awaitVerdict : gate.send(request).code == .tokenInvalid)
        let wanted = gate.snapshot.takeWantedKeyIssuer()
        #expect(wanted == nil)
    }

    @Test("Whose cookie it is, is asked again where that has lapsed while a token beside it waited for keys")
    func lapsedMeanwhile() throws {
        let gate = try gate { policy in
            policy.issuers[0].spec.keys = .pending
            policy.issuers[0].spec.fetchesKeys = true
        }
        let header = encoded(Array(#"{"alg":"RS256","typ":"JWT","kid":"k"}"#.utf8))
        let payload = encoded(Array(#"{"iss":"i","aud":"a","sub":"u","exp":\#(now + 600)}"#.utf8))
        let request = get(tokenCookie(), "Authorization: Bearer \(header).\(payload).AAAA")
        #expect(gate.send(request) == .awaitVerdict)
        #expect(say(answer(), to: gate))
        #expect(gate.send(request, round: .again) == .awaitKeys(issuer: 0))
        #expect(gate.send(request, round: .withKeys).code == .keysUnavailable)
        #expect(gate.send(request, round: .withKeys, now: now + 30) == .awaitVerdict)
    }

    @Test("Revoked by the user, and by the session's identifier")
    func revoked() throws {
        for list in [#"{"sub":{"alice":1900000000}}"#, #"{"jti":["S"]}"#] {
            let gate = try gate(asks: false)
            #expect(gate.send(get(cookies())).user == "alice")
            gate.snapshot.replaceRevocations(try #require(RevocationList(Array(list.utf8))))
            #expect(gate.send(get(cookies())).code == .tokenInvalid)
        }
        let gate = try gate(asks: false)
        gate.snapshot.replaceRevocations(
            try #require(RevocationList(Array(#"{"sub":{"alice":1700000000}}"#.utf8))))
        #expect(gate.send(get(cookies())).user == "alice", "it began after that")
    }

    // MARK: The server

    @Test("The server is asked where the cookies cannot answer, and its answer is believed for a while")
    func asked() throws {
        let gate = try gate()
        let request = get("\(tokenCookie()); better-auth.dont_remember=\(Self.signed("true")); x=1")
        #expect(gate.send(request, round: .withKeys) == .awaitVerdict, "nobody was asked about this yet")
        #expect(gate.send(request) == .awaitVerdict)
        let question = try #require(gate.takeQuestion())
        #expect(
            String(decoding: question.text, as: UTF8.self)
                == "\(tokenCookie()); better-auth.dont_remember=\(Self.signed("true"))")
        #expect(question.clientAddress == "192.0.2.7")
        #expect(gate.send(request, round: .last).code == .authenticationUnavailable)
        gate.snapshot.note(RemoteAnswer(key: question.key, result: answer()), now: now)
        #expect(gate.send(request).user == "alice")
        #expect(gate.send(request).values("cookie") == ["x=1"])
        #expect(gate.send(request, now: now + 29).user == "alice")
        #expect(gate.send(request, now: now + 30) == .awaitVerdict)
    }

    @Test("A session ends when the server says so, however long answers are believed")
    func ends() throws {
        let gate = try gate()
        #expect(gate.send(get(tokenCookie())) == .awaitVerdict)
        // 1,800,000,000 is 2027-01-15T08:00:00Z.
        #expect(say(answer(ends: "2027-01-15T09:00:05+01:00"), to: gate))
        #expect(gate.send(get(tokenCookie()), now: now + 4).user == "alice")
        #expect(gate.send(get(tokenCookie()), now: now + 5) == .awaitVerdict)
    }

    @Test(
        "What is no answer about this session is none",
        arguments: [
            (
                #"{"session":{"token":"U","userId":"alice"},"user":{"id":"alice"}}"#,
                ReasonCode.authenticationUnavailable
            ),
            (#"{"session":{"token":"T","userId":"bob"},"user":{"id":"alice"}}"#, .authenticationUnavailable),
            (#"{"session":{"token":"T"},"user":{"id":5}}"#, .authenticationUnavailable),
            (#"{"session":{"token":"T"},"user":{}}"#, .authenticationUnavailable),
            (#"{"session":{"token":"T"},"user":{"id":"a,b"}}"#, .authenticationUnavailable),
            (#"{"session":{"token":"T"},"user":{"id":"a","id":"b"}}"#, .authenticationUnavailable),
            (#"{"session":null,"user":null}"#, .authenticationUnavailable), ("{", .authenticationUnavailable),
            (#"{"session":{"token":"T","expiresAt":"soon"},"user":{"id":"a"}}"#, .authenticationUnavailable),
            (
                #"{"session":{"token":"T","expiresAt":"2020-01-01T00:00:00.000Z"},"user":{"id":"a"}}"#,
                .tokenInvalid
            ),
        ])
    func lies(text: String, code: ReasonCode) throws {
        let gate = try gate()
        #expect(gate.send(get(tokenCookie())) == .awaitVerdict)
        #expect(say(.accepted(Array(text.utf8)), to: gate))
        #expect(gate.send(get(tokenCookie())).code == code)
    }

    @Test("A no is remembered for 5 seconds, and that nobody could tell for 1")
    func denials() throws {
        let gate = try gate()
        #expect(gate.send(get(tokenCookie())) == .awaitVerdict)
        #expect(say(.refused, to: gate))
        #expect(gate.send(get(tokenCookie()), now: now + 4).code == .tokenInvalid)
        #expect(gate.send(get(tokenCookie("U")), now: now + 4) == .awaitVerdict, "another session")
        #expect(say(.unavailable, to: gate))
        #expect(gate.send(get(tokenCookie("U"))).code == .authenticationUnavailable)
        #expect(gate.send(get(tokenCookie("U")), now: now + 1) == .awaitVerdict)
        #expect(gate.send(get(tokenCookie()), now: now + 5) == .awaitVerdict)
    }

    @Test("A no counts at once, though a yes of before is remembered")
    func noAfterYes() throws {
        let gate = try gate()
        #expect(gate.send(get(tokenCookie())) == .awaitVerdict)
        let question = try #require(gate.takeQuestion())
        gate.snapshot.note(RemoteAnswer(key: question.key, result: answer()), now: now)
        // As when two workers ask the same.
        gate.snapshot.note(RemoteAnswer(key: question.key, result: answer()), now: now)
        #expect(gate.send(get(tokenCookie())).user == "alice")
        let unknown = gate.snapshot.note(RemoteAnswer(key: question.key, result: .unavailable), now: now)
        #expect(unknown == nil)
        #expect(gate.send(get(tokenCookie())).user == "alice", "a server that is down takes nothing back")
        let mark = gate.snapshot.note(RemoteAnswer(key: question.key, result: .refused), now: now)
        #expect(mark != nil && mark != 0)
        #expect(gate.send(get(tokenCookie())).code == .tokenInvalid)
        #expect(gate.cachedTokenCount == 0)
    }

    @Test("J5: the answer of a server that is asked otherwise now is dropped")
    func stale() throws {
        let gate = try gate { $0.remoteSources[0].stamp = 2 }
        #expect(gate.send(get(tokenCookie())) == .awaitVerdict)
        let question = try #require(gate.takeQuestion())
        let older = RemoteKey(source: "session.browser", stamp: 1, credential: question.key.credential)
        gate.snapshot.note(RemoteAnswer(key: older, result: answer()), now: now)
        #expect(gate.send(get(tokenCookie())) == .awaitVerdict)
    }

    @Test("A forged cookie is asked about by nobody")
    func forged() throws {
        let gate = try gate()
        #expect(gate.send(get(tokenCookie() + "x")).code == .tokenInvalid)
        #expect(gate.send(get("better-auth.session_token=T")).code == .tokenInvalid)
        #expect(gate.takeQuestion() == nil)
    }

    // MARK: Bearers

    @Test("A bearer is a session token or a JWT by its dots; the server is shown it as it came")
    func bearers() throws {
        let gate = try gate()
        func send(_ text: String) -> Outcome {
            gate.send("GET /x HTTP/1.1\nHost: h\nAuthorization: Bearer \(text)")
        }
        #expect(send(token(sub: "carol")).user == "carol")
        #expect(send(Self.signed("T").replacingOccurrences(of: "=", with: "")) == .awaitVerdict)
        #expect(send("T") == .awaitVerdict)
        #expect(gate.takeQuestion()?.form == .bearer)
        #expect(send("T") == .awaitVerdict && say(answer(), to: gate))
        #expect(send("T").user == "alice")
        #expect(gate.send(get("T=T")).code == .tokenMissing)
        #expect(send(Self.signed("T") + "x").code == .tokenInvalid)
        #expect(gate.send("GET /x HTTP/1.1\nHost: h\nAuthorization: Basic T").code == .tokenMissing)
        let alone = try self.gate(.required([1]))
        #expect(
            alone.send("GET /x HTTP/1.1\nHost: h\nAuthorization: Bearer \(token(sub: "carol"))").code
                == .tokenInvalid)
    }

    @Test("A bearer and cookies of another user are 400; of the same, or of nobody, they do no harm")
    func both() throws {
        let gate = try gate(asks: false)
        func send(_ bearer: String, _ cookies: String) -> Outcome {
            gate.send(get(cookies, "Authorization: Bearer \(bearer)", method: "POST"))
        }
        #expect(send(token(sub: "bob"), cookies()).code == .badRequest)
        #expect(send(token(sub: "alice"), cookies()).user == "alice")
        #expect(send(token(sub: "bob"), tokenCookie("gone")).user == "bob")
        #expect(send(token(sub: "bob"), tokenCookie("gone")).values("cookie") == [])
        #expect(
            send("a.b.c", cookies()).code == .tokenInvalid, "J15: a bad token is not made good by a cookie")
        #expect(send(token(sub: "bob"), "\(cookies()); \(tokenCookie())").code == .badRequest)
    }

    @Test("Cookies and a bearer are both known, however little is remembered")
    func bothWithoutRoom() throws {
        let gate = try gate { $0.tokensCached = 1 }
        let request = get(tokenCookie(), "Authorization: Bearer T")
        for _ in 0..<2 {
            #expect(gate.send(request) == .awaitVerdict && say(answer(), to: gate))
        }
        #expect(gate.send(request).user == "alice")
    }

    // MARK: Origins

    @Test(
        "What does more than read needs a trusted page",
        arguments: [
            ("GET", [], true), ("HEAD", [], true), ("OPTIONS", [], true), ("POST", [], false),
            ("DELETE", ["Origin: https://app.test"], true), ("PUT", ["Origin: https://APP.test"], true),
            ("POST", ["Origin: https://evil.test"], false), ("POST", ["Origin: null"], false),
            ("POST", ["Origin: http://app.test"], false), ("POST", ["Origin: https://app.test:8443"], false),
            ("POST", ["Origin: https://app.test.evil.test"], false), ("POST", ["Origin: http://h"], false),
            ("POST", ["Referer: https://app.test/page?x"], true),
            ("POST", ["Referer: https://app.test"], true),
            ("POST", ["Referer: https://evil.test/https://app.test/"], false),
            ("POST", ["Referer: https://app.test@evil.test/"], false),
            ("POST", ["Origin: https://evil.test", "Referer: https://app.test/"], false),
            ("POST", ["Referer: https://app.test/", "Referer: https://evil.test/"], false),
            ("POST", ["Origin: https://other.test"], false),
            ("GET", ["Connection: upgrade", "Upgrade: websocket"], false),
            ("GET", ["Connection: upgrade", "Upgrade: websocket", "Origin: https://evil.test"], false),
            ("GET", ["Connection: upgrade", "Upgrade: websocket", "Origin: https://app.test"], true),
        ])
    func origins(method: String, fields: [String], passes: Bool) throws {
        // Whom others trust is nothing to this session.
        let gate = try gate { policy in
            policy.issuers[0].trustedOrigins = ["https://other.test"]
            policy.sessions.append(policy.sessions[0])
            policy.sessions[1].cookiePrefix = "other"
            policy.sessions[1].trustedOrigins = ["https://other.test"]
        }
        let request =
            "\(method) /x HTTP/1.1\nHost: h\nCookie: \(cookies())\n" + fields.map { $0 + "\n" }.joined()
        let outcome = gate.send(request)
        #expect(outcome.user == (passes ? "alice" : nil), "\(outcome)")
        #expect(outcome.code == (passes ? nil : .originRefused))
    }

    @Test("An optional route knows nobody without cookies, and refuses bad ones (J15)")
    func optional() throws {
        let gate = try gate(.optional([1]), asks: false)
        #expect(gate.send(get("a=1")).user == "")
        #expect(gate.send(get(cookies())).user == "alice")
        #expect(gate.send(get(tokenCookie() + "x")).code == .tokenInvalid)
    }

    @Test("J15: DPoP where nobody takes proofs is neither nobody nor a session's", arguments: [true, false])
    func unread(isOptional: Bool) throws {
        let gate = try gate(isOptional ? .optional([0, 1]) : .required([0, 1]), asks: false)
        for cookie in [[], ["Cookie: \(cookies())"]] {
            let lines = (["GET /x HTTP/1.1", "Host: h", "Authorization: DPoP a.b.c"] + cookie).map {
                $0 + "\n"
            }
            #expect(gate.send(lines.joined()).code == .tokenMissing)
        }
    }

    @Test("J15: a bearer that none of the route's issuers reads is neither nobody nor beside anybody")
    func unreadBearer() throws {
        let gate = try gate(.optional([0, 1]), asks: false) { policy in
            policy.issuers[0].tokenFrom = [.cookie("t")]
        }
        let (alice, bob) = (PolicyTests.token(sub: "alice"), PolicyTests.token(sub: "bob"))
        #expect(gate.send(get("a=1", "Authorization: Bearer \(alice)")).code == .tokenInvalid)
        #expect(gate.send(get(cookies(), "Authorization: Bearer \(bob)")).code == .tokenInvalid)
        #expect(gate.send(get("t=\(alice)", "Authorization: Bearer \(bob)")).code == .badRequest)
        #expect(gate.send(get("t=\(alice)", "Authorization: Bearer \(alice)")).user == "alice")
        #expect(gate.send(get("t=\(alice)")).user == "alice")
    }

    @Test("A session whose cookies are not looked at keeps them")
    func open() throws {
        let gate = try gate(.none)
        #expect(gate.send(get(cookies())).values("cookie") == [cookies()])
    }
}

extension CacheTally {
    fileprivate init(hits: Int, misses: Int) {
        self.init()
        self.hits = hits
        self.misses = misses
    }
}

extension Gate {
    fileprivate func takeQuestion() -> RemoteQuestion? { snapshot.takeQuestion() }

    fileprivate func takeTally() -> CacheTally { snapshot.takeCacheTally() }
}
