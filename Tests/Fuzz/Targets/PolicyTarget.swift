import Bytes
import HTTP
import HTTP1
import JOSE

@testable import Policy

/// A whole request head through the policy: `@A` and `@B` in it stand for good tokens of two users. Whatever fields it
/// has, a backend sees one request, at most one identity, and that of a token which the request has.
final class PolicyTarget: FuzzTarget {
    private var snapshot: PolicySnapshot
    private var head = RequestHead(fieldCapacity: 100)
    private var pool = BlockPool(keptBytes: 1 << 20)
    private let users: [(mark: UInt8, name: String, token: [UInt8])]

    init() throws {
        users = [
            (UInt8(ascii: "A"), "alice", Self.token("alice")), (UInt8(ascii: "B"), "bob", Self.token("bob")),
        ]
        func route(_ path: String, _ auth: RouteSpec.Authentication) throws -> RouteSpec {
            RouteSpec(
                hosts: [], methods: [], path: try PathTemplate(path), authentication: auth, require: [],
                scopes: [], denied: .forbidden, upstream: 0, stripPrefix: nil)
        }
        var own = try route("/api/{user}/**", .required([0]))
        own.require = [[Requirement(claim: "sub", anyOf: [try RequiredValue(template: "{user}")])]]
        snapshot = try PolicySnapshot(
            PolicySpec(
                issuers: [
                    IssuerEntry(
                        name: "main",
                        spec: IssuerSpec(issuer: "i", audiences: ["a"], keys: .secret(fuzzSecret)))
                ],
                routes: [
                    own, try route("/any/**", .required([0])), try route("/maybe/**", .optional([0])),
                    try route("/public/**", .none),
                ],
                identity: IdentitySpec(headers: [
                    .init(name: "X-User-Id", claim: "sub"), .init(name: "X-User-Email", claim: "email"),
                ]),
                upstreams: [UpstreamPolicySpec(name: "u", authorization: .remove, preserveHost: true)],
                listeners: [ListenerPolicySpec(trustedProxies: [])], tokensCached: 8))
    }

    private static func token(_ user: String) -> [UInt8] {
        let payload = #"{"iss":"i","aud":"a","sub":"\#(user)","email":"\#(user)@b.c","exp":4000000000}"#
        let signed =
            base64URL(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8)) + [UInt8(ascii: ".")]
            + base64URL(Array(payload.utf8))
        return signed + [UInt8(ascii: ".")] + base64URL(hmac(signed))
    }

    func run(_ input: [UInt8]) throws {
        var known: Set<String> = []
        let bytes = filledIn(input, &known)
        var parser = RequestHeadParser()
        guard parser.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete else { return }
        let peer = PeerFacts(address: IPAddress(v4: 0xC000_0207), listener: 0, isSecure: false)
        switch snapshot.decide(head: head, bytes: bytes.span, peer: peer, now: fuzzClock) {
        case .permit(let permit): try check(permit, bytes, peer, known)
        case .reject: break
        case .awaitKeys: throw Violation(description: "there is nothing to wait for")
        case .awaitVerdict: throw Violation(description: "there is nobody to ask")
        }
    }

    /// The request with its tokens, and whose they are.
    private func filledIn(_ input: [UInt8], _ known: inout Set<String>) -> [UInt8] {
        var bytes: [UInt8] = []
        var index = 0
        while index < input.count {
            if input[index] == UInt8(ascii: "@"), index + 1 < input.count,
                let user = users.first(where: { $0.mark == input[index + 1] })
            {
                bytes += user.token
                known.insert(user.name)
                index += 2
            } else {
                bytes.append(input[index])
                index += 1
            }
        }
        return bytes
    }

    private func check(
        _ permit: borrowing Permit, _ bytes: [UInt8], _ peer: PeerFacts, _ known: Set<String>
    ) throws {
        var buffer = Buffer()
        buffer.attach(from: &pool, .large)
        defer { buffer.detach(to: &pool) }
        guard permit.appendTarget(bytes.span, to: &buffer) else { throw Violation(description: "no room") }
        let target = array(buffer.bytes)
        buffer.consume(buffer.count)
        let slash: [UInt8] = permit.targetNeedsSlash ? [0x2F] : []
        try demand(target == slash + bytes[permit.target.bounds], "matched is not forwarded")
        let server = Array("backend:80".utf8)
        let identifier = Array("id-1".utf8)
        let isWritten = snapshot.appendUpstreamFields(
            of: head, bytes: bytes.span, permit: permit, peer: peer, certificate: ClientCertificate(),
            requestID: identifier.span, serverAuthority: server.span, to: &buffer)
        try demand(isWritten, "no room")
        try checkSent(
            Array("GET ".utf8) + target + Array(" HTTP/1.1\r\n".utf8) + array(buffer.bytes) + [0x0D, 0x0A],
            known)
    }

    /// The head for the backend, read as plainly as can be.
    private func checkSent(_ sent: [UInt8], _ known: Set<String>) throws {
        let text = String(decoding: sent, as: UTF8.self)
        var identities: [String] = []
        var hosts = 0
        let lines = sent.split(separator: 0x0A, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated().dropFirst().dropLast(2) {
            try demand(line.last == 0x0D, "line \(index) of \(text)")
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
                throw Violation(description: "no colon in line \(index) of \(text)")
            }
            let name = String(decoding: line[..<colon].map(Self.folded), as: UTF8.self)
            let value = String(decoding: line[line.index(after: colon)...].dropLast(), as: UTF8.self)
            switch name {
            case "x-user-id": identities.append(String(value.drop { $0 == " " }))
            case "x-user-email":
                try demand(known.contains { value == " \($0)@b.c" }, "the address \(value) in \(text)")
            case "host": hosts += 1
            case "authorization", "proxy-authorization", "proxy", "te", "keep-alive", "remote-user",
                "x-remote-user":
                throw Violation(description: "\(name) in \(text)")
            case "x-forwarded-for": try demand(value == " 192.0.2.7", "\(value) in \(text)")
            default: try demand(!name.hasPrefix("x-user-"), "\(name) in \(text)")
            }
        }
        try demand(hosts == 1, "\(hosts) hosts in \(text)")
        try demand(identities.count <= 1, "\(identities.count) identities in \(text)")
        if let user = identities.first {
            try demand(known.contains(user), "the identity of \(user), who has no token in \(text)")
        }
    }

    /// H1, H2: as the most careless backend folds names.
    private static func folded(_ byte: UInt8) -> UInt8 {
        let lower = byte | 0x20
        if lower >= 0x61 && lower <= 0x7A && byte & 0x40 != 0 { return lower }
        return byte >= 0x30 && byte <= 0x39 ? byte : UInt8(ascii: "-")
    }
}
