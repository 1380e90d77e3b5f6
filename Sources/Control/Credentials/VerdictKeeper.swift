import Config
import Logging
import Policy
import Proxy
import Reactor

/// Asks servers about credentials on the control loop, and never blocks it.
///
/// One question about a credential is under way at a time, whichever workers ask. Each server has a few connections,
/// which stay open, and a queue that is bounded: the trouble of one server touches no other.
final class VerdictKeeper {
    /// Where look-ups of names are answered; the loop watches it.
    let lookups: Inbox<LookupAnswer>
    /// What the log gets; its level may change.
    var log: Logger
    private(set) var servers: [AskedServer] = []
    private var answers: [RemoteAnswer] = []
    private var running: [UInt32: NameLookup] = [:]
    private var lastLookup: UInt32 = 0
    private var lastStamp: UInt64 = 0
    private var tokens = TokenSource(above: Token.firstVerdict)
    private let trust: SystemTrust

    /// A keeper of nothing yet. `environment` may name the system's certificates (`SSL_CERT_FILE`).
    init(environment: [String: String], log: Logger) throws(Errno) {
        lookups = try Inbox()
        trust = SystemTrust(SystemAuthorities(environment: environment))
        self.log = log
    }

    // MARK: Settings

    /// Takes over the servers of a configuration; one that is asked as before keeps its connections.
    func configure(_ sources: [RemoteSource]) {
        servers = sources.map { source in
            if let known = servers.first(where: { $0.source == source }) { return known }
            lastStamp += 1
            return AskedServer(source, stamp: lastStamp)
        }
    }

    /// Puts the stamps into a policy that was compiled from the same configuration.
    func fill(_ policy: inout PolicySpec) {
        for place in policy.remoteSources.indices {
            let server = servers.first { $0.source.name == policy.remoteSources[place].name }
            policy.remoteSources[place].stamp = server?.stamp ?? 0
        }
    }

    // MARK: The loop

    /// When `run` is to be called next.
    var deadline: Instant {
        answers.isEmpty ? servers.reduce(.never) { min($0, $1.deadline) } : Instant(microseconds: .min)
    }

    /// What the workers are to be told since the last call.
    func takeAnswers() -> [RemoteAnswer] {
        defer { answers.removeAll() }
        return answers
    }

    /// A worker asks.
    func ask(_ question: RemoteQuestion, _ poller: borrowing Poller, now: Instant) {
        guard
            let server = servers.first(where: {
                $0.source.name == question.key.source && $0.stamp == question.key.stamp
            })
        else {
            // Settings that are no more: the worker that asked is about to hear of the new ones.
            return answers.append(RemoteAnswer(key: question.key, result: .unavailable))
        }
        if let answer = server.ask(question, now: now) { return answers.append(answer) }
        serve(server, poller, now)
    }

    /// The poller reports something of a connection.
    func advance(_ token: UInt64, _ poller: borrowing Poller, now: Instant) {
        for server in servers {
            guard let line = server.line(token) else { continue }
            advance(line, of: server, now)
            return serve(server, poller, now)
        }
    }

    /// Acts on deadlines that have passed.
    func run(_ poller: borrowing Poller, now: Instant) {
        for server in servers where server.deadline <= now {
            for line in server.lines where line.deadline <= now {
                settle(line, of: server, failure: FetchFailure("no answer in time"), now)
            }
            answers += server.expire(now: now)
            serve(server, poller, now)
        }
    }

    /// Takes in the answers to look-ups.
    func noteLookups(_ poller: borrowing Poller, now: Instant) {
        for answer in lookups.receive() {
            running.removeValue(forKey: answer.identifier)?.finish()
            guard let server = servers.first(where: { $0.lookup == answer.identifier }) else { continue }
            server.lookup = nil
            let port = server.source.url.port
            server.note(addresses: answer.addresses.map { $0.with(port: port) }, now: now)
            if server.formerAddress == nil {
                giveUp(server, "the name \"\(server.source.url.host)\" has no address", now)
            }
            serve(server, poller, now)
        }
    }

    // MARK: One server

    /// Puts questions that wait, as long as a connection is free or may be opened.
    private func serve(_ server: AskedServer, _ poller: borrowing Poller, _ now: Instant) {
        while let question = server.next {
            if let line = server.idleLine {
                guard line.connection.isQuiet else {
                    server.drop(line)
                    continue
                }
                server.removeNext()
                line.carries(question, until: now.advanced(byMilliseconds: AskedServer.answerMilliseconds))
                send(question, on: line, of: server, now)
                continue
            }
            guard server.mayOpenLine, let address = address(of: server, now) else { return }
            server.removeNext()
            open(address, for: question, of: server, poller, now)
        }
    }

    private func send(
        _ question: RemoteQuestion, on line: VerdictLine, of server: AskedServer, _ now: Instant
    ) {
        do throws(FetchFailure) {
            try line.connection.send(next: server.source.request(question))
        } catch {
            return settle(line, of: server, failure: error, now)
        }
        advance(line, of: server, now)
    }

