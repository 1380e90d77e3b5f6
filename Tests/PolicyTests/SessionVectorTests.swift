import Crypto
import Foundation
import HTTP
import JOSE
import Testing

@testable import Policy

/// The cases of Better Auth's sessions in vectors/better-auth.json, whole requests through a policy.
@Suite("Better Auth 1.7.1: sessions")
struct SessionVectorTests {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        struct Versioned: Decodable { let value: String }

        let kind: String
        let id: String
        var cookie: String?
        let authorization: String?
        let valid: Bool
        let secure: Bool?
        let secrets: [Versioned]?
        let expectedVersion: String?
        var testDescription: String { "\(kind)/\(id)" }
    }

    private struct Meta: Decodable {
        let now: Int64
        let secret: String
        let issuer: String
        let userId: String
    }

    private struct File: Decodable {
        let meta: Meta
        let cases: [Case]
    }

    private static let text: Data = {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return (try? Data(contentsOf: tests.appendingPathComponent("JOSETests/Vectors/better-auth.json")))
            ?? Data()
    }()

    private static let file = try? JSONDecoder().decode(File.self, from: text)

    private static func cases(_ kind: String) -> [Case] { file?.cases.filter { $0.kind == kind } ?? [] }

    private func outcome(
        _ vector: Case, cache: SessionSpec.Cache = .any, asks: Bool = false, issuers: [IssuerEntry] = [],
        issuerNames: [String]? = nil
    ) throws -> Outcome {
        let meta = try #require(Self.file).meta
        let values = vector.secrets.map { $0.map(\.value) } ?? [meta.secret]
        var session = SessionSpec(secrets: values.map { Array($0.utf8) })
        session.cache = cache
        session.version = vector.expectedVersion ?? "1"
        if !issuers.isEmpty {
            session.keyIssuer = 0
            session.keyIssuerNames = issuerNames ?? [meta.issuer]
        }
        var policy = spec([try route("/**", auth: .required([issuers.count]))], issuers: issuers)
        policy.sessions = [
            SessionEntry(
                name: "browser", spec: session, hasSecureCookies: vector.secure ?? false,
                remote: asks ? 0 : nil)
        ]
        if asks {
            policy.remoteSources = [
                RemoteSourceSpec(name: "session.browser", owner: .session(0), cacheForSeconds: 30)
            ]
        }
        let fields =
            (vector.cookie.map { "Cookie: \($0)\n" } ?? "")
            + (vector.authorization.map { "Authorization: \($0)\n" } ?? "")
        return try Gate(policy).send("GET /x HTTP/1.1\nHost: h\n\(fields)", now: meta.now)
    }

    @Test("The file is there and has the cases")
    func complete() {
        let counts = [
            "session-token-cookie": 16, "session-data-compact": 13, "session-data-jwe": 10,
            "session-data-jwt": 4, "session-data-jwks": 4, "bearer-session-token": 3,
        ]
        for (kind, count) in counts { #expect(Self.cases(kind).count == count, "\(kind)") }
    }

    @Test("The signed cookie, and what must not pass for one", arguments: cases("session-token-cookie"))
    func tokenCookie(vector: Case) throws {
        let asked = try outcome(vector, asks: true)
        #expect((asked == .awaitVerdict) == vector.valid, "\(asked)")
        // Without a server nobody can tell whether the session has not ended.
        let alone = try outcome(vector)
        #expect(alone.user == nil && alone != .awaitVerdict, "\(alone)")
    }

    @Test("The bearer plugin's tokens", arguments: cases("bearer-session-token"))
    func bearer(vector: Case) throws {
        let asked = try outcome(vector, asks: true)
        #expect((asked == .awaitVerdict) == vector.valid, "\(asked)")
        #expect(try outcome(vector).code == .tokenInvalid)
    }

    @Test(
        "The cache in the cookie, and what must not pass for one",
        arguments: cases("session-data-compact") + cases("session-data-jwt") + cases("session-data-jwe"))
    func cache(vector: Case) throws {
        let user = try #require(Self.file).meta.userId
        let outcome = try outcome(vector)
        #expect(outcome.user == (vector.valid ? user : nil), "\(outcome)")
        // Whatever keys are published: the secret alone proves these.
        #expect(try self.outcome(vector, issuers: [publishing()]).user == outcome.user)
        // The form that was asked for, and no other.
        let forms: [(String, SessionSpec.Cache)] = [
            ("session-data-compact", .compact), ("session-data-jwt", .jwt), ("session-data-jwe", .jwe),
            ("", .off),
        ]
        for (kind, form) in forms {
            let pinned = try self.outcome(vector, cache: form)
            #expect(pinned.user == (vector.valid && kind == vector.kind ? user : nil), "\(form)")
        }
    }

    /// An issuer with the published keys of the file.
    private func publishing() throws -> IssuerEntry {
        let object = try JSONSerialization.jsonObject(with: Self.text) as? [String: Any]
        let keys = try JSONSerialization.data(withJSONObject: try #require(object?["jwks"]))
        var cache = IssuerSpec(
            issuer: nil, audiences: ["better-auth:session-cache"], keys: .jwks([UInt8](keys)),
            algorithms: AlgorithmSet([.edDSA, .es256, .es512, .rs256, .ps256]))
        cache.types = ["better-auth.session-cache+jwt"]
        cache.requiresType = true
        cache.requiresNamedKeys = true
        cache.leewaySeconds = 0
        return IssuerEntry(name: "session.browser", spec: cache)
    }

    @Test("J1: the cache that a published key signs", arguments: cases("session-data-jwks"))
    func publishedKey(vector: Case) throws {
        let meta = try #require(Self.file).meta
        let issuers = [try publishing()]
        let outcome = try outcome(vector, cache: .jwks, issuers: issuers)
        #expect(outcome.user == (vector.valid ? meta.userId : nil), "\(outcome)")
        // Found out by itself it is the same.
        #expect(try self.outcome(vector, issuers: issuers).user == outcome.user)
        // Somebody else's deployment, or no keys at all, or another form that was asked for.
        #expect(try self.outcome(vector, issuers: issuers, issuerNames: ["https://evil.test"]).user == nil)
        #expect(try self.outcome(vector, issuers: issuers, issuerNames: []).user == nil)
        #expect(try self.outcome(vector).user == nil)
        for form in [SessionSpec.Cache.compact, .jwt, .jwe, .off] {
            #expect(try self.outcome(vector, cache: form, issuers: issuers).user == nil, "\(form)")
        }
    }

    @Test(
        "J1: a cache with a secret's algorithm is not verified with a published key, nor one of these with the secret"
    )
    func forms() throws {
        let file = try #require(Self.file)
        let issuers = [try publishing()]
        let hmac = try #require(Self.cases("session-data-jwt").first { $0.id == "ok" })
        #expect(try outcome(hmac, cache: .jwks, issuers: issuers).user == nil)
        // The same parts, but for the header: of the signed text it is one.
        let good = try #require(Self.cases("session-data-jwks").first { $0.id == "ok" })
        let cookie = try #require(good.cookie)
        let marker = try #require(cookie.range(of: "session_data="))
        let parts = cookie[marker.upperBound...].split(separator: ".")
        #expect(parts.count == 3)
        for algorithm in ["HS256", "HS512", "none", "ES256", "RS256"] {
            let header =
                #"{"typ":"better-auth.session-cache+jwt","alg":"\#(algorithm)","#
                + #""kid":"EdKid0AbCdEfGhIjKlMnOpQrStUvWxYz"}"#
            let signed = encoded(Array(header.utf8)) + "." + parts[1]
            // With the secret, and with the text of the published key as one.
            for secret in [file.meta.secret, "UI2cY-uUdCLl-p_btcYWHZctd6ObRrc4JDaR49_SBbI"] {
                let made = HMACKey(algorithm: .hs256, secret: Array(secret.utf8).span)
                let key = try #require(made)
                var code = [UInt8](repeating: 0, count: 32)
                var room = code.mutableSpan
                _ = key.authenticate(Array(signed.utf8).span, into: &room)
                var forged = good
                forged.cookie = String(cookie[..<marker.upperBound]) + signed + "." + encoded(code)
                for cache in [SessionSpec.Cache.any, .jwks, .jwt] {
                    #expect(try outcome(forged, cache: cache, issuers: issuers).user == nil, "\(algorithm)")
                }
            }
        }
    }
}
