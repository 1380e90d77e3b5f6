import Bytes
import Crypto
import HTTP
import JOSE
import Testing

@testable import Policy

/// What became of a request, as values that can be compared.
enum Outcome: Equatable {
    /// It goes upstream: the route, the subject, the request target and the field lines.
    case permit(route: Int, user: String, target: String, lines: [String])
    /// It is answered: the code, and the route where there is one.
    case reject(ReasonCode, route: Int?)
    /// It may wait for the keys of that issuer.
    case awaitKeys(issuer: Int)
    /// It may wait for what a server says of its credential.
    case awaitVerdict

    /// The field lines of a permitted request whose names are these, in lower case, up to the separators.
    func values(_ name: String) -> [String] {
        guard case .permit(_, _, _, let lines) = self else { return ["not permitted"] }
        let wanted = Outcome.folded(name)
        return lines.compactMap { line in
            guard let colon = line.firstIndex(of: ":"), Outcome.folded(String(line[..<colon])) == wanted
            else {
                return nil
            }
            return String(line[line.index(colon, offsetBy: 2)...])
        }
    }

    var code: ReasonCode? {
        if case .reject(let code, _) = self { code } else { nil }
    }

    var user: String? {
        if case .permit(_, let user, _, _) = self { user } else { nil }
    }

    var route: Int? {
        switch self {
        case .permit(let route, _, _, _): route
        case .reject(_, let route): route
        case .awaitKeys, .awaitVerdict: nil
        }
    }

    var target: String? {
        if case .permit(_, _, let target, _) = self { target } else { nil }
    }

    static func folded(_ name: String) -> String {
        String(name.lowercased().map { $0.isLetter || $0.isNumber ? $0 : "-" })
    }
}

func text(_ bytes: Span<UInt8>) -> String {
    var copy: [UInt8] = []
    for index in bytes.indices { copy.append(bytes[index]) }
    return String(decoding: copy, as: UTF8.self)
}

let secret = Array("0123456789abcdef0123456789abcdef".utf8)
let otherSecret = Array("fedcba9876543210fedcba9876543210".utf8)
let now: Int64 = 1_800_000_000

/// A compact HS256 token with this payload.
func token(_ payload: String, secret: [UInt8] = secret, header: String = #"{"alg":"HS256","typ":"JWT"}"#)
    -> String
{
    let signed = encoded(Array(header.utf8)) + "." + encoded(Array(payload.utf8))
    guard let key = HMACKey(algorithm: .hs256, secret: secret.span) else { return "" }
    var code = [UInt8](repeating: 0, count: 32)
    var room = code.mutableSpan
    _ = key.authenticate(Array(signed.utf8).span, into: &room)
    return signed + "." + encoded(code)
}

/// A good token of `sub`, with further members.
func token(sub: String, expires: Int64 = now + 600, _ more: String = "", secret: [UInt8] = secret) -> String {
    token(#"{"iss":"i","aud":"a","sub":"\#(sub)","exp":\#(expires)\#(more)}"#, secret: secret)
}

func encoded(_ bytes: [UInt8]) -> String {
    var output = [UInt8](repeating: 0, count: Base64URL.encodedCount(bytes.count))
    var room = output.mutableSpan
    _ = Base64URL.encode(bytes.span, into: &room)
    return String(decoding: output, as: UTF8.self)
}

func decoded(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var output = [UInt8](repeating: 0, count: Base64URL.decodedCount(bytes.count) ?? 0)
    var room = output.mutableSpan
    _ = Base64URL.decode(bytes.span, into: &room)
    return String(decoding: output, as: UTF8.self)
}

func issuer(_ name: String = "main", iss: String = "i", secret: [UInt8] = secret) -> IssuerEntry {
    IssuerEntry(name: name, spec: IssuerSpec(issuer: iss, audiences: ["a"], keys: .secret(secret)))
}

func route(
    _ path: String, hosts: [String] = [], methods: [String] = [],
    auth: RouteSpec.Authentication = .required([0]), require: [[Requirement]] = [], scopes: [String] = [],
    denied: RouteSpec.Denied = .forbidden, upstream: Int = 0, stripPrefix: String? = nil
) throws -> RouteSpec {
    RouteSpec(
        hosts: hosts, methods: methods, path: try PathTemplate(path), authentication: auth, require: require,
        scopes: scopes, denied: denied, upstream: upstream, stripPrefix: stripPrefix)
}

/// A requirement of one claim with one template.
func needs(_ claim: String, _ template: String) throws -> Requirement {
    Requirement(claim: claim, anyOf: [try RequiredValue(template: template)])
}

func spec(
    _ routes: [RouteSpec], issuers: [IssuerEntry] = [issuer()], identity: IdentitySpec = IdentitySpec(),
    authorization: UpstreamAuthorization = .remove, preserveHost: Bool = true,
    trusted: [String] = [], tokensCached: Int = 100
) -> PolicySpec {
    PolicySpec(
        issuers: issuers, routes: routes, identity: identity,
        upstreams: [UpstreamPolicySpec(name: "u", authorization: authorization, preserveHost: preserveHost)],
        listeners: [ListenerPolicySpec(trustedProxies: trusted.compactMap { AddressBlock($0) })],
        tokensCached: tokensCached)
}

/// Reads a head the simple way: `text` has LF line ends. Nil where HTTP refuses it.
func parse(_ text: String, _ head: inout RequestHead) -> (bytes: [UInt8], fault: MessageFault?) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: true)
    let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    let words = lines[0].split(separator: " ")
    let method = ByteRange(start: 0, count: words[0].utf8.count)
    let target = ByteRange(start: method.end + 1, count: words[1].utf8.count)
    let version: HTTPVersion = words[2] == "HTTP/1.0" ? .http10 : .http11
    head.reset()
    if let fault = head.begin(bytes.span, method: method, target: target, version: version) {
        return (bytes, fault)
    }
    var offset = lines[0].utf8.count + 2
    for line in lines.dropFirst() {
        let raw = Array(line.utf8)
        let colon = raw.firstIndex(of: UInt8(ascii: ":")) ?? 0
        var start = colon + 1
        while start < raw.count, raw[start] == 0x20 { start += 1 }
        let fault = head.add(
            bytes.span, name: ByteRange(start: offset, count: colon),
            value: ByteRange(from: offset + start, to: offset + raw.count),
            line: ByteRange(start: offset, count: raw.count + 2))
        if let fault { return (bytes, fault) }
        offset += raw.count + 2
    }
    return (bytes, head.finish(bytes.span, byteCount: bytes.count))
}

