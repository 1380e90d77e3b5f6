import Config
import Logging
import Reactor
import TLS
import Telemetry

/// Sends the workers' spans to a collector, by OTLP over HTTP with Protocol Buffers, on the control loop.
///
/// One request is under way at a time. While the collector is slow, or away, spans wait in the workers' queues, which are
/// bounded: what finds no room there is lost and counted, and no request is ever slower for it.
final class SpanExporter {
    /// Where look-ups of names are answered; the loop watches it.
    let lookups: Inbox<LookupAnswer>
    /// What the log gets; its level may change.
    var log: Logger
    /// What became of spans that were taken from the queues.
    private(set) var tally = SpanTally()

    /// How often one batch is tried before it is given up.
    static let triesOfBatch = 5
    /// Before the second try, doubled before each further one.
    static let firstPauseMilliseconds: Int64 = 1000
    static let longestPauseMilliseconds: Int64 = 30_000
    /// How long addresses of a name are used.
    private static let addressMilliseconds: Int64 = 30_000
    /// Between two looks at queues that fill fast.
    private static let hurriedMilliseconds: Int64 = 20
    /// Between two lines of the log about the same trouble.
    private static let quietMilliseconds: Int64 = 60_000

    private struct Target {
        let configuration: TracingConfiguration
        let resource: [UInt8]
        let head: String
    }

    private enum Phase {
        /// Nothing is under way.
        case resting
        case lookingUp(UInt32)
        case exchanging(FetchConnection)
    }

    private var target: Target?
    private var phase = Phase.resting
    /// A connection that may carry another batch.
    private var spare: FetchConnection?
    /// The connection had carried a batch before.
    private var isReused = false
    private var token: UInt64 = 0
    private var batch: SpanBatch?
    private var nextQueue = 0
    private var tries = 0
    private var addresses: [SocketAddress] = []
    private var addressPlace = 0
    private var addressesUntil = Instant.never
    /// The look-ups that have not ended, whether or not somebody still waits for them, and what they look up.
    private(set) var running: [UInt32: (lookup: NameLookup, host: String)] = [:]
    private var lastLookup: UInt32 = 0
    /// When what is under way is given up, or the next look at the queues is due.
    private(set) var deadline = Instant.never
    private var quietUntil = Instant(microseconds: .min)
    private var tokens = TokenSource(above: Token.firstExport)
    private let systemTrust: SystemTrust
    private var trust = ServerTrust(nil)
    private let instance: String

    /// An exporter of nothing yet. `environment` may name the system's certificates (`SSL_CERT_FILE`).
    init(environment: [String: String], log: Logger) throws(Errno) {
        lookups = try Inbox()
        systemTrust = SystemTrust(SystemAuthorities(environment: environment))
        self.log = log
        var random = SystemRandomNumberGenerator()
        instance = String(random.next() as UInt64, radix: 16)
    }

    /// Sends to the collector of this configuration from now on; a batch that is under way goes there too.
    func configure(_ tracing: TracingConfiguration?, now: Instant) {
        guard tracing != target?.configuration else { return }
        phase = .resting
        spare = nil
        addresses = []
        trust = ServerTrust(tracing?.authorities)
        tries = 0
        target = tracing.map { tracing in
            let resource =
                [
                    ("service.name", tracing.service), ("service.version", Version.usher),
                    ("service.instance.id", instance),
                ] + tracing.resource.map { ($0.name, $0.text) }
            return Target(
                configuration: tracing, resource: OTLP.resource(resource.map { (key: $0.0, value: $0.1) }),
                head: Self.head(tracing))
        }
        if target == nil { lose() }
        deadline = target == nil ? .never : now
    }

    // MARK: The loop

    /// Does what is due.
    func run(_ queues: [SpanQueue], _ poller: borrowing Poller, now: Instant) {
        guard deadline <= now, let target else { return }
        switch phase {
        case .resting: next(queues, poller, now)
        case .lookingUp:
            // Names that nobody looks up now are no reason to lose spans: the collector may well be where it was.
            guard addressPlace < addresses.count else { return failed("no answer in time", now) }
            addressesUntil = now.advanced(byMilliseconds: Self.addressMilliseconds)
            deadline = now.advanced(byMilliseconds: target.configuration.timeout.wholeMilliseconds)
            connect(target, poller, now)
        case .exchanging:
            // Whoever had that address may be gone, and nobody there to refuse.
            addressPlace += 1
            failed("no answer in time", now)
        }
    }

