import Config
import JOSE
import Policy
import Reactor
import TLS

// Whether an introspection endpoint takes what a running proxy asks, and by whose name it asks.

extension Doctor {
    /// No server has issued this one.
    private static let unknownToken = Array("usher-doctor-asks-about-no-token".utf8)
    /// From the connect to the end of the answer: as long as other servers have.
    private static let questionMilliseconds: Int64 = 3000

    /// Asks about a token that nobody has issued: whoever takes the credentials says that it is not active (RFC 7662 §2.2).
    func examineIntrospection(_ source: RemoteSource, _ name: String, _ remedy: String) {
        let addresses = SocketAddress.resolve(source.url.host, port: source.url.port)
        guard !addresses.isEmpty else { return tellNoAddress(name) }
        var trust = ServerTrust(source.authorities)
        let system = SystemTrust(SystemAuthorities(environment: environment))
        do throws(WaitingProbe.Failure) {
            let answer = try Self.firstAnswer(of: addresses) { address throws(WaitingProbe.Failure) in
                try ask(source, at: address, trusting: &trust, or: system)
            }
            judge(answer, of: source, name)
        } catch {
            tell(error, name, remedy)
        }
    }

    private func judge(_ answer: FetchAnswer, of source: RemoteSource, _ name: String) {
        let sent =
            "POST \(Self.path(of: source.url)) about a token that nobody has issued gave \(answer.status)"
        let until = "until then every token of this issuer is 503"
        switch (answer.status, IntrospectionAnswer.isActive(answer.body)) {
        case (200, false): good("\(name): takes client_id and client_secret (\(sent), not active)")
        case (200, true):
            bad(
                "\(name): says that such a token is active (\(sent))",
                "correct \"url\": whatever answers there, it judges no tokens, and every one would be good")
        case (200, nil):
            bad(
                "\(name): its answer is not one about a token (\(sent), without \"active\")",
                "correct \"url\": it is that of the introspection endpoint (RFC 7662); \(until)")
        case (401, _):
            bad(
                "\(name): does not accept client_id and client_secret (\(sent))",
                "correct them, or let the client prove itself by HTTP Basic (client_secret_basic); \(until)")
        case (403, _):
            bad(
                "\(name): does not let this client ask (\(sent))",
                "allow the client of \"client_id\" to introspect tokens; \(until)")
        default:
            bad(
                "\(name): does not answer the question (\(sent))",
                "correct \"url\", or look at its log; \(until)")
        }
    }

    /// Sends what a running proxy sends, and waits for the answer.
    private func ask(
        _ source: RemoteSource, at address: SocketAddress, trusting trust: inout ServerTrust,
        or system: SystemTrust
    ) throws(WaitingProbe.Failure) -> FetchAnswer {
        let question = RemoteQuestion(
            key: RemoteKey(source: source.name, stamp: 0, credential: Self.unknownToken), form: .token,
            text: Self.unknownToken, clientAddress: "")
        let deadline = Instant.now().advanced(byMilliseconds: Self.questionMilliseconds)
        var poller: Poller
        do throws(Errno) { poller = try Poller() } catch { throw .unreachable("\(error)") }
        let connection: FetchConnection
        do throws(FetchFailure) {
            connection = try FetchConnection(
                to: address, source.url,
                trusting: trust.context(or: system),
                sending: source.request(question), poller, 0)
        } catch {
            throw .unreachable(error.reason)
        }
        while true {
            guard poller.waitForEvent(until: deadline) else {
                throw Self.failure("no answer in time", connection)
            }
            do throws(FetchFailure) {
                if let answer = try connection.advance() { return answer }
            } catch {
                throw Self.failure(error.reason, connection)
            }
        }
    }

    private static func failure(_ reason: String, _ connection: FetchConnection) -> WaitingProbe.Failure {
        if connection.isConnecting { return .unreachable(reason) }
        return connection.isBeforeRequest ? .unproven(reason) : .noAnswer(reason)
    }
}