extension PolicySnapshot {
    borrowing func subjectText(_ permit: borrowing Permit) -> String { text(subject(of: permit)) }
    borrowing func subjectText(_ rejection: Rejection) -> String { text(subject(of: rejection)) }
}

/// A snapshot that the macros of the tests can hold.
final class Gate {
    var snapshot: PolicySnapshot

    init(
        _ spec: PolicySpec, sharing memory: ProofMemory? = nil, buckets: RateBuckets? = nil,
        standing: SharedStanding? = nil
    ) throws(PolicyError) {
        snapshot = try PolicySnapshot(spec, sharing: buckets, memory, standing: standing)
    }

    func takeCacheTally() -> CacheTally { snapshot.takeCacheTally() }
    var cachedTokenCount: Int { snapshot.cachedTokenCount }

    /// Decides on a request written as text, and writes what would go upstream.
    func send(
        _ request: String, round: DecisionRound = .first, now: Int64 = now,
        from address: String = "192.0.2.7", secure: Bool = false, certificate: InlineArray<32, UInt8>? = nil
    ) -> Outcome {
        var head = RequestHead(fieldCapacity: 100)
        let (bytes, fault) = parse(request, &head)
        if let fault { return .reject(fault.code, route: nil) }
        let peer = PeerFacts(
            address: IPAddress(address) ?? .none, listener: 0, isSecure: secure,
            clientCertificateSHA256: certificate)
        switch snapshot.decide(head: head, bytes: bytes.span, peer: peer, now: now, round: round) {
        case .reject(let rejection):
            return .reject(rejection.code, route: rejection.route)
        case .awaitKeys(let wait):
            return .awaitKeys(issuer: wait.issuer)
        case .awaitVerdict:
            return .awaitVerdict
        case .permit(let permit):
            var pool = BlockPool(keptBytes: 0)
            var buffer = Buffer()
            buffer.attach(from: &pool)
            defer { buffer.detach(to: &pool) }
            guard permit.appendTarget(bytes.span, to: &buffer) else {
                return .reject(.internalError, route: nil)
            }
            let target = text(buffer.bytes)
            buffer.consume(buffer.count)
            let id = Array("id-1".utf8)
            let server = Array("backend:80".utf8)
            let isWritten = snapshot.appendUpstreamFields(
                of: head, bytes: bytes.span, permit: permit, peer: peer, certificate: ClientCertificate(),
                requestID: id.span,
                serverAuthority: server.span, to: &buffer)
            guard isWritten else { return .reject(.internalError, route: nil) }
            let lines = text(buffer.bytes).split(separator: "\r\n").map(String.init)
            return .permit(
                route: permit.route, user: snapshot.subjectText(permit), target: target, lines: lines)
        }
    }

    /// The line `DPoP-Nonce` of a refusal.
    func nonceField(_ request: String) -> String? {
        guard let (rejection, _) = rejection(request) else { return nil }
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        guard snapshot.appendNonceField(rejection, now: PolicyTests.now, to: &buffer) else { return nil }
        return text(buffer.bytes)
    }

    func subject(of rejection: Rejection) -> String { snapshot.subjectText(rejection) }

    /// The refusal of a request's token, and the rejection's challenge.
    func rejection(_ request: String, now: Int64 = now) -> (Rejection, challenge: String)? {
        var head = RequestHead(fieldCapacity: 100)
        let (bytes, fault) = parse(request, &head)
        guard fault == nil else { return nil }
        let peer = PeerFacts(address: IPAddress(v4: 1), listener: 0, isSecure: false)
        switch snapshot.decide(head: head, bytes: bytes.span, peer: peer, now: now) {
        case .permit: return nil
        case .awaitKeys: return nil
        case .awaitVerdict: return nil
        case .reject(let rejection):
            guard rejection.challenges else { return (rejection, "") }
            var pool = BlockPool(keptBytes: 0)
            var buffer = Buffer()
            buffer.attach(from: &pool)
            defer { buffer.detach(to: &pool) }
            guard snapshot.appendChallenge(rejection, to: &buffer) else { return nil }
            return (rejection, text(buffer.bytes))
        }
    }
}

/// A request with these field lines below its Host.
func get(_ path: String, _ fields: String..., host: String = "h", method: String = "GET") -> String {
    "\(method) \(path) HTTP/1.1\nHost: \(host)\n" + fields.map { $0 + "\n" }.joined()
}
