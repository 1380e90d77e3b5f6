import Bytes
import Config
import HTTP
import HTTP1
import JOSE

@testable import Policy
@testable import Redis

/// The PROXY protocol: in pieces as at once, and what is taken is as long as it says.
final class ProxyHeaderTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        let whole = ProxyHeader.read(input.span)
        for count in 0..<min(input.count, 600) {
            let part = ProxyHeader.read(input.span.extracting(0..<count))
            switch (part, whole) {
            case (.incomplete, _): continue
            case (.header(let bytes, _), _):
                try demand(bytes <= count && part == whole, "\(part) of \(count) bytes, then \(whole)")
            case (.malformed, .malformed): break
            default: throw Violation(description: "\(part) of \(count) bytes, then \(whole)")
            }
            break
        }
        guard case .header(let count, let source) = whole else { return }
        try demand(count <= input.count && count <= ProxyHeader.maximumByteCount, "longer than it can be")
        try demand(source?.isNone != true, "an address that is none")
    }
}

/// H8: addresses that other proxies tell, by themselves and before the one that a trusted proxy adds.
final class ForwardedTarget: FuzzTarget {
    private let snapshot: PolicySnapshot
    private var head = RequestHead(fieldCapacity: 100)
    private let peer = PeerFacts(address: IPAddress(v4: 0xC000_0201), listener: 0, isSecure: false)
    private let client = IPAddress(v4: 0xCB00_7109)

    init() throws {
        let route = RouteSpec(
            hosts: [], methods: [], path: try PathTemplate("/**"), authentication: .none, require: [],
            scopes: [],
            denied: .forbidden, upstream: 0, stripPrefix: nil)
        let proxies = [AddressBlock("192.0.2.0/24")].compactMap { $0 }
        snapshot = try PolicySnapshot(
            PolicySpec(
                issuers: [], routes: [route], identity: IdentitySpec(headers: []),
                upstreams: [UpstreamPolicySpec(name: "u", authorization: .remove, preserveHost: true)],
                listeners: [ListenerPolicySpec(trustedProxies: proxies)], tokensCached: 8))
    }

    func run(_ input: [UInt8]) throws {
        let host = array(AddressReader.host(of: input.span))
        try demand(host.count <= input.count, "longer than the element")
        _ = AddressReader.read(host.span)
        let text = String(decoding: input, as: UTF8.self)
        _ = IPAddress(text)
        _ = AddressBlock(text)
        try readElements(input)
        guard !input.contains(0x0D), !input.contains(0x0A) else { return }
        if let address = address(of: Array("X-Forwarded-For: ".utf8) + input + Array(", 203.0.113.9".utf8)) {
            try demand(address == client, "a client that tells its own address")
        }
        if let address = address(of: Array("Forwarded: ".utf8) + input + Array(", for=203.0.113.9".utf8)) {
            try demand(address == client || address == peer.address, "a client that tells its own address")
        }
    }

    private func readElements(_ input: [UInt8]) throws {
        var elements = ForwardedElements(ByteRange(from: 0, to: input.count))
        var end = 0
        while let element = elements.next(input.span) {
            for range in [element.node, element.proto, element.host] where !range.isEmpty {
                try demand(
                    Int(range.start) >= end && range.end <= input.count, "an element outside of the value")
            }
            end = max(end, [element.node, element.proto, element.host].map(\.end).max() ?? 0)
        }
    }

    /// The client's address by a head with that line; nil where it is no line.
    private func address(of line: [UInt8]) -> IPAddress? {
        let bytes = Array("GET / HTTP/1.1\r\nHost: h\r\n".utf8) + line + Array("\r\n\r\n".utf8)
        var parser = RequestHeadParser()
        guard parser.parse(bytes.span, into: &head, limits: HeadLimits()) == .complete else { return nil }
        return snapshot.clientAddress(head, bytes.span, peer)
    }
}

/// Answers of a Redis server: in pieces as at once, and each call is answered once, with its own tag.
final class RedisTarget: FuzzTarget {
    init() {}

    func run(_ input: [UInt8]) throws {
        guard let seed = input.first else { return }
        let bytes = Array(input.dropFirst())
        let whole = Self.read(bytes, [bytes.count])
        let parts = Self.read(bytes, Cuts(seed, count: bytes.count).places)
        try demand(whole.replies == parts.replies, "\(parts.replies) in pieces, \(whole.replies) at once")
        try demand(whole.fault == parts.fault, "in pieces another fault than at once")
        try converse(bytes, Cuts(seed, count: bytes.count).places)
    }

