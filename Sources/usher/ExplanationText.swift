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
        addEnd()
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
        if let asked, !explanation.isUndecided { note("session", "\(asked) would be asked, too") }
        if route != nil { add(.authentication, isPreflight ? "cors" : "token", tokenText) }
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
            if let asked, explanation.isUndecided { return addRow("?", name, "\(asked) decides about it") }
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
        guard let user = explanation.user else {
            let text = "nobody: there is none, and none is needed"
            return misnamedCookie.map { "\(text); \($0)" } ?? text
        }
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
            return misnamedCookie
                ?? "the route takes credentials of \(names(of: route).joined(separator: ", "))"
        case .originRefused: return originHint(route)
        case .tokenInvalid, .tokenExpired: break
        default: return nil
        }
        return TokenParts(request)?.reason(explanation.detail, accepted: accepted(by: route), now: Self.now)
    }

    /// What is asked is whether a page may send such a request: `[cors.NAME]` alone says so, whoever its cookies are of.
    private var isPreflight: Bool {
        explanation.code == .originRefused && request.method == "OPTIONS" && route?.crossOrigin != nil
            && value(of: "access-control-request-method") != nil
    }

    private func originHint(_ route: RouteConfiguration) -> String {
        guard isPreflight, let rule = route.crossOrigin else {
            return "a cookie counts for more than reading only with an Origin that is trusted"
        }
        return "a preflight, and \"origins\" of [cors.\(rule)] lacks \(value(of: "origin") ?? "its Origin")"
    }

    /// Says that a session's cookie has the name that it would have under the other value of `secure_cookies`; nil where
    /// none has.
    private var misnamedCookie: String? {
        guard let route else { return nil }
        var cookies: [String] = []
        for field in request.fields where field.name.lowercased() == "cookie" {
            for pair in field.value.split(separator: ";") {
                cookies.append(String(pair.drop { $0 == " " }.prefix { $0 != "=" }))
            }
        }
        for session in configuration.sessions where names(of: route).contains(session.name) {
            let plain = "\(session.cookiePrefix).session_token"
            let secure = "__Secure-\(plain)"
            let (wanted, other) = session.secureCookies ? (secure, plain) : (plain, secure)
            guard cookies.contains(other) else { continue }
            return "the cookie is called \(other), but with secure_cookies = \(session.secureCookies) "
                + "[session.\(session.name)] reads \(wanted)"
        }
        return nil
    }

    /// The value of the first field of that name, which is in lower case.
    private func value(of name: String) -> String? {
        request.fields.first { $0.name.lowercased() == name }?.value
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

    private mutating func addEnd() {
        if let asked, explanation.isUndecided {
            lines.append("Answer: depends on \(asked), which is not asked here")
        } else if explanation.refusedBy != nil {
            addAnswer()
        } else if configuration.listeners[request.listener].answersForwardAuth {
            addConfirmation()
        } else {
            addForwarded()
        }
    }

    /// The server that would have to be asked.
    private var asked: String? { explanation.asked }

    /// What a proxy in front is told: all else about the request that goes on is its own matter.
    private mutating func addConfirmation() {
        lines.append("The proxy that asks gets")
        lines.append("  HTTP/1.1 200 OK")
        for field in explanation.fields { lines.append("  " + mask.line(field)) }
        lines.append("")
        lines.append("Answer: 200 and the identity headers, for the proxy that asks")
    }

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
        let doubt = asked.map { "; 400 if \($0), which is not asked here, names somebody else" } ?? ""
        lines.append("Answer: the backend's (\(servers))\(doubt)")
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