    /// The poller reports something of a connection.
    func advance(_ token: UInt64, _ queues: [SpanQueue], _ poller: borrowing Poller, now: Instant) {
        guard token == self.token else { return }
        if let spare, case .resting = phase {
            // Whatever it says unasked, or that it leaves: it carries nothing more.
            do throws(FetchFailure) {
                if try spare.advance() != nil { self.spare = nil }
            } catch { self.spare = nil }
            return
        }
        guard case .exchanging(let connection) = phase else { return }
        advance(connection, queues, poller, now)
    }

    /// Takes in the answers to look-ups.
    func noteLookups(_ poller: borrowing Poller, now: Instant) {
        for answer in lookups.receive() {
            running.removeValue(forKey: answer.identifier)?.lookup.finish()
            take(answer, poller, now)
        }
    }

    func take(_ answer: LookupAnswer, _ poller: borrowing Poller, _ now: Instant) {
        guard case .lookingUp(let identifier) = phase, identifier == answer.identifier, let target else {
            return
        }
        phase = .resting
        let port = target.configuration.url.port
        let found = answer.addresses.map { $0.with(port: port) }
        // What is known stays known while the name cannot be looked up. The same addresses, in whatever order, are no reason to
        // go back to one that gives no answer.
        if !found.isEmpty, Set(found) != Set(addresses) { (addresses, addressPlace) = (found, 0) }
        addressesUntil = now.advanced(byMilliseconds: Self.addressMilliseconds)
        guard !addresses.isEmpty else {
            return failed("the name \"\(target.configuration.url.host)\" has no address", now)
        }
        connect(target, poller, now)
    }

    /// Spans that are on their way, or wait: at the end of the process there is a moment for them.
    func isBusy(_ queues: [SpanQueue]) -> Bool {
        target != nil && (batch != nil || queues.contains { !$0.isEmpty })
    }

    /// Sends at once what waits, where nothing stands in the way.
    func hurry(now: Instant) {
        if case .resting = phase, tries == 0 { deadline = now }
    }

    // MARK: A batch

    private func next(_ queues: [SpanQueue], _ poller: borrowing Poller, _ now: Instant) {
        guard let target else { return }
        if batch == nil {
            batch = oldest(of: queues)
            tries = 0
        }
        guard batch != nil else { return rest(target, queues, now) }
        tries += 1
        deadline = now.advanced(byMilliseconds: target.configuration.timeout.wholeMilliseconds)
        isReused = spare != nil
        if let spare {
            self.spare = nil
            return send(target, on: spare, queues, poller, now)
        }
        if addressPlace < addresses.count, now < addressesUntil { return connect(target, poller, now) }
        let url = target.configuration.url
        if let numeric = SocketAddress.numeric(url.host, port: url.port) {
            (addresses, addressPlace) = ([numeric], 0)
            return connect(target, poller, now)
        }
        lookUp(url, now)
    }

    /// A batch of the next worker in turn that has one.
    private func oldest(of queues: [SpanQueue]) -> SpanBatch? {
        for _ in queues {
            nextQueue = (nextQueue + 1) % queues.count
            if let batch = queues[nextQueue].take() { return batch }
        }
        return nil
    }

    private func rest(_ target: Target, _ queues: [SpanQueue], _ now: Instant) {
        let isHurried = queues.contains { $0.isHurried }
        deadline = now.advanced(
            byMilliseconds: isHurried
                ? Self.hurriedMilliseconds : target.configuration.interval.wholeMilliseconds)
    }

    private func lookUp(_ url: RemoteURL, _ now: Instant) {
        // A resolver may take longer than a batch has: another look-up would not be faster, and each holds a thread.
        if let known = running.first(where: { $0.value.host == url.host }) {
            return phase = .lookingUp(known.key)
        }
        lastLookup &+= 1
        do throws(Errno) {
            let lookup = try NameLookup(
                url.host, port: url.port, identifier: lastLookup, answerTo: lookups)
            running[lastLookup] = (lookup, url.host)
            phase = .lookingUp(lastLookup)
        } catch {
            failed("cannot look up \"\(url.host)\": \(error)", now)
        }
    }

