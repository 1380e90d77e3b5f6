import Config
import Proxy
import Reactor
import TLS

// Whether there can be listened where the configuration says, and who does so already.

extension Doctor {
    /// How somebody who listens at an address can be asked who it is.
    private enum Approach {
        /// By HTTP as it is.
        case plain(speaksHTTP2: Bool)
        /// Through TLS, where whoever is there has to show a certificate of the listener.
        case secure(ServerSecurity, speaksHTTP2: Bool)
        /// Not at all, for that reason.
        case none(String)
    }

    /// Who that is.
    private enum Holder {
        case usher
        /// Somebody with a key of the listener, who says no more.
        case bearerOfCertificate
        /// Somebody else, as that shows.
        case other(String)
        /// It cannot be told, for that reason.
        case unknown(String)
    }

    func examineListeners() {
        let running = runningVersion
        for listener in configuration.listeners {
            examine(SocketAddress(listener.address), "[listen.\(listener.name)]", running) {
                Self.approach(to: listener)
            }
        }
        if let admin = configuration.admin {
            examine(SocketAddress(admin.address), "[admin]", running) { .plain(speaksHTTP2: false) }
        }
    }

    private func examine(
        _ address: SocketAddress, _ table: String, _ running: String?, by approach: () -> Approach
    ) {
        let name = "\(table) \(address)"
        guard let reason = Self.obstacle(at: address) else { return good("\(name): free") }
        guard Self.takesConnections(address) else {
            return bad("\(name): \(reason)", Self.remedy(address, reason))
        }
        if let running { return good("\(name): usher \(running) listens there already") }
        let ours = "if that is this usher, nothing is wrong; \(Self.eviction)"
        switch Self.holder(of: address, by: approach()) {
        case .usher:
            note(
                "\(name): an usher listens there already",
                "if that is the one of this file, nothing is wrong; \(Self.eviction)")
        case .bearerOfCertificate:
            note(
                "\(name): \(reason); who listens there shows this listener's certificate, and does not say who it is",
                ours)
        case .unknown(let why) where configuration.admin == nil:
            note("\(name): \(reason); without [admin] it cannot be told by whom: \(why)", ours)
        case .unknown: bad("\(name): \(reason)", ours)
        case .other(let sign): bad("\(name): \(reason); \(sign)", ours)
        }
    }

    // MARK: Who is there

    private static func approach(to listener: ListenerConfiguration) -> Approach {
        if listener.proxyProtocol { return .none("a PROXY header is wanted there first") }
        let speaksHTTP2 = listener.protocols == .http2
        guard let tls = listener.tls else { return .plain(speaksHTTP2: speaksHTTP2) }
        guard let facts = try? tls.settings.certificates.first?.check(), let host = facts.hosts.first else {
            return .none("the certificate of the listener has no name to ask for")
        }
        let now = wallClockMicroseconds() / 1_000_000
        guard facts.notBefore <= now, now < facts.notAfter else {
            return .none("the certificate of the listener does not hold now")
        }
        // The server's own certificates are all that is trusted: nobody else has their keys.
        var settings = TLSClientSettings(
            trusting: Array(tls.settings.certificates.map(\.certificate).joined(separator: [0x0A])))
        settings.trustsLeaves = true
        settings.protocols = speaksHTTP2 ? [.h2] : [.http11]
        guard let context = try? TLSClientContext(settings) else { return .none("TLS cannot be set up") }
        let name = host.hasPrefix("*.") ? "usher-doctor" + host.dropFirst() : host
        return .secure(ServerSecurity(context, authority: name), speaksHTTP2: speaksHTTP2)
    }

    /// Asks for a target that an usher passes on to no backend: its problem documents name it.
    private static func holder(of address: SocketAddress, by approach: Approach) -> Holder {
        var probe = WaitingProbe(address: address.reachable, host: "localhost")
        switch approach {
        case .none(let reason): return .unknown(reason)
        case .plain(let speaksHTTP2): probe.speaksHTTP2 = speaksHTTP2
        case .secure(let security, let speaksHTTP2):
            (probe.security, probe.speaksHTTP2) = (security, speaksHTTP2)
        }
        do throws(WaitingProbe.Failure) {
            let answer = try probe.get("/usher-doctor/../")
            let isProblem = String(decoding: answer.body, as: UTF8.self).contains("\"urn:problem-type:usher:")
            return answer.status >= 400 && isProblem ? .usher : .other("no usher answers there")
        } catch {
            switch error {
            case .unproven(let reason):
                return .other("nobody shows this listener's certificate there: \(reason)")
            // Clients may have to show a certificate, too, which comes to light behind the handshake.
            case .noAnswer where probe.security != nil: return .bearerOfCertificate
            case .noAnswer, .unreachable: return .other("no usher answers there")
            }
        }
    }

    /// The version of the usher that answers at the admin address; nil where none does.
    private var runningVersion: String? {
        guard let admin = configuration.admin else { return nil }
        let address = SocketAddress(admin.address).reachable
        guard let answer = try? WaitingProbe(address: address, host: "localhost").get("/version"),
            answer.status == 200
        else { return nil }
        let text = String(decoding: answer.body, as: UTF8.self).split(separator: "\"")
        return text.count > 3 && text[1] == "version" ? String(text[3]) : nil
    }

    // MARK: What is in the way

    private static let taken = "somebody listens there"
    private static let eviction =
        "else end the program that has the address (ss -ltnp shows it), or take another one"

    private static func remedy(_ address: SocketAddress, _ reason: String) -> String {
        if case .unix = address, reason != taken {
            return "name a place for a socket, in a folder that the user of the process may write to"
        }
        if reason.contains("ermission") { return "take a port from 1024 on, or let systemd open the socket" }
        if reason.contains("annot assign") {
            return "take an address of this machine (ip address shows them)"
        }
        return eviction
    }

    /// Why nobody could listen there; nil where somebody could.
    private static func obstacle(at address: SocketAddress) -> String? {
        if case .unix(let path) = address {
            return takesConnections(address) ? taken : FilePlace.obstacle(to: .listening, at: path)
        }
        do throws(Errno) {
            try Listener.expectFree(address)
            _ = try Listener(at: address)
            return nil
        } catch {
            return "\(error)"
        }
    }

    private static func takesConnections(_ address: SocketAddress) -> Bool {
        do throws(WaitingProbe.Failure) {
            try WaitingProbe(address: address.reachable, host: "").connect()
            return true
        } catch {
            return false
        }
    }
}
