import Bytes
import Config
import Control
import HTTP
import JOSE
import Policy
import Reactor

/// An explanation for people to read.
struct ExplanationText {
    private let explanation: Explanation
    private let request: ImaginedRequest
    private let configuration: Configuration
    private let mask: CredentialMask
    private var lines: [String] = []

    /// The text of that explanation; `mask` takes the credentials out.
    init(
        _ explanation: Explanation, _ request: ImaginedRequest, _ configuration: Configuration,
        _ mask: CredentialMask
    ) {
        self.explanation = explanation
        self.request = request
        self.configuration = configuration
        self.mask = mask
        addRequest()
        addChecks()
        if explanation.refusedBy == nil { addForwarded() } else { addAnswer() }
    }

    /// The whole of it, with a line feed behind each line.
    var text: String { lines.map { Console.harmless($0) + "\n" }.joined() }

    private var route: RouteConfiguration? { explanation.route.map { configuration.routes[$0] } }

    // MARK: The request

    private mutating func addRequest() {
        let scheme = request.isSecure ? "https" : "http"
        lines.append("\(request.method) \(scheme)://\(request.host)\(mask.text(request.target))")
        let listener = configuration.listeners[request.listener]
        let peer = PeerFacts(address: request.address, listener: request.listener, isSecure: false)
        let text = peer.addressText
        let who =
            text.isEmpty ? "a Unix socket" : String(decoding: text.indices.map { text[$0] }, as: UTF8.self)
        let trust = explanation.peerIsTrusted ? ", a trusted proxy" : ""
        let mode = listener.answersForwardAuth ? " (forward-auth: as the request that is asked about)" : ""
        lines.append("from \(who)\(trust), by listener \"\(listener.name)\"\(mode)")
        lines.append("")
    }

    // MARK: The checks

    private mutating func addChecks() {
        lines.append("Checks")
        add(.request, "request", "well-formed, the path is unambiguous")
        add(.route, "route", routeText)
        if let limit = route?.rateLimit { note("limit", "\(limit): nothing is counted here") }
        for key in explanation.keys { note("keys", text(key)) }
        if let asked = explanation.asked { note("keys", "\(asked) decides about it, and is not asked here") }
        if route != nil { add(.authentication, "token", tokenText) }
        if let route, !route.require.isEmpty {
            add(.requirements, "require", route.require.map(RouteRow.text).joined(separator: " or "))
        }
        if let route, !route.scopes.isEmpty { add(.scopes, "scopes", route.scopes.joined(separator: " ")) }
        if explanation.refusedBy == .forward {
            add(.forward, explanation.code == .tooLarge ? "body" : "forward", "what the backend gets")
        }
        lines.append("")
    }

    private mutating func add(_ step: Explanation.Step, _ name: String, _ text: String) {
        guard let refused = explanation.refusedBy else { return addRow("ok", name, text) }
        guard step != refused else {
            if explanation.code == .ok { return addRow("ok", name, "\(text): the proxy answers itself") }
            let detail = explanation.detail.isEmpty ? "" : " (\(explanation.detail))"
            addRow("NO", name, "\(explanation.code.text)\(detail)" + (hint(step).map { ": \($0)" } ?? ""))
            return
        }
        let isBefore = step.rawValue < refused.rawValue
        let later = text.isEmpty ? "not reached" : "not reached: \(text)"
        addRow(isBefore ? "ok" : "-", name, isBefore ? text : later)
    }

    private mutating func note(_ name: String, _ text: String) { addRow("", name, text) }

