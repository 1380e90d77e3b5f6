import Bytes
import Crypto

@testable import JOSE

/// The clock of every target: 2026-01-25T00:00:00Z.
let fuzzClock: Int64 = 1_769_299_200
/// The secret of every target, the one of Tests/Fuzz/make_seeds.py.
let fuzzSecret = Array("a-fuzz-secret-of-more-than-32-bytes!".utf8)

/// The issuer whose tokens are signed with it.
var fuzzIssuer: IssuerSpec {
    var spec = IssuerSpec(issuer: "https://i.example", audiences: ["tasks"], keys: .secret(fuzzSecret))
    spec.leewaySeconds = 0
    return spec
}

func hmac(_ bytes: [UInt8]) -> [UInt8] {
    var code = [UInt8](repeating: 0, count: 32)
    guard let key = HMACKey(algorithm: .hs256, secret: fuzzSecret.span) else { return code }
    var room = code.mutableSpan
    _ = key.authenticate(bytes.span, into: &room)
    return code
}

func base64URL(_ bytes: [UInt8]) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: Base64URL.encodedCount(bytes.count))
    var room = output.mutableSpan
    _ = Base64URL.encode(bytes.span, into: &room)
    return output
}

func decodeBase64URL(_ text: [UInt8]) -> [UInt8]? {
    guard let count = Base64URL.decodedCount(text.count) else { return nil }
    var output = [UInt8](repeating: 0, count: count)
    var room = output.mutableSpan
    return Base64URL.decode(text.span, into: &room) == count ? output : nil
}

func array(_ span: Span<UInt8>) -> [UInt8] {
    var bytes: [UInt8] = []
    for index in span.indices { bytes.append(span[index]) }
    return bytes
}

/// J8: one text for each value. What decodes is what encoding gives.
final class Base64URLTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        try demand(decodeBase64URL(base64URL(input)) == input, "encoding and decoding do not give the same")
        guard let decoded = decodeBase64URL(input) else { return }
        try demand(base64URL(decoded) == input, "two texts for one value")
    }
}

/// J12, J13: a text that is taken is strict JSON whose nodes lie within it.
final class JSONTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        var document = JSONDocument(capacity: max(input.count, 1), limits: .token)
        guard document.load(input.span) else { return }
        var names: Set<[UInt8]> = []
        var next = document.firstChild(of: 0)
        var count = 0
        while let name = next {
            let text = array(document.bytes(of: name))
            try demand(names.insert(text).inserted, "the member \(text) twice")
            try demand(String(validating: text, as: UTF8.self) != nil, "a name is not UTF-8")
            let value = array(document.bytes(of: name + 1))
            try demand(String(validating: value, as: UTF8.self) != nil, "a value is not UTF-8")
            try demand(value.count <= input.count, "a value is longer than the text")
            next = document.sibling(after: name + 1, in: 0)
            count += 1
            try demand(count <= input.count, "more members than bytes")
        }
    }
}

/// Tokens as they come: nothing passes that the secret did not sign.
final class TokenTarget: FuzzTarget {
    private var verifier: TokenVerifier

    init() throws {
        verifier = try TokenVerifier(issuers: [fuzzIssuer])
    }

    func run(_ input: [UInt8]) throws {
        switch verifier.verify(input.span, acceptedBy: .init(index: 0), now: fuzzClock) {
        case .verified(let token):
            let subject = Accepted(token).subject
            verifier.recycle(token)
            try check(input, subject)
        case .bound(let token):
            let subject = Accepted(token).subject
            verifier.recycle(token)
            try check(input, subject)
        case .refused: break
        case .keysUnavailable: break
        }
    }

    private func check(_ input: [UInt8], _ subject: [UInt8]) throws {
        let parts = input.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        try demand(parts.count == 3, "a token of \(parts.count) parts")
        let signed = Array(input.prefix(parts[0].count + 1 + parts[1].count))
        try demand(Array(parts[2]) == base64URL(hmac(signed)), "a token that nobody signed")
        try checkSubject(subject)
    }
}