    /// The address that is tried next; nil while it is looked up. A resolver may take half a minute to say that it knows nothing:
    /// as long as it has not answered, the server is where it was.
    private func address(of server: AskedServer, _ now: Instant) -> SocketAddress? {
        if let known = server.address(now: now) { return known }
        let url = server.source.url
        if let numeric = SocketAddress.numeric(url.host, port: url.port) {
            server.note(addresses: [numeric], now: now)
            return numeric
        }
        if server.lookup == nil { lookUp(server, now) }
        return server.formerAddress
    }

    private func lookUp(_ server: AskedServer, _ now: Instant) {
        let url = server.source.url
        lastLookup &+= 1
        do throws(Errno) {
            running[lastLookup] = try NameLookup(
                url.host, port: url.port, identifier: lastLookup, answerTo: lookups)
            server.lookup = lastLookup
        } catch {
            guard server.formerAddress == nil else { return }
            giveUp(server, "cannot look up \"\(url.host)\": \(error)", now)
        }
    }

    private func open(
        _ address: SocketAddress, for question: RemoteQuestion, of server: AskedServer,
        _ poller: borrowing Poller, _ now: Instant
    ) {
        let token = tokens.next()
        do throws(FetchFailure) {
            let connection = try FetchConnection(
                to: address, server.source.url, trusting: server.context(or: trust),
                sending: server.source.request(question), poller, token)
            let line = VerdictLine(connection, token: token)
            line.carries(question, until: now.advanced(byMilliseconds: AskedServer.connectMilliseconds))
            server.lines.append(line)
        } catch {
            server.putBack(question)
            connectFailed(server, address, error, now)
        }
    }

    /// Goes on as far as the connection is ready.
    private func advance(_ line: VerdictLine, of server: AskedServer, _ now: Instant) {
        let wasConnecting = line.connection.isConnecting
        do throws(FetchFailure) {
            let answer = try line.connection.advance()
            if wasConnecting {
                server.reached()
                line.deadline = now.advanced(byMilliseconds: AskedServer.answerMilliseconds)
            }
            if let answer { settle(line, of: server, answer, now) }
        } catch {
            settle(line, of: server, failure: error, now)
        }
    }

    private func settle(_ line: VerdictLine, of server: AskedServer, _ answer: FetchAnswer, _ now: Instant) {
        guard let question = line.question else { return server.drop(line) }
        server.answered()
        do throws(FetchFailure) {
            let result = try server.source.verdict(answer)
            tell(server, question, result, RemoteSource.passable(answer.setCookies), now)
        } catch {
            complain(server, error.reason, now)
            tell(server, question, .unavailable, [], now)
        }
        if answer.isPersistent {
            line.rest(until: now.advanced(byMilliseconds: AskedServer.idleMilliseconds))
        } else {
            server.drop(line)
        }
    }

    /// A connection is over; what it carried may be asked again on another.
    private func settle(
        _ line: VerdictLine, of server: AskedServer, failure: FetchFailure, _ now: Instant
    ) {
        server.drop(line)
        guard let question = line.question else { return }
        if line.connection.isConnecting || failure.mayHelpToTryAnother {
            if !server.putElsewhere(question) { tell(server, question, .unavailable, [], now) }
            return connectFailed(server, line.connection.address, failure, now)
        }
        // The server closed a connection that had rested, as the question was on its way: it has not seen it.
        if line.isReused, line.deadline > now { return server.putBack(question) }
        // Whoever does not answer, or does not prove itself, may be one of several: the next questions go to the next one,
        // and this one too if it was not put.
        let goesOn = server.moveOn(from: line.connection.address)
        if goesOn, line.connection.isBeforeRequest, server.putElsewhere(question) { return }
        complain(server, failure.reason, now)
        tell(server, question, .unavailable, [], now)
        // Nobody there proves itself, at any of several addresses: whoever waits would only try them again.
        if !goesOn, line.connection.isBeforeRequest, server.isUnproven { answers += server.giveUp(now: now) }
    }

    /// The next address may do better; where none is left, everybody who waits is told.
    private func connectFailed(
        _ server: AskedServer, _ address: SocketAddress, _ failure: FetchFailure, _ now: Instant
    ) {
        guard !server.moveOn(from: address) else { return }
        giveUp(server, failure.reason, now)
    }

    private func giveUp(_ server: AskedServer, _ reason: String, _ now: Instant) {
        complain(server, reason, now)
        answers += server.giveUp(now: now)
    }

    private func tell(
        _ server: AskedServer, _ question: RemoteQuestion, _ result: RemoteAnswer.Result,
        _ cookies: [[UInt8]],
        _ now: Instant
    ) {
        let answer = RemoteAnswer(
            key: question.key, result: result, setCookies: question.form == .cookies ? cookies : [])
        server.concluded(answer, now: now)
        answers.append(answer)
    }

    /// One line a second for each server: a flood of questions is no flood of lines.
    private func complain(_ server: AskedServer, _ reason: String, _ now: Instant) {
        server.failures += 1
        guard server.quietUntil <= now else { return }
        server.quietUntil = now.advanced(byMilliseconds: 1000)
        log.warning(
            "a credential could not be checked",
            metadata: ["source": "\(server.source.name)", "reason": "\(server.source.url.place): \(reason)"])
    }
}
