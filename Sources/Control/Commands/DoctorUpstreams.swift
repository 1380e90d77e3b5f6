import Config
import HTTP
import Reactor
import TLS

// The servers behind the proxy: whether they answer, what time they have, and what they make of what a proxy has to be
// careful with. Only GET is sent, with the name `usher-doctor` where a value is needed.

extension Doctor {
    /// How far the clocks may be apart before it is worth a line, and before tokens fail.
    private static let clockNoticeSeconds: Int64 = 5
    private static let clockBadSeconds: Int64 = 30

    func examine(_ upstream: UpstreamConfiguration) {
        let speaksHTTP2 = upstream.backendProtocol == .http2
        for server in upstream.servers {
            let name = "[upstream.\(upstream.name)] \(server.address)"
            guard let address = SocketAddress.first(of: server.address) else {
                tellNoAddress(name)
                continue
            }
            let host = if case .unix = server.address { "localhost" } else { "\(server.address)" }
            do throws(StartFailure) {
                let security = try upstream.tls.map { (tls) throws(StartFailure) in
                    try ServerSecurity(
                        tls, upstream: upstream.name, authority: host, speaksHTTP2: speaksHTTP2)
                }
                let probe = WaitingProbe(
                    address: address, host: host, security: security, speaksHTTP2: speaksHTTP2)
                examine(probe, name, upstream)
            } catch {
                bad(error.reason, "correct \"tls\" of the upstream, or install the package ca-certificates")
            }
        }
    }

    private func examine(_ probe: WaitingProbe, _ name: String, _ upstream: UpstreamConfiguration) {
        let path = samplePath(of: upstream)
        let answer: WaitingProbe.Answer
        do throws(WaitingProbe.Failure) {
            answer = try probe.get(path)
        } catch {
            return tell(error, name, path, probe)
        }
        good("\(name): answers (GET \(path) gave \(answer.status))")
        examineClock(answer, name)
        do throws(WaitingProbe.Failure) {
            try examineHabits(probe, name, path, answer)
        } catch {
            note("\(name): did not answer every question: \(error.reason)", "look at its log")
        }
    }

    private func tell(
        _ failure: WaitingProbe.Failure, _ name: String, _ path: String, _ probe: WaitingProbe
    ) {
        let version = probe.speaksHTTP2 ? "HTTP/2" : "HTTP/1.1"
        switch failure {
        case .noAnswer(let reason):
            bad(
                "\(name): takes connections, but does not answer GET \(path): \(reason)",
                probe.security != nil
                    ? "see whether it speaks \(version) on that port, and whether it wants a client certificate"
                    : "see whether it speaks plain \(version) on that port")
        case .unproven(let reason):
            bad(
                "\(name): does not prove to be the server: \(reason)",
                "name its authority in tls.ca and the name of its certificate in tls.server_name; look at its dates"
            )
        case .unreachable(let reason):
            bad(
                "\(name): \(reason)",
                "start the backend, or correct the address; inside a container, 127.0.0.1 is the container itself"
            )
        }
    }

    func tellNoAddress(_ name: String) {
        bad("\(name): the name has no address", "write the name right, or an address; see getent hosts NAME")
    }

    private func examineClock(_ answer: WaitingProbe.Answer, _ name: String) {
        guard let date = answer.field("date"), let seconds = HTTPDate.seconds(date) else { return }
        tellClock(name, apart: wallClockMicroseconds() / 1_000_000 - seconds)
    }

    /// Says how far a server's clock is from this one.
    func tellClock(_ name: String, apart: Int64) {
        let text = "\(name): its clock and this one are \(apart.magnitude) s apart"
        let remedy = "let both take the time from the network (chrony, systemd-timesyncd)"
        if apart.magnitude > UInt64(Self.clockBadSeconds) {
            bad(text, remedy + ": tokens would expire at the wrong time")
        } else if apart.magnitude > UInt64(Self.clockNoticeSeconds) {
            note(text, remedy)
        } else {
            good("\(name): its clock agrees with this one")
        }
    }