/// What is looked at of a token that was accepted.
struct Accepted {
    let subject: [UInt8]
    let expires: Int64
    let until: Int64

    init(_ token: borrowing VerifiedToken) {
        subject = array(token.subject)
        expires = token.expires
        until = token.acceptedUntil
    }

    func check() throws {
        try checkSubject(subject)
        try demand(expires > fuzzClock && until > fuzzClock, "what has expired was accepted")
    }
}

/// H11: a subject that can stand in a header line.
func checkSubject(_ subject: [UInt8]) throws {
    try demand(!subject.isEmpty && subject.count <= 256, "a subject of \(subject.count) bytes")
    try demand(!subject.contains { $0 < 0x20 || $0 == 0x7F }, "control characters in the subject")
    try demand(String(validating: subject, as: UTF8.self) != nil, "a subject that is not UTF-8")
}

/// Header and payload, one line each, signed here: the fuzzer reaches what stands behind the signature.
final class ClaimsTarget: FuzzTarget {
    private var verifier: TokenVerifier

    init() throws {
        var spec = fuzzIssuer
        spec.maximumLifetimeSeconds = 3600
        spec.refusedClaims = ["act"]
        verifier = try TokenVerifier(issuers: [spec])
    }

    func run(_ input: [UInt8]) throws {
        let parts = input.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return }
        let signed = base64URL(Array(parts[0])) + [UInt8(ascii: ".")] + base64URL(Array(parts[1]))
        let text = signed + [UInt8(ascii: ".")] + base64URL(hmac(signed))
        switch verifier.verify(text.span, acceptedBy: .init(index: 0), now: fuzzClock) {
        case .verified(let token):
            let accepted = Accepted(token)
            verifier.recycle(token)
            try check(accepted, parts[0], parts[1])
        case .bound(let token):
            // J20: it proves nothing by itself.
            let accepted = Accepted(token)
            verifier.recycle(token)
            try check(accepted, parts[0], parts[1])
        case .refused: break
        case .keysUnavailable: break
        }
    }

    private func check(_ accepted: Accepted, _ head: ArraySlice<UInt8>, _ body: ArraySlice<UInt8>) throws {
        try accepted.check()
        let header = String(decoding: head, as: UTF8.self)
        let payload = String(decoding: body, as: UTF8.self)
        // Names may be written with escapes; then they are not looked for.
        if !header.contains("\\") {
            try demand(header.contains("HS256"), "another algorithm")
            try demand(!header.contains("\"crit\""), "J3: crit")
        }
        if !payload.contains("\\") {
            try demand(payload.contains("\"tasks\""), "J14: without the audience")
            try demand(payload.contains("\"https://i.example\""), "another issuer")
        }
    }
}

/// J20: DPoP proofs, header and payload one line each, with the signature of nobody: whatever the key in it, none is good.
final class ProofTarget: FuzzTarget {
    private var verifier = DPoPVerifier()
    private var digest = SHA256()

    init() {}

    func run(_ input: [UInt8]) throws {
        let lines = input.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
        guard lines.count == 2 else { return }
        let header = Array(lines[0])
        var document = JSONDocument(capacity: max(header.count, 1), limits: .token)
        guard document.load(header.span), let key = document.member(Array("jwk".utf8).span, of: 0),
            let thumbprint = JWKThumbprint.digest(of: key, in: document, by: &digest)
        else { return }
        let signature = base64URL([UInt8](repeating: 7, count: 64))
        let dot = [UInt8(ascii: ".")]
        let proof = base64URL(header) + dot + base64URL(Array(lines[1])) + dot + signature
        let isGood = (try? verifier.verify(proof.span, boundTo: thumbprint)) != nil
        try demand(!isGood, "a proof that nobody signed")
        let isOthers = (try? verifier.verify(input.span, boundTo: thumbprint)) != nil
        try demand(!isOthers, "a proof that is none")
    }
}

