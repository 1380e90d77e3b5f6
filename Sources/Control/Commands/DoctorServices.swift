import Config
import Reactor
import Redis
import TLS

// What a running proxy needs besides backends and keys: the servers that decide about credentials, the shared store, and
// the collector of traces. While one of them is away, requests may be refused that nothing else is wrong with.

extension Doctor {
    /// Addresses of one name that are tried: each may take the whole of its time.
    private static let triedAddresses = 4
    /// From the connect to the end of the login: as long as a server of an upstream has for its answer.
    private static let loginMilliseconds: Int64 = 3000

    func examineServices() {
        // Those whose keys are fetched are heard of there: it is the same server.
        let fetched = Set(configuration.keyIssuers.map(\.name))
        for source in configuration.remoteSources where !fetched.contains(source.name) {
            let name = "[\(source.name)] \(source.url.origin)"
            let remedy = "start it, or correct \"url\"; until then, what it alone can decide about is 503"
            switch source.kind {
            case .introspection: examineIntrospection(source, name, remedy)
            case .betterAuthSession: examine(source.url, source.authorities, name, remedy)
            }
        }
        if let shared = configuration.shared { examine(shared) }
        if let tracing = configuration.tracing {
            examine(
                tracing.url, tracing.authorities, "[tracing] \(tracing.url.origin)",
                "start it, or correct \"url\"; until then spans are lost, and requests are not touched")
        }
    }

    // MARK: Servers of HTTP

    /// Any answer will do: a collector has none for GET, and a server of sessions none for somebody without one.
    private func examine(_ url: RemoteURL, _ authorities: [UInt8]?, _ name: String, _ remedy: String) {
        let addresses = SocketAddress.resolve(url.host, port: url.port)
        guard !addresses.isEmpty else { return tellNoAddress(name) }
        let security: ServerSecurity?
        do throws(CertificateFault) {
            security = try url.isSecure ? trust(in: url, authorities) : nil
        } catch {
            return bad(
                "\(name): TLS cannot be set up: \(error)", "correct \"ca\", or install ca-certificates")
        }
        do throws(WaitingProbe.Failure) {
            let answer = try Self.firstAnswer(of: addresses) { address throws(WaitingProbe.Failure) in
                try WaitingProbe(address: address, host: url.authority, security: security).get(url.target)
            }
            good("\(name): answers (GET \(Self.path(of: url)) gave \(answer.status))")
        } catch {
            tell(error, name, remedy)
        }
    }

    /// What the first of the addresses that answers says; throws what tells the most where none does.
    static func firstAnswer<Answer>(
        of addresses: [SocketAddress], _ ask: (SocketAddress) throws(WaitingProbe.Failure) -> Answer
    ) throws(WaitingProbe.Failure) -> Answer {
        var failure = WaitingProbe.Failure.unreachable("")
        for address in addresses.prefix(triedAddresses) {
            do throws(WaitingProbe.Failure) {
                return try ask(address)
            } catch {
                // What somebody there has to say tells more than another address where nobody is.
                if case .unreachable = failure { failure = error }
            }
        }
        throw failure
    }

    private func trust(
        in url: RemoteURL, _ authorities: [UInt8]?
    ) throws(CertificateFault) -> ServerSecurity {
        let trusted = SystemAuthorities(environment: environment).load(unless: authorities)
        return ServerSecurity(
            try TLSClientContext(TLSClientSettings(trusting: trusted)), authority: url.authority)
    }

    /// Without the query, which may hold a key that is nobody's business.
    static func path(of url: RemoteURL) -> Substring { url.target.prefix { $0 != "?" } }

    /// Says why a server of HTTP has not answered.
    func tell(_ failure: WaitingProbe.Failure, _ name: String, _ remedy: String) {
        switch failure {
        case .unreachable(let reason): bad("\(name): \(reason)", remedy)
        case .noAnswer(let reason):
            bad(
                "\(name): takes connections, but does not answer: \(reason)",
                "see whether it speaks HTTP/1.1 on that port; \(remedy)")
        case .unproven(let reason):
            bad(
                "\(name): does not prove to be the server: \(reason)",
                "name its authority in \"ca\", and look at the names and dates of its certificate")
        }
    }

    // MARK: The shared store

    private func examine(_ shared: SharedConfiguration) {
        let name = "[shared] \(shared.address)"
        let addresses = SocketAddress.all(of: shared.address)
        guard !addresses.isEmpty else { return tellNoAddress(name) }
        var reason = ""
        for address in addresses.prefix(Self.triedAddresses) {
            do throws(StoreFailure) {
                try logIn(at: address, shared)
                return good("\(name): takes the login and the scripts")
            } catch {
                reason = error.reason
            }
        }
        let consequence =
            switch shared.whenUnavailable {
            case .refuse: "what needs it is 503 (when_unavailable = \"refuse\")"
            case .local: "each proxy counts for itself, and revocations do not get about"
            }
        bad(
            "\(name): \(reason)", "start it, or correct address, user and password; until then \(consequence)"
        )
    }

    /// Does what a proxy does before its first call, and leaves.
    private func logIn(at address: SocketAddress, _ shared: SharedConfiguration) throws(StoreFailure) {
        let login = RedisLogin(
            user: Array(shared.user.utf8), password: shared.password?.bytes, database: shared.database)
        let secured = try trust(in: shared)
        var poller: Poller
        do throws(Errno) { poller = try Poller() } catch { throw StoreFailure(reason: "\(error)") }
        var isAddress = true
        if case .name = shared.address { isAddress = false }
        let line = try StoreLine(
            to: address, RedisSession(login: login, scripts: StoreScript.texts), secured: secured,
            host: shared.host, isAddress: isAddress, poller, 1)
        let deadline = Instant.now().advanced(byMilliseconds: Self.loginMilliseconds)
        while !line.isReady {
            guard poller.waitForEvent(until: deadline) else {
                throw StoreFailure(reason: "takes no connection, or no login, in time")
            }
            _ = try line.advance()
        }
    }

    private func trust(in shared: SharedConfiguration) throws(StoreFailure) -> TLSContext? {
        guard shared.isSecure else { return nil }
        let trusted = SystemAuthorities(environment: environment).load(unless: shared.authorities)
        do throws(TLSError) { return try TLSContext(clientTrusting: trusted.span) } catch {
            throw StoreFailure(reason: "TLS cannot be set up: \(error)")
        }
    }
}