    private mutating func addRow(_ mark: String, _ name: String, _ text: String) {
        let padding = { (text: String, width: Int) in
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        lines.append("  \(padding(mark, 4))\(padding(name, 9))\(mask.text(text))")
    }

    private var routeText: String {
        if configuration.listeners[request.listener].redirectPort != nil {
            return "the listener sends everybody to the secure one"
        }
        guard let route else { return "" }
        let methods = route.methods.isEmpty ? "" : route.methods.joined(separator: ",") + " "
        let hosts = route.hosts.isEmpty ? "" : route.hosts.joined(separator: ",")
        return "\(methods)\(hosts)\(route.path.text), auth \(RouteRow.text(route.authentication))"
    }

    private var tokenText: String {
        if let route, route.authentication == .open { return "none is looked at" }
        if explanation.refusedBy == .route { return "" }
        guard let user = explanation.user else { return "nobody: there is none, and none is needed" }
        let issuer = explanation.issuer.map(name) ?? ""
        guard let expires = explanation.expires else { return "\(user), by \(issuer)" }
        return "\(user), by \(issuer), for another \(Self.duration(expires - Self.now))"
    }

    private func name(_ place: Int) -> String {
        let issuers = configuration.keyIssuers
        guard place >= issuers.count else { return issuers[place].name }
        return configuration.sessions[place - issuers.count].name
    }

    private func text(_ key: Explanation.KeyNote) -> String {
        let issuer = name(key.issuer)
        guard let failure = key.failure else { return "those of \(issuer) were fetched" }
        return "those of \(issuer) were not fetched: \(failure)"
    }

    // MARK: Why

    /// What would have to be different.
    private func hint(_ step: Explanation.Step) -> String? {
        switch step {
        case .route: "no route has this host, path and method; \"usher routes\" shows all"
        case .authentication: tokenHint
        case .requirements:
            route.map { "needs " + $0.require.map(RouteRow.text).joined(separator: " or ") }
        case .scopes: route.map { "needs " + $0.scopes.joined(separator: " ") }
        case .forward:
            explanation.code == .tooLarge ? "Content-Length says more than the route's max_body" : nil
        case .request, .rateLimit: nil
        }
    }

    private var tokenHint: String? {
        guard let route else { return nil }
        switch explanation.code {
        case .tokenMissing:
            return "the route takes credentials of \(names(of: route).joined(separator: ", "))"
        case .originRefused:
            return "a cookie counts for more than reading only with an Origin that is trusted"
        case .tokenInvalid, .tokenExpired: break
        default: return nil
        }
        return TokenParts(request)?.reason(explanation.detail, accepted: accepted(by: route), now: Self.now)
    }

    private func accepted(by route: RouteConfiguration) -> [IssuerConfiguration] {
        let names = names(of: route)
        return configuration.issuers.filter { names.contains($0.name) }
    }

    /// The issuers and sessions that the route takes credentials of.
    private func names(of route: RouteConfiguration) -> [String] {
        switch route.authentication {
        case .open: []
        case .required(let names), .optional(let names): names
        }
    }

    // MARK: The end

    private mutating func addForwarded() {
        guard let place = explanation.upstream else { return }
        let upstream = configuration.upstreams[place]
        lines.append("The backend \"\(upstream.name)\" sees")
        lines.append("  \(request.method) \(mask.text(explanation.target)) HTTP/1.1")
        for field in explanation.fields { lines.append("  " + mask.line(field)) }
        let gone = withheld
        if !gone.isEmpty { lines.append("and not the client's \(gone.joined(separator: ", "))") }
        lines.append("")
        let servers = upstream.servers.map { $0.address.description }.joined(separator: " or ")
        if configuration.listeners[request.listener].answersForwardAuth {
            lines.append("Answer: 200 and the identity headers, for the proxy that asks")
        } else {
            lines.append("Answer: the backend's (\(servers))")
        }
    }

    /// The names of the client's fields that are not passed on as they are.
    private var withheld: [String] {
        let seen = Set(explanation.fields.map { $0.lowercased() })
        var names: [String] = []
        for field in request.fields where !seen.contains("\(field.name): \(field.value)".lowercased()) {
            if !names.contains(field.name) { names.append(field.name) }
        }
        return names
    }

    private mutating func addAnswer() {
        let status = explanation.status
        let reason = explanation.code == .ok ? "" : " \(explanation.code.text)"
        lines.append("Answer: \(status)\(reason); nothing reaches a backend")
        lines.append("  HTTP/1.1 \(status) \(ReasonCode.phrase(for: status))")
        for field in explanation.fields { lines.append("  " + field) }
        lines.append("")
        for line in explanation.body.split(separator: "\n") { lines.append("  " + line) }
    }

    private static var now: Int64 { wallClockMicroseconds() / 1_000_000 }

    /// Two units at most, such as `9 min 58 s`.
    static func duration(_ seconds: Int64) -> String {
        let units: [(Int64, String)] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")]
        var rest = max(0, seconds)
        var parts: [String] = []
        for (size, name) in units where rest >= size && parts.count < 2 {
            parts.append("\(rest / size) \(name)")
            rest %= size
        }
        return parts.isEmpty ? "0 s" : parts.joined(separator: " ")
    }
}

extension TokenParts {
    /// Those of the token in Authorization; nil where there is none that can be read.
    fileprivate init?(_ request: ImaginedRequest) {
        guard let value = request.fields.first(where: { $0.name.lowercased() == "authorization" })?.value,
            let text = value.split(separator: " ").last
        else { return nil }
        self.init(Array(text.utf8))
    }
}
