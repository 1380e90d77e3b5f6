import Bytes
public import Config
import Reactor

/// What `usher healthcheck` asks, and how.
public struct HealthTarget: Equatable {
    /// What came of asking.
    public struct Finding: Equatable {
        /// True where the proxy is ready.
        public let isHealthy: Bool
        /// One line for a person.
        public let text: String
    }

    /// What is shown of the content of an answer, in characters: a line of a terminal or two.
    private static let longestReason = 200

    let address: SocketAddress
    /// The page that must answer 200; nil where a connection is enough.
    let path: String?
    /// What the Host field says.
    let host: String

    init(address: SocketAddress, path: String?, host: String? = nil) {
        self.address = address
        self.path = path
        self.host = host ?? address.port.map { _ in "\(address)" } ?? "localhost"
    }

    /// The admin listener of a configuration, or its first listener where admin is off. An address that means all
    /// interfaces is asked on loopback.
    public init(_ entrance: LoadedConfiguration.Entrance) {
        switch entrance {
        case .admin(let address): self.init(address: SocketAddress(address).reachable, path: "/readyz")
        case .listener(let address): self.init(address: SocketAddress(address).reachable, path: nil)
        }
    }

    /// The target of `http://host:port/path` or `unix:/path`, without a path `/readyz`; nil for anything else. The
    /// host name is looked up, which may take a while.
    public init?(url: String) {
        if url.hasPrefix("unix:/") {
            guard let address = SocketAddress(url) else { return nil }
            self.init(address: address, path: "/readyz")
            return
        }
        let isSafe = url.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
        guard url.hasPrefix("http://"), isSafe, !url.contains("#") else { return nil }
        let rest = url.dropFirst("http://".count)
        let authority = String(rest.prefix { $0 != "/" })
        let path = String(rest.dropFirst(authority.count))
        let withPort = SocketAddress.split(authority) == nil ? authority + ":80" : authority
        guard !authority.contains("@"), let (name, port) = SocketAddress.split(withPort),
            let address = SocketAddress.resolve(name, port: port).first
        else { return nil }
        self.init(address: address.reachable, path: path.isEmpty ? "/readyz" : path, host: authority)
    }

    /// Asks, and waits for the answer at most that long.
    public func probe(timeoutMilliseconds: Int64) -> Finding {
        let deadline = Instant.now().advanced(byMilliseconds: timeoutMilliseconds)
        do throws(Errno) {
            var poller = try Poller()
            let socket = try Socket.connecting(to: address)
            try poller.add(socket.descriptor, token: 0, for: [.readable, .writable, .edgeTriggered])
            guard poller.waitForEvent(until: deadline) else { return unhealthy("no connection in time") }
            if let error = socket.pendingError() { return unhealthy("\(error)") }
            guard let path else {
                return Finding(isHealthy: true, text: "healthy: \(address) takes connections")
            }
            return ask(path, socket, &poller, deadline)
        } catch {
            return unhealthy("\(error)")
        }
    }

    private func ask(
        _ path: String, _ socket: borrowing Socket, _ poller: inout Poller, _ deadline: Instant
    ) -> Finding {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n".utf8)
        // A request this short fits the socket's empty buffer whole.
        guard socket.send(request.span) == .bytes(request.count) else { return unhealthy("cannot send") }
        var pool = BlockPool(keptBytes: 0)
        var answer = Buffer()
        answer.attach(from: &pool)
        defer { answer.detach(to: &pool) }
        while answer.room > 0 {
            switch socket.receive(into: &answer) {
            case .bytes: continue
            case .wouldBlock:
                if poller.waitForEvent(until: deadline) { continue }
                return unhealthy("no answer in time")
            case .failed(let error): return unhealthy("\(error)")
            case .endOfStream: return judge(answer.bytes)
            }
        }
        return judge(answer.bytes)
    }

    private func judge(_ answer: Span<UInt8>) -> Finding {
        let text = String(decoding: answer.indices.map { answer[$0] }, as: UTF8.self)
        let words = text.prefix { $0 != "\r\n" }.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            return unhealthy("the answer is not HTTP")
        }
        if status == 200 {
            return Finding(isHealthy: true, text: "healthy: \(address)\(path ?? "") answered 200")
        }
        // The content of /readyz is one line: what it waits for.
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        let reason = lines.drop { !$0.isEmpty }.first { !$0.isEmpty }?.prefix(Self.longestReason)
        return unhealthy("answered \(status)\(reason.map { ": \($0)" } ?? "")")
    }

    private func unhealthy(_ reason: String) -> Finding {
        Finding(isHealthy: false, text: "unhealthy: \(address)\(path ?? ""): \(reason)")
    }
}

extension SocketAddress {
    /// The address to connect to for one that is listened on: loopback for all interfaces.
    var reachable: SocketAddress {
        switch self {
        case .ipv4(0, let port): .ipv4(0x7f00_0001, port: port)
        case .ipv6(0, 0, let port): .ipv6(0, 1, port: port)
        default: self
        }
    }
}