    private static func read(_ bytes: [UInt8], _ cuts: [Int]) -> (replies: [RedisReply], fault: RedisFault?) {
        var parser = RedisReplyParser()
        var replies: [RedisReply] = []
        var taken = 0
        for cut in cuts where cut > taken {
            parser.feed(bytes.span.extracting(taken..<cut))
            taken = cut
            do throws(RedisFault) {
                while let reply = try parser.next() { replies.append(reply) }
            } catch {
                return (replies, error)
            }
        }
        return (replies, nil)
    }

    private func converse(_ bytes: [UInt8], _ cuts: [Int]) throws {
        let login = RedisLogin(user: [0x75], password: [0x70], database: 1)
        var session = RedisSession(login: login, scripts: ["return 1"])
        var (called, answered, taken): (UInt64, Set<UInt64>, Int) = (0, [], 0)
        for cut in cuts where cut > taken {
            guard let replies = try? session.receive(bytes.span.extracting(taken..<cut)) else { return }
            taken = cut
            for (tag, _) in replies {
                try demand(tag < called && answered.insert(tag).inserted, "an answer to nothing")
            }
            if session.call(0, keys: [[0x6B]], arguments: [[0x61]], tag: called) { called += 1 }
            try demand(session.awaitedCount <= Int(called) + 3, "more is awaited than was asked")
            _ = session.takeOutput()
        }
    }
}

/// A configuration: mistakes are told, never more.
final class ConfigurationTarget: FuzzTarget {
    private struct NoFiles: FileSource {
        func read(path: String) -> FileReading { .missing }
    }

    init() {}

    func run(_ input: [UInt8]) throws {
        let environment = ["SECRET": String(repeating: "s", count: 40), "N": "1"]
        let loaded = Configuration.load(
            text: input, path: "usher.toml", environment: environment, files: NoFiles())
        try demand(loaded.hasErrors == (loaded.configuration == nil), "neither a configuration nor an error")
        let text = loaded.render()
        try demand(loaded.diagnostics.isEmpty == text.isEmpty, "a diagnostic without a text")
        // Diagnostics show what the file says, its origins in lower case, and names without what cannot stand in them: the
        // secret must not be there by chance.
        let secret = String(repeating: "s", count: 40)
        let letters = input.map { $0 | 0x20 }.filter { (0x61...0x7A).contains($0) }
        if !String(decoding: letters, as: UTF8.self).contains(secret) {
            try demand(!text.contains(secret), "a secret in a diagnostic")
        }
        try hides(input)
    }

    /// A secret that belongs behind the input, or into it, is not shown either: whatever string or table the input leaves open.
    private func hides(_ input: [UInt8]) throws {
        let canary = "Kq7RgNU3sdoOL0wNhq"
        let form = Self.forms[Int(input.first ?? 0) % Self.forms.count]
        let place = Self.places[Int(input.last ?? 0) % Self.places.count]
        let value = form.split(separator: "#", omittingEmptySubsequences: false).joined(separator: canary)
        let line = place + value + "\n"
        let end = Int(input.dropFirst().first ?? 0) % 4 == 0 ? input.firstIndex(of: UInt8(ascii: "\n")) : nil
        let cut = end.map { $0 + 1 } ?? input.count
        let text = input[..<cut] + Array(("\n" + line).utf8) + input[cut...]
        guard !String(decoding: input, as: UTF8.self).contains(canary) else { return }
        let loaded = Configuration.load(
            text: Array(text), path: "usher.toml", environment: ["CANARY": canary, "N": "1"], files: NoFiles()
        )
        try demand(!loaded.render().contains(canary), "a secret is shown: \(place)\(form)")
    }

    private static let places = [
        "[issuer.canary]\nsecret = ", "[session.canary]\nsecrets = ", "[admin]\ntoken = ",
        "[shared]\npassword = ",
        "[shared]\nredis = ", "[tracing]\nheaders = ", "[tracing.headers]\nX = ",
        "[upstream.canary]\nauthorization = ",
        "[upstream.canary.authorization]\nbearer = ", "[limits]\nsecret_key = ", "[vault]\npath = ",
        "[listen.canary]\nsecret = ",
    ]

    /// `#` is the secret.
    private static let forms = [
        "#", "\"#\"", "'#", "\"\"\"\n#", "[\"#\"]", "{ value = \"#\" }", "{ env = \"${CANARY}\" }",
        "{ file = \"${CANARY}\" }",
        "\"${CANARY}\"", "\"${N:-#}\"", "{ env = \"#\" }", "{ file = \"#\" }", "\"redis://u:#@h\"",
        "\"Bearer #\"", "{ # = 1 }",
        "5 # #",
    ]
}
