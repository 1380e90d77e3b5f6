import Crypto
import Logging
import Reactor
import TLS
import Upstream

/// Asks every server of every upstream that wants it for its page, and tells the verdicts.
final class HealthChecker {
    private final class Target {
        let upstream: String
        let server: ServerSettings
        let settings: HealthSettings
        /// TLS to the server; nil where connections are plain.
        let security: ServerSecurity?
        var check: HealthCheck
        var probe: HealthProbe?
        var lastFailure = ""

        init(
            _ upstream: String, _ server: ServerSettings, _ settings: HealthSettings,
            _ context: TLSClientContext?, now: Instant
        ) {
            self.upstream = upstream
            self.server = server
            self.settings = settings
            security = context.map { ServerSecurity($0, authority: server.authority) }
            check = HealthCheck(
                settings, isHealthy: server.state.isUp, now: now, random: Random.uint64() ?? 0)
        }

        func isSame(
            _ upstream: String, _ server: ServerSettings, _ settings: HealthSettings,
            _ context: TLSClientContext?
        ) -> Bool {
            self.upstream == upstream && self.server.state == server.state && self.settings == settings
                && security?.context === context
        }
    }

    var log: Logger
    private var targets: [Target] = []
    /// TLS to the servers of an upstream, by its name.
    private var contexts: [String: TLSClientContext] = [:]
    private var tokens = TokenSource(above: Token.firstProbe)

    /// Checks at once: each holds a descriptor for as long as its server takes to answer.
    private static let largestProbeCount = 256

    init(log: Logger) {
        self.log = log
    }

    /// Checks the servers of these upstreams from now on. One whose check is the same goes on.
    func configure(_ upstreams: [UpstreamSettings], now: Instant) {
        var wanted: [Target] = []
        makeContexts(upstreams)
        for upstream in upstreams {
            let context = contexts[upstream.name]
            for server in upstream.servers {
                guard let settings = upstream.health else {
                    // What was down by a check that is gone is not known to be down.
                    server.state.setUp(true, at: now)
                    continue
                }
                // Never a plain check where TLS is wanted: short of memory, the verdict stays.
                guard upstream.security == nil || context != nil else { continue }
                let known = targets.first { $0.isSame(upstream.name, server, settings, context) }
                wanted.append(known ?? Target(upstream.name, server, settings, context, now: now))
            }
        }
        targets = wanted
    }

    /// Makes what TLS needs where an upstream is checked over it; what has not changed is kept, with its checks.
    private func makeContexts(_ upstreams: [UpstreamSettings]) {
        var made: [String: TLSClientContext] = [:]
        for upstream in upstreams where upstream.health != nil {
            guard var settings = upstream.security else { continue }
            settings.protocols = upstream.speaksHTTP2 ? [.h2] : [.http11]
            let known = contexts[upstream.name]
            // The same was made when the settings were: a failure is a lack of memory.
            made[upstream.name] = known?.settings == settings ? known : try? TLSClientContext(settings)
        }
        contexts = made
    }

    /// When `run` is to be called next.
    var deadline: Instant {
        let hasRoom = targets.count { $0.probe != nil } < Self.largestProbeCount
        return targets.reduce(.never) {
            min($0, $1.probe?.deadline ?? (hasRoom ? $1.check.due : .never))
        }
    }

    /// Ends the checks whose time is over, and begins those that are due.
    func run(_ poller: borrowing Poller, now: Instant) {
        var room = Self.largestProbeCount - targets.count { $0.probe != nil }
        for target in targets {
            if let probe = target.probe {
                if probe.deadline <= now { settle(target, .failed("no answer in time"), now) }
            } else if target.check.due <= now, room > 0 {
                room -= 1
                begin(target, poller, now)
            }
        }
    }

    /// The poller reports something of a check.
    func advance(_ token: UInt64, now: Instant) {
        guard let target = targets.first(where: { $0.probe?.token == token }) else { return }
        settle(target, target.probe?.advance(), now)
    }

    private func begin(_ target: Target, _ poller: borrowing Poller, _ now: Instant) {
        target.check.begin(at: now, random: Random.uint64() ?? 0)
        do throws(Errno) {
            target.probe = try HealthProbe(
                target.server, target.settings, target.security, token: tokens.next(), poller, now)
        } catch {
            // Where the process has no descriptor left, that is not the server's fault: the verdict stays.
            guard !error.isExhaustion else { return _ = target.check.end(passed: target.check.isHealthy) }
            settle(target, .failed("\(error)"), now)
        }
    }

    private func settle(_ target: Target, _ outcome: HealthProbe.Outcome?, _ now: Instant) {
        guard let outcome else { return }
        target.probe = nil
        if case .failed(let reason) = outcome { target.lastFailure = reason }
        guard target.check.end(passed: outcome == .passed) else { return }
        target.server.state.setUp(target.check.isHealthy, at: now)
        report(target)
    }

    private func report(_ target: Target) {
        var metadata: Logger.Metadata = [
            "upstream": "\(target.upstream)", "server": "\(target.server.address)",
        ]
        if target.check.isHealthy {
            log.notice("server is healthy again", metadata: metadata)
        } else {
            metadata["reason"] = "\(target.lastFailure)"
            log.warning("server is unhealthy: it gets no requests", metadata: metadata)
        }
    }
}
