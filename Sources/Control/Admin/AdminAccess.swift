import Bytes
import Config
import Crypto
import HTTP
import Reactor

/// Who may ask the admin listener for what (rule F9): nobody's web page, and nothing is changed by accident.
struct AdminAccess {
    /// What a request that changes something must bear.
    enum Changes: Equatable {
        /// Nothing: only this machine can ask.
        case free
        /// This token, as `Authorization: Bearer`.
        case token(Secret)
        /// There is no token, and others can reach the listener: nothing may be changed.
        case refused
    }

    /// Host names that are this listener's, in lower case, besides those that `isOwnName` knows.
    var names: [String] = []
    /// A browser can ask: not so on a Unix socket.
    var isReachedByBrowsers = true
    var changes = Changes.free

    /// Why a request is refused; nil where it may be answered.
    func refusal(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> String? {
        if let reason = Self.fetchRefusal(head, bytes) { return reason }
        guard isReachedByBrowsers, !head.host.isEmpty else { return nil }
        // Probes ask by whatever name they were given, and learn a word.
        let path = Self.text(bytes, head.path)
        if path == "/livez" || path == "/readyz" { return nil }
        let host = Self.hostName(Self.text(bytes, head.host))
        // A page of a name that is not ours, but that leads here all the same (DNS rebinding), would be of the same
        // origin as these pages. Browsers tell nothing else about such a request.
        if !Self.isOwnName(host), !names.contains(host) {
            return "the host \"\(host)\" is not known here: see admin.names"
        }
        return nil
    }

    /// Why a request must not change anything; nil where it may.
    func changeRefusal(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> AdminAnswer? {
        switch changes {
        case .free: return nil
        case .refused:
            return AdminAnswer(
                status: 403, body: "set admin.token: this listener can be reached from other machines\n")
        case .token(let secret):
            if Self.bears(head, bytes, secret) { return nil }
            return AdminAnswer(status: 401, body: "this needs the token of admin.token\n", challenge: true)
        }
    }

    /// Browsers send Sec-Fetch-Site with every request to a place that they trust, and Origin with what is not merely
    /// read. An address that somebody typed is `none`, a request of our own page `same-origin`.
    private static func fetchRefusal(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> String? {
        var (sites, hasFetchField) = (0, false)
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            let name = text(bytes, line.nameRange).lowercased()
            if name == "origin" { return "not for other pages" }
            if name.hasPrefix("sec-fetch-") { hasFetchField = true }
            guard name == "sec-fetch-site" else { continue }
            sites += 1
            let site = text(bytes, line.valueRange)
            let isTyped = site == "none" && (head.method == .get || head.method == .head)
            guard site == "same-origin" || isTyped else { return "not for other pages" }
        }
        return sites > 1 || (hasFetchField && sites == 0) ? "not for other pages" : nil
    }

    private static func bears(_ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ secret: Secret) -> Bool {
        guard head.authorizationCount == 1 else { return false }
        let value = text(bytes, head.fields[Int(head.authorizationIndex)].valueRange)
        guard value.utf8.count > 7, value.lowercased().hasPrefix("bearer ") else { return false }
        let given = Array(value.utf8.dropFirst(7))
        return ConstantTime.equal(given.span, secret.bytes.span)
    }

    /// The host without its port and trailing dot, in lower case; an IPv6 address keeps its brackets.
    static func hostName(_ authority: String) -> String {
        var name = authority[...]
        if name.hasPrefix("["), let end = name.firstIndex(of: "]") {
            name = name[...end]
        } else if let colon = name.lastIndex(of: ":") {
            name = name[..<colon]
        }
        if name.hasSuffix(".") { name = name.dropLast() }
        return name.lowercased()
    }

    /// True for names that nobody on the Internet can own: addresses, `localhost`, and names without a dot, as
    /// machines have in a network of containers.
    static func isOwnName(_ host: String) -> Bool {
        if host.isEmpty { return false }
        if host.hasPrefix("[") {
            return SocketAddress.numeric(String(host.dropFirst().dropLast()), port: 0) != nil
        }
        if host == "localhost" || host.hasSuffix(".localhost") { return true }
        let hasDot = host.utf8.contains(0x2e)
        return !hasDot || SocketAddress.numeric(host, port: 0) != nil
    }

    static func text(_ bytes: Span<UInt8>, _ range: ByteRange) -> String {
        String(decoding: range.bounds.map { bytes[$0] }, as: UTF8.self)
    }
}

extension AdminAccess {
    /// What the configuration allows on a socket that listens there. That is not always at the configuration's address: a
    /// service manager may have opened it elsewhere.
    init(_ admin: AdminConfiguration?, at real: SocketAddress?) {
        guard let admin, let real else {
            changes = .refused
            return
        }
        names = admin.names
        if case .unix = real { isReachedByBrowsers = false }
        changes = admin.token.map { .token($0) } ?? (real.isOfThisMachine ? .free : .refused)
    }
}

extension SocketAddress {
    /// True where nobody can connect from another machine.
    var isOfThisMachine: Bool {
        switch self {
        case .unix: true
        case .ipv4(let host, _): host >> 24 == 127
        case .ipv6(let high, let low, _): high == 0 && low == 1
        }
    }
}