    private func connect(_ target: Target, _ poller: borrowing Poller, _ now: Instant) {
        token = tokens.next()
        do throws(FetchFailure) {
            phase = .exchanging(
                try FetchConnection(
                    to: addresses[addressPlace], target.configuration.url,
                    trusting: trust.context(or: systemTrust),
                    sending: request(target), poller, token))
        } catch {
            addressPlace += 1
            failed(error.reason, now)
        }
    }

    private func send(
        _ target: Target, on connection: FetchConnection, _ queues: [SpanQueue], _ poller: borrowing Poller,
        _ now: Instant
    ) {
        phase = .exchanging(connection)
        do throws(FetchFailure) {
            try connection.send(next: request(target))
        } catch {
            return failed(error.reason, now)
        }
        advance(connection, queues, poller, now)
    }

    private func advance(
        _ connection: FetchConnection, _ queues: [SpanQueue], _ poller: borrowing Poller, _ now: Instant
    ) {
        do throws(FetchFailure) {
            guard let answer = try connection.advance() else { return }
            phase = .resting
            isReused = false
            if answer.isPersistent { spare = connection }
            settle(answer, now)
            if deadline <= now { next(queues, poller, now) }
        } catch {
            // Whoever is there may be another one, or ill, and well at the next address. That a connection which had rested
            // ends says nothing.
            if !isReused { addressPlace += 1 }
            failed(error.reason, now)
        }
    }

    private func request(_ target: Target) -> [UInt8] {
        let body = OTLP.request(batch ?? SpanBatch(), resource: target.resource, version: Version.usher)
        return Array("\(target.head)Content-Length: \(body.count)\r\n\r\n".utf8) + body
    }

    private static func head(_ tracing: TracingConfiguration) -> String {
        let url = tracing.url
        var head =
            "POST \(url.target) HTTP/1.1\r\nHost: \(url.authority)\r\nUser-Agent: usher/\(Version.usher)\r\n"
            + "Content-Type: application/x-protobuf\r\nAccept-Encoding: identity\r\n"
        for header in tracing.headers {
            head += "\(header.name): \(String(decoding: header.value.bytes, as: UTF8.self))\r\n"
        }
        return head
    }

    // MARK: What came of it

    /// The collector has answered (OTLP 1, "OTLP/HTTP response").
    private func settle(_ answer: FetchAnswer, _ now: Instant) {
        switch answer.status {
        case 200...299:
            let count = UInt64(batch?.count ?? 0)
            let rejected = min(OTLP.rejectedSpans(answer.body), count)
            tally.exported += count - rejected
            tally.rejected += rejected
            if rejected > 0 { complain("the collector refused \(rejected) of \(count) spans", now) }
            batch = nil
            tries = 0
            deadline = now
        case 429, 502, 503, 504:
            failed(
                "the collector answered \(answer.status)", now,
                pauseMilliseconds: answer.retryAfterSeconds.map { min(max($0, 0), 3600) * 1000 })
        default:
            tally.failures += 1
            complain("the collector answered \(answer.status); its spans are lost", now)
            lose()
            deadline = now.advanced(byMilliseconds: Self.firstPauseMilliseconds)
        }
    }

    /// The batch did not get there: later once more, or never.
    private func failed(_ reason: String, _ now: Instant, pauseMilliseconds: Int64? = nil) {
        phase = .resting
        if isReused {
            // The server may have ended the connection as the batch was on its way.
            isReused = false
            tries -= 1
            return deadline = now
        }
        tally.failures += 1
        if addressPlace >= addresses.count { addresses = [] }
        let pause = Self.firstPauseMilliseconds << Int64(min(max(tries - 1, 0), 5))
        if tries >= Self.triesOfBatch {
            lose()
            complain("\(reason); its spans are lost", now)
        } else {
            complain(reason, now)
        }
        deadline = now.advanced(
            byMilliseconds: max(min(pause, Self.longestPauseMilliseconds), pauseMilliseconds ?? 0))
    }

    private func lose() {
        tally.given += UInt64(batch?.count ?? 0)
        batch = nil
        tries = 0
    }

    private func complain(_ reason: String, _ now: Instant) {
        guard quietUntil <= now else { return }
        quietUntil = now.advanced(byMilliseconds: Self.quietMilliseconds)
        log.warning(
            "spans could not be exported",
            metadata: [
                "collector": "\(target.map { "\($0.configuration.url.place)" } ?? "")", "reason": "\(reason)",
            ])
    }
}