/// Cookies of Better Auth as they come: `session_token`, a line feed, `session_data`.
final class SessionTarget: FuzzTarget {
    private let sessions: SessionVerifier
    private var verifier: TokenVerifier

    init() throws {
        sessions = try SessionVerifier(SessionSpec(secrets: [fuzzSecret]), place: 1)
        verifier = try TokenVerifier(issuers: [
            IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(fuzzSecret))
        ])
    }

    func run(_ input: [UInt8]) throws {
        let parts = input.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false).map(
            Array.init)
        let value = parts[0]
        var token = ByteArray()
        let isOpen = sessions.open(cookie: value.span, into: &token)
        if isOpen { try demand(token.count > 0, "a session without a token") }
        var bearer = ByteArray()
        _ = sessions.open(bearer: value.span, into: &bearer)
        guard isOpen, parts.count == 2 else { return }
        let cache = parts[1]
        switch sessions.verify(cache: cache.span, token: token.span, now: fuzzClock, &verifier) {
        case .verified(let session):
            let accepted = Accepted(session)
            sessions.recycle(session)
            try accepted.check()
        case .unusable: break
        case .lacksKey: break
        case .refused: break
        }
    }
}

/// What is behind the signatures of sessions: the payload of `session_data`, signed here, as JSON, as a JWT, and as
/// the answer of a server.
final class SessionDataTarget: FuzzTarget {
    private let sessions: SessionVerifier
    private var verifier: TokenVerifier
    private let token = Array("hV3nB8xQ1rT6yU2iO9pA5sD7fG4jK0lZ".utf8)

    init() throws {
        sessions = try SessionVerifier(SessionSpec(secrets: [fuzzSecret]), place: 1)
        verifier = try TokenVerifier(issuers: [
            IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(fuzzSecret))
        ])
    }

    func run(_ input: [UInt8]) throws {
        let token = token
        try check(sessions.accept(answer: input.span, token: token.span, seconds: 30, now: fuzzClock))
        let expires = Array("\((fuzzClock + 600) * 1000)".utf8)
        guard input.last == UInt8(ascii: "}") else { return }
        let inner = input.dropLast() + Array(",\"expiresAt\":".utf8) + expires + [UInt8(ascii: "}")]
        let signature = base64URL(hmac(Array(inner)))
        let compact =
            Array(#"{"session":"#.utf8) + input + Array(#","expiresAt":"#.utf8) + expires
            + Array(#","signature":""#.utf8) + signature + Array(#""}"#.utf8)
        let cache = base64URL(compact)
        try check(sessions.verify(cache: cache.span, token: token.span, now: fuzzClock, &verifier))
        let signed = base64URL(Array(#"{"alg":"HS256"}"#.utf8)) + [UInt8(ascii: ".")] + base64URL(input)
        let jwt = signed + [UInt8(ascii: ".")] + base64URL(hmac(signed))
        try check(sessions.verify(cache: jwt.span, token: token.span, now: fuzzClock, &verifier))
    }

    private func check(_ verdict: consuming SessionVerdict) throws {
        switch consume verdict {
        case .verified(let session):
            let accepted = Accepted(session)
            sessions.recycle(session)
            try accepted.check()
        case .unusable: break
        case .lacksKey: break
        case .refused: break
        }
    }
}

final class RevocationTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        guard let list = RevocationList(input) else { return }
        try demand(list.count <= input.count, "more entries than bytes")
        try demand(list.isEmpty == (list.count == 0), "empty, and not")
        var twice = list
        twice.formUnion(list)
        try demand(twice == list, "a union with itself is another")
        _ = list.revokes(issuer: nil, tokenID: Array("a".utf8), subject: Array("u".utf8), issuedAt: fuzzClock)
    }
}
