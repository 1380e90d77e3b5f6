import Bytes
import Crypto
import HTTP
import Testing

@testable import JOSE
@testable import Policy

@Suite("Proof of possession")
struct PossessionTests {
    static let privateKey = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
        -----END PRIVATE KEY-----

        """
    static let jwk = #"{"kty":"OKP","crv":"Ed25519","x":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"}"#
    static let thumbprint = "UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4"
    static let other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

    private func gate(
        _ dpop: DPoPSpec? = DPoPSpec(isRequired: false), trusted: [String] = [],
        authorization: UpstreamAuthorization = .remove, auth: RouteSpec.Authentication = .required([0]),
        memory: ProofMemory? = nil
    ) throws -> Gate {
        var entry = issuer()
        entry.dpop = dpop
        return try Gate(
            PolicyTests.spec(
                [try route("/a", auth: auth), try route("/open", auth: .none)], issuers: [entry],
                authorization: authorization, trusted: trusted), sharing: memory)
    }

    private func bound(_ cnf: String = #"{"jkt":"\#(PossessionTests.thumbprint)"}"#) -> String {
        token(sub: "u1", #","cnf":\#(cnf)"#)
    }

    private func proof(
        _ token: String, method: String = "GET", target: String = "http://h/a", at second: Int64 = now,
        identifier: String = "1", more: String = ""
    ) throws -> String {
        var function = SHA256()
        let digest = function.hash(Array(token.utf8).span)
        var bytes: [UInt8] = []
        for word in [digest.words.0, digest.words.1, digest.words.2, digest.words.3] {
            for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: word.littleEndian >> (8 * shift))) }
        }
        let claims =
            #"{"jti":"\#(identifier)","htm":"\#(method)","htu":"\#(target)","iat":\#(second),"#
            + #""ath":"\#(encoded(bytes))"\#(more)}"#
        let signer = try CompactTokenSigner(
            algorithm: .edDSA, key: .privateKeyPEM(Array(Self.privateKey.utf8)))
        let header = #"{"typ":"dpop+jwt","alg":"EdDSA","jwk":\#(Self.jwk)}"#
        return String(
            decoding: try signer.sign(header: Array(header.utf8).span, payload: Array(claims.utf8).span),
            as: UTF8.self)
    }

    private func fields(_ token: String, _ proof: String) -> [String] {
        ["Authorization: DPoP \(token)", "DPoP: \(proof)"]
    }

    private func ask(_ fields: [String], path: String = "/a", method: String = "GET", host: String = "h")
        -> String
    {
        "\(method) \(path) HTTP/1.1\nHost: \(host)\n" + fields.map { $0 + "\n" }.joined()
    }

    /// The log's detail of a refusal; "ok" for none.
    private func detail(_ gate: Gate, _ request: String, now: Int64 = now) -> String {
        gate.rejection(request, now: now).map { "\($0.0.refusal?.code ?? $0.0.code.text)" } ?? "ok"
    }

    @Test("RFC 9449 §7.1: with a proof the token is good, as often as there is a new one")
    func good() throws {
        let gate = try gate()
        let token = bound()
        #expect(gate.send(ask(fields(token, try proof(token)))).user == "u1")
        #expect(gate.send(ask(fields(token, try proof(token, identifier: "2")))).user == "u1")
        #expect(gate.cachedTokenCount == 1)
        #expect(
            gate.send(ask(["authorization: dpop \(token)", "dpop: \(try proof(token, identifier: "3"))"]))
                .user == "u1")
    }

    @Test("J20: a bound token is no bearer token, cached or not, wherever it comes from")
    func bearer() throws {
        for spec in [nil, DPoPSpec(isRequired: false), DPoPSpec(isRequired: true)] {
            let gate = try gate(spec)
            let token = bound()
            let bearer = ask(["Authorization: Bearer \(token)"])
            let withProof = ask(["Authorization: Bearer \(token)", "DPoP: \(try proof(token))"])
            #expect(detail(gate, bearer) == "token_bound_to_key")
            #expect(detail(gate, bearer) == "token_bound_to_key", "what is remembered is no better")
            #expect(detail(gate, withProof) == "token_bound_to_key")
            guard spec != nil else {
                #expect(detail(gate, ask(fields(token, try proof(token)))) == "token_missing")
                continue
            }
            #expect(gate.send(ask(fields(token, try proof(token)))).user == "u1")
            #expect(detail(gate, bearer) == "token_bound_to_key")
        }
    }

    @Test("RFC 9449 §7.2: what is not bound is no DPoP token, and with \"required\" nothing else is taken")
    func unbound() throws {
        let plain = token(sub: "u1")
        let optional = try gate()
        #expect(optional.send(ask(["Authorization: Bearer \(plain)"])).user == "u1")
        #expect(detail(optional, ask(fields(plain, try proof(plain)))) == "token_not_bound_to_key")
        let required = try gate(DPoPSpec(isRequired: true))
        #expect(detail(required, ask(["Authorization: Bearer \(plain)"])) == "proof_missing")
        #expect(detail(required, ask(fields(plain, try proof(plain)))) == "token_not_bound_to_key")
    }

    @Test("RFC 9449 §4.3: exactly one proof, for this request, this token, and of now")
    func wrongProofs() throws {
        let gate = try gate()
        let token = bound()
        let good = try proof(token)
        #expect(detail(gate, ask(["Authorization: DPoP \(token)"])) == "proof_missing")
        #expect(gate.send(ask(fields(token, good) + ["dPoP: \(good)"])).code == .badRequest)
        #expect(detail(gate, ask(fields(token, "x"))) == "proof_malformed")
        #expect(detail(gate, ask(fields(token, ""))) == "proof_malformed")
        #expect(detail(gate, ask(fields(token, good), method: "POST")) == "proof_of_other_request")
        let lower = try proof(token, method: "get")
        #expect(detail(gate, ask(fields(token, lower))) == "proof_of_other_request")
        for target in [
            "http://h/b", "https://h/a", "http://h:81/a", "http://g/a", "/a", "http:///a", "http://h/a/",
        ] {
            let wrong = try proof(token, target: target)
            #expect(detail(gate, ask(fields(token, wrong))) == "proof_of_other_request", "\(target)")
        }
        #expect(detail(gate, ask(fields(token, try proof("x")))) == "proof_of_other_token")
        let foreign = bound(#"{"jkt":"\#(Self.other)"}"#)
        #expect(detail(gate, ask(fields(foreign, try proof(foreign)))) == "proof_of_other_key")
        for (second, expected) in [
            (now - 61, "proof_stale"), (now + 31, "proof_stale"), (now - 60, "ok"), (now + 30, "ok"),
        ] {
            let dated = try proof(token, at: second, identifier: "at \(second)")
            #expect(detail(gate, ask(fields(token, dated))) == expected)
        }
        // None of them was used up.
        #expect(gate.send(ask(fields(token, good))).user == "u1")
    }

    @Test("RFC 9449 §11.1: a proof counts once, by whichever worker")
    func replay() throws {
        let memory = try #require(ProofMemory())
        let (one, two) = (try gate(memory: memory), try gate(memory: memory))
        let token = bound()
        let request = ask(fields(token, try proof(token)))
        #expect(one.send(request).user == "u1")
        #expect(detail(one, request) == "proof_replayed")
        #expect(detail(two, request) == "proof_replayed")
        #expect(detail(two, request, now: now + 60) == "proof_replayed")
        #expect(detail(two, request, now: now + 61) == "proof_stale")
        let again = ask(fields(token, try proof(token, at: now + 1)))
        #expect(detail(two, again) == "proof_replayed", "the same jti, made anew")
    }

    // MARK: Requests that wait

    /// A gate whose requests wait for a shared limit of the user's, and the same for whoever has no proof.
    private func waitingGate(_ memory: ProofMemory? = nil) throws -> Gate {
        var entry = issuer()
        entry.dpop = DPoPSpec(isRequired: false)
        var limited = try route("/a")
        limited.rateLimit = 0
        var policy = PolicyTests.spec([limited, try route("/b")], issuers: [entry])
        policy.rateLimits = [
            RateLimitSpec(name: "a", key: .user, rate: RateSpec(requests: 10, perSeconds: 1, burst: 10))
        ]
        policy.sharedLimits = SharedLimitSpec(
            prefix: "p:", timeoutMilliseconds: 50, refusesWithoutStore: false, checksRevocations: false)
        let standing = SharedStanding()
        standing.isAnswering = true
        return try Gate(policy, sharing: memory, standing: standing)
    }

    /// Decides again on a request that has waited for the store, which said that it may pass.
    private func sendGiven(_ gate: Gate, _ request: String, _ question: RateQuestion) -> String {
        gate.snapshot.setSharedVerdict(.given(bucket: question.bucket))
        defer { gate.snapshot.setSharedVerdict(.none) }
        return detail(gate, request)
    }

    /// The question of a request that has to wait.
    private func question(_ gate: Gate, _ request: String) throws -> RateQuestion {
        #expect(gate.send(request) == .awaitVerdict)
        let question = gate.snapshot.takeRateQuestion()
        return try #require(question)
    }

    @Test("A request that waits for a shared limit comes back with the same proof, which counts once")
    func waits() throws {
        let gate = try waitingGate()
        let token = bound()
        let request = ask(fields(token, try proof(token)))
        let question = try question(gate, request)
        // It may have to wait more than once.
        #expect(gate.send(request, round: .again) == .awaitVerdict)
        _ = gate.snapshot.takeRateQuestion()
        #expect(sendGiven(gate, request, question) == "ok")
        #expect(sendGiven(gate, request, question) == "proof_replayed")
        #expect(detail(gate, request) == "proof_replayed", "and asks the store nothing")
        let further = gate.snapshot.takeRateQuestion()
        #expect(further == nil)
        gate.snapshot.setSharedVerdict(.unavailable)
        #expect(detail(gate, request) == "proof_replayed")
    }

    @Test("Of two that wait side by side with one proof, whichever worker has them, one passes")
    func waitsTwice() throws {
        let memory = try #require(ProofMemory())
        let (one, two) = (try waitingGate(memory), try waitingGate(memory))
        let token = bound()
        let request = ask(fields(token, try proof(token)))
        let questions = (try question(one, request), try question(one, request), try question(two, request))
        #expect(sendGiven(one, request, questions.0) == "ok")
        #expect(sendGiven(one, request, questions.1) == "proof_replayed")
        #expect(sendGiven(two, request, questions.2) == "proof_replayed")
        let unlimited = ask(
            fields(token, try proof(token, target: "http://h/b", identifier: "b")), path: "/b")
        #expect(detail(two, unlimited) == "ok")
        #expect(detail(one, unlimited) == "proof_replayed")
    }

    @Test("What passes while another waits uses up no proof but its own")
    func waitsBeside() throws {
        let gate = try waitingGate()
        let (token, plain) = (bound(), token(sub: "u1"))
        let request = ask(fields(token, try proof(token)))
        let question = try question(gate, request)
        #expect(detail(gate, ask(["Authorization: Bearer \(plain)"], path: "/b")) == "ok")
        #expect(sendGiven(gate, ask(["Authorization: Bearer \(plain)"]), question) == "ok")
        #expect(sendGiven(gate, request, question) == "ok")
        let again = ask(fields(token, try proof(token, identifier: "2")))
        _ = try self.question(gate, again)
        #expect(detail(gate, ask(["Authorization: Bearer \(plain)"], path: "/b")) == "ok")
        #expect(sendGiven(gate, again, question) == "ok")
        #expect(sendGiven(gate, again, question) == "proof_replayed")
    }

    @Test("A proof of the future is taken for a minute ahead at most, whatever the issuer's leeway is")
    func future() throws {
        var entry = issuer()
        entry.spec.leewaySeconds = 600
        entry.dpop = DPoPSpec(isRequired: false)
        let gate = try Gate(PolicyTests.spec([try route("/a")], issuers: [entry]))
        let token = bound()
        for (second, expected) in [(now + 61, "proof_stale"), (now + 600, "proof_stale"), (now + 60, "ok")] {
            let dated = try proof(token, at: second, identifier: "at \(second)")
            #expect(detail(gate, ask(fields(token, dated))) == expected)
        }
    }

    @Test("RFC 9449 §4.3: htu without query, and normalised")
    func targets() throws {
        let gate = try gate()
        let token = bound()
        for (place, target) in [
            "http://h/a?x=1", "http://h/a#f", "HTTP://H:80/a", "http://h:/a", "http://h./%61", "ws://h/a",
        ].enumerated() {
            let proof = try proof(token, target: target, identifier: "t\(place)")
            #expect(gate.send(ask(fields(token, proof), path: "/a?q=2")).user == "u1", "\(target)")
        }
    }

    @Test("H8: scheme and host as the client saw them: a trusted proxy's word counts, nobody else's")
    func forwarded() throws {
        let gate = try gate(trusted: ["192.0.2.0/24"])
        let token = bound()
        let forwarding = ["X-Forwarded-Proto: https", "X-Forwarded-Host: app.example"]
        let proofs = try (0..<4).map {
            try proof(token, target: "https://app.example/a", identifier: "f\($0)")
        }
        #expect(gate.send(ask(fields(token, proofs[0]) + forwarding)).user == "u1")
        #expect(gate.send(ask(fields(token, proofs[1]) + forwarding), from: "198.51.100.1").user == nil)
        #expect(
            gate.send(ask(fields(token, proofs[1]) + forwarding + ["X-Forwarded-Proto: http"])).user == nil)
        #expect(
            gate.send(
                ask(fields(token, proofs[1]) + ["X_Forwarded_Proto: https", "X_Forwarded_Host: app.example"])
            ).user == nil)
        #expect(gate.send(ask(fields(token, proofs[2]), host: "app.example"), secure: true).user == "u1")
    }

    @Test("RFC 9449 §8, §9: a nonce of the proxy's, and no other")
    func nonces() throws {
        let memory = try #require(ProofMemory())
        let gate = try gate(DPoPSpec(isRequired: true, needsNonce: true), memory: memory)
        let token = bound()
        #expect(detail(gate, ask(fields(token, try proof(token)))) == "proof_needs_nonce")
        let nonce = Self.nonce(memory)
        let answer = gate.nonceField(ask(fields(token, try proof(token))))
        #expect(answer == "DPoP-Nonce: \(nonce)\r\n")
        let good = try proof(token, more: #","nonce":"\#(nonce)""#)
        #expect(gate.send(ask(fields(token, good))).user == "u1")
        for (wrong, second) in [
            ("x", now), ("", now), (nonce + "A", now), (String(nonce.reversed()), now), (nonce, now + 301),
        ] {
            let proof = try proof(token, at: second, identifier: "w", more: #","nonce":"\#(wrong)""#)
            #expect(detail(gate, ask(fields(token, proof)), now: second) == "proof_needs_nonce")
        }
        #expect(
            gate.rejection(ask(fields(token, try proof(token))))?.challenge.contains("use_dpop_nonce") == true
        )
    }

    @Test("RFC 9449 §7.1: the challenge names what the route takes")
    func challenges() throws {
        let algorithms = #"algs="ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512""#
        let required = try gate(DPoPSpec(isRequired: true))
        #expect(required.rejection(get("/a"))?.challenge == "DPoP realm=\"usher\", \(algorithms)")
        let optional = try gate()
        #expect(
            optional.rejection(get("/a"))?.challenge
                == "Bearer realm=\"usher\", DPoP realm=\"usher\", \(algorithms)")
        let token = bound()
        let bad = try #require(required.rejection(ask(fields(token, "x"))))
        #expect(bad.challenge.hasPrefix("DPoP realm=\"usher\", error=\"invalid_dpop_proof\""))
        #expect(try gate(nil).rejection(get("/a"))?.challenge == "Bearer realm=\"usher\"")
    }

    @Test("The proof goes upstream with the token only")
    func upstream() throws {
        let token = bound()
        let request = ask(fields(token, try proof(token)))
        #expect(try gate().send(request).values("dpop") == [])
        let forwarding = try gate(authorization: .forward)
        #expect(forwarding.send(request).values("dpop").count == 1)
        #expect(try gate().send(get("/open", "DPoP: x")).values("dpop") == ["x"], "nobody looked at it")
    }

    @Test("RFC 8705 §3: a token that names a certificate is good on this certificate's connection alone")
    func certificates() throws {
        for dpop in [nil, DPoPSpec(isRequired: false)] {
            let gate = try gate(dpop)
            let token = bound(#"{"x5t#S256":"\#(Self.other)"}"#)
            let request = ask(["Authorization: Bearer \(token)"])
            let own = try #require(bytes(of: Self.other))
            let wrong = try #require(bytes(of: Self.thumbprint))
            #expect(gate.send(request, certificate: nil).code == .tokenInvalid)
            #expect(gate.send(request, certificate: own).user == "u1")
            #expect(gate.send(request, certificate: wrong).code == .tokenInvalid)
            #expect(gate.send(request, certificate: nil).code == .tokenInvalid, "cached as it is")
            let both = bound(#"{"x5t#S256":"\#(Self.other)","jkt":"\#(Self.thumbprint)"}"#)
            #expect(gate.send(ask(["Authorization: Bearer \(both)"]), certificate: own).code == .tokenInvalid)
            guard dpop != nil else { continue }
            let proof = try proof(both)
            #expect(gate.send(ask(fields(both, proof)), certificate: nil).code == .tokenInvalid)
            #expect(gate.send(ask(fields(both, proof)), certificate: own).user == "u1")
        }
    }

    private static func nonce(_ memory: ProofMemory) -> String {
        guard let nonces = ProofNonces(secret: memory.nonceSecret) else { return "" }
        return String(decoding: nonces.nonce(at: now), as: UTF8.self)
    }

    private func bytes(of thumbprint: String) -> InlineArray<32, UInt8>? {
        var bytes = InlineArray<32, UInt8>(repeating: 0)
        var room = bytes.mutableSpan
        return Base64URL.decode(Array(thumbprint.utf8).span, into: &room) == 32 ? bytes : nil
    }

    @Test("Optional authentication: a bad proof is not nobody (J15)")
    func optional() throws {
        let gate = try gate(auth: .optional([0]))
        let token = bound()
        #expect(gate.send(get("/a")).user == "")
        #expect(detail(gate, ask(fields(token, "x"))) == "proof_malformed")
        #expect(detail(gate, ask(["Authorization: DPoP"])) == "token_missing")
    }

    @Test("A table of limits refuses what the memory of proofs cannot hold")
    func lifetimes() {
        for seconds in [0, 301, -1] as [Int64] {
            #expect(throws: PolicyError.badLimit) {
                try gate(DPoPSpec(isRequired: true, lifetimeSeconds: seconds))
            }
        }
    }
}

@Suite("The memory of proofs")
struct SeenProofsTests {
    /// Held by reference, as macros want it.
    private final class Memory {
        var proofs: SeenProofs

        init(_ proofs: SeenProofs = SeenProofs()) { self.proofs = proofs }

        func insert(_ mark: SHA256Digest, issuedAt: Int64, now: Int64) -> Bool {
            proofs.insert(mark, issuedAt: issuedAt, now: now)
        }

        func contains(_ mark: SHA256Digest, issuedAt: Int64) -> Bool {
            proofs.contains(mark, issuedAt: issuedAt)
        }
    }

    private func mark(_ number: UInt64) -> SHA256Digest { SHA256Digest(words: (number, 0, 0, 0)) }

    @Test("Once each, for as long as any issuer may accept it")
    func once() {
        let seen = Memory()
        #expect(!seen.contains(mark(1), issuedAt: 1000))
        #expect(seen.insert(mark(1), issuedAt: 1000, now: 1000))
        #expect(seen.contains(mark(1), issuedAt: 1000) && !seen.contains(mark(2), issuedAt: 1000))
        #expect(!seen.insert(mark(1), issuedAt: 1000, now: 1000))
        #expect(!seen.insert(mark(1), issuedAt: 1000, now: 1300))
        #expect(!seen.insert(mark(1), issuedAt: 1000, now: 1301), "it is older than any issuer accepts")
        #expect(seen.proofs.count == 0)
        #expect(seen.insert(mark(1), issuedAt: 1301, now: 1301))
    }

    @Test(
        "Where there is no room, the oldest seconds are forgotten, and nothing of them is accepted any more")
    func full() {
        let seen = Memory(SeenProofs(largestCount: 3))
        for number in 1...3 {
            #expect(seen.insert(mark(UInt64(number)), issuedAt: 1000 + Int64(number), now: 1010))
        }
        #expect(seen.insert(mark(4), issuedAt: 1004, now: 1010))
        #expect(seen.proofs.count == 3)
        #expect(!seen.insert(mark(1), issuedAt: 1001, now: 1010))
        #expect(!seen.insert(mark(9), issuedAt: 1001, now: 1010), "it may have been seen")
        #expect(seen.contains(mark(9), issuedAt: 1001) && !seen.contains(mark(9), issuedAt: 1005))
        #expect(!seen.insert(mark(2), issuedAt: 1002, now: 1010))
        for number in 10..<100 { _ = seen.insert(mark(UInt64(number)), issuedAt: 1010, now: 1010) }
        #expect(seen.proofs.count <= 3)
    }

    @Test("A clock that is put back opens no window")
    func clock() {
        let seen = Memory()
        #expect(seen.insert(mark(1), issuedAt: 1000, now: 1000))
        #expect(seen.insert(mark(2), issuedAt: 2000, now: 2000))
        #expect(!seen.insert(mark(1), issuedAt: 1000, now: 1000))
        #expect(
            !seen.insert(mark(2), issuedAt: 2000, now: 1000), "it is known, however far ahead it was made")
    }

    @Test("A clock that was far ahead and is put back keeps nobody out")
    func clockPutBack() {
        let seen = Memory()
        #expect(seen.insert(mark(1), issuedAt: 1000, now: 1000))
        #expect(seen.insert(mark(2), issuedAt: 90_000, now: 90_000))
        #expect(seen.insert(mark(3), issuedAt: 1002, now: 1002), "it was made after all that was forgotten")
        #expect(!seen.insert(mark(3), issuedAt: 1002, now: 1003))
        #expect(
            !seen.insert(mark(4), issuedAt: 1000, now: 1002),
            "it may have been seen before the clock was wrong")
        #expect(seen.insert(mark(5), issuedAt: 2000, now: 2000))
        #expect(seen.proofs.count == 2, "what was made before 1700 is forgotten again")
    }
}