    // MARK: Habits

    private func examineHabits(
        _ probe: WaitingProbe, _ name: String, _ path: String, _ plain: WaitingProbe.Answer
    ) throws(WaitingProbe.Failure) {
        let nothing = try probe.get("/usher-doctor/nothing-is-here")
        let tells = plain.status != nothing.status
        let doubled = try probe.get("/" + path)
        if !tells {
            note(
                "\(name): whether it decodes %2f or merges // cannot be told: GET \(path) and "
                    + "GET /usher-doctor/nothing-is-here both gave \(plain.status)",
                "nothing to do: usher refuses targets with // and %2f either way")
        } else {
            tellPath(
                name, doubled.status == plain.status,
                "merges //: GET /\(path) gave \(doubled.status) like GET \(path)")
            if let encoded = Self.encodingLastSlash(of: path) {
                let decoded = try probe.get(encoded)
                tellPath(
                    name, decoded.status == plain.status,
                    "decodes %2f: GET \(encoded) gave \(decoded.status) like GET \(path)")
            }
        }
        try examineFolding(probe, name, path, plain)
    }

    private func tellPath(_ name: String, _ does: Bool, _ habit: String) {
        guard does else { return }
        note(
            "\(name): \(habit)",
            "let nothing but usher reach the backend: usher refuses such targets, whoever comes past it is not checked"
        )
    }

    /// Whether an underscore passes for a dash in the name of the identity header (rule H1).
    private func examineFolding(
        _ probe: WaitingProbe, _ name: String, _ path: String, _ plain: WaitingProbe.Answer
    ) throws(WaitingProbe.Failure) {
        guard let header = identityHeader, header.contains("-") else { return }
        let folded = String(header.map { $0 == "-" ? "_" : $0 })
        // Answers that differ by themselves (a time, a counter) tell nothing.
        let again = try probe.get(path)
        let trusted = try probe.get(path, "\(header): usher-doctor\r\n")
        let alias = try probe.get(path, "\(folded): usher-doctor\r\n")
        let sent = "GET \(path) with \"\(header): usher-doctor\" and with \"\(folded): usher-doctor\""
        guard again == plain, trusted != plain else {
            note(
                "\(name): whether it takes \(folded) for \(header) cannot be told from \(path) (\(sent))",
                "nothing to do: usher removes every such alias from requests")
            return
        }
        if alias == trusted {
            note(
                "\(name): takes \(folded) for \(header) (\(sent): the same answer)",
                "let nothing but usher reach the backend: usher removes the alias, other ways to it do not")
        } else {
            good("\(name): does not take \(folded) for \(header) (\(sent))")
        }
    }

    /// A path that the upstream serves, as far as the routes tell: the one with the most segments, `/` where there is none.
    private func samplePath(of upstream: UpstreamConfiguration) -> String {
        let paths = routePaths(of: upstream.name)
        return paths.max { $0.filter { $0 == "/" }.count < $1.filter { $0 == "/" }.count } ?? "/"
    }

    /// `/a/b` becomes `/a%2fb`; nil where there is only one segment.
    static func encodingLastSlash(of path: String) -> String? {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return nil }
        return path[..<slash] + "%2f" + path[path.index(after: slash)...]
    }
}

extension ServerSecurity {
    /// That of one server of an upstream; throws where its files cannot be used.
    init(
        _ tls: UpstreamTLSConfiguration, upstream: String, authority: String, speaksHTTP2: Bool
    ) throws(StartFailure) {
        var settings = try TLSClientSettings(tls, upstream: upstream)
        if speaksHTTP2 { settings.protocols = [.h2] }
        do throws(CertificateFault) {
            self.init(try TLSClientContext(settings), authority: authority)
        } catch {
            throw StartFailure("[upstream.\(upstream)]: TLS cannot be set up: \(error)")
        }
    }
}
