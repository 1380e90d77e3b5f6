public import Config
import Logging
import Proxy
import Reactor
import TLS

/// What `usher doctor` does: looks at the surroundings of a configuration as they are now, and says what is wrong with
/// them and what to do about it.
public struct Doctor {
    /// One thing that was looked at.
    public struct Finding: Sendable, Equatable {
        /// How bad it is.
        public enum Level: String, Sendable {
            /// As it should be.
            case good = "ok"
            /// Worth knowing, or worth a change.
            case notice = "note"
            /// It will not work, or not safely.
            case bad = "BAD"
        }

        /// How bad it is.
        public let level: Level
        /// What was found, and how: one line.
        public let text: String
        /// What to do about it.
        public let remedy: String?
    }

    let configuration: Configuration
    let environment: [String: String]
    private let report: (Finding) -> Void

    /// A doctor who tells `report` each finding as soon as there is one.
    public init(
        _ configuration: Configuration, environment: [String: String], report: @escaping (Finding) -> Void
    ) {
        self.configuration = configuration
        self.environment = environment
        self.report = report
    }

    /// Looks at everything, which takes some seconds where something does not answer.
    public func examine() {
        examineDescriptors()
        examineListeners()
        examineCertificates()
        for upstream in configuration.upstreams { examine(upstream) }
        examineServices()
        examineKeys()
    }

    /// The name of the first identity header, which carries the user as a rule; nil where there is none.
    var identityHeader: String? { configuration.identity.headers.first?.name }

    /// Paths that an upstream serves by GET, what templates leave open filled in.
    func routePaths(of upstream: String) -> [String] {
        let routes = configuration.routes.filter { route in
            route.upstream == upstream && (route.methods.isEmpty || route.methods.contains("GET"))
        }
        return routes.map { route in
            let segments = route.path.text.split(separator: "/").filter { $0 != "**" }
            return "/"
                + segments.map { $0.hasPrefix("{") ? "usher-doctor" : String($0) }.joined(separator: "/")
        }
    }

    func good(_ text: String) { report(Finding(level: .good, text: text, remedy: nil)) }
    func note(_ text: String, _ remedy: String) {
        report(Finding(level: .notice, text: text, remedy: remedy))
    }
    func bad(_ text: String, _ remedy: String) { report(Finding(level: .bad, text: text, remedy: remedy)) }

    // MARK: This machine

    /// Below this, a busy hour of a small site is enough to run out.
    private static let fewDescriptors = 4096

    private func examineDescriptors() {
        let limit = descriptorLimit()
        if let wanted = configuration.limits.connections, wanted * 2 > limit {
            bad(
                "file descriptors: \(limit), but limits.connections = \(wanted) needs \(wanted * 2)",
                "raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower limits.connections")
        } else if limit < Self.fewDescriptors {
            note(
                "file descriptors: \(limit), which is room for \(limit / 2) connections",
                "raise the limit: ulimit -n 65536, or LimitNOFILE=65536 in the unit")
        } else {
            good("file descriptors: \(limit)")
        }
    }

    // MARK: Certificates

    private static let daySeconds: Int64 = 86_400
    /// Long enough to renew one by hand.
    private static let fewDays: Int64 = 21

    private func examineCertificates() {
        for listener in configuration.listeners {
            guard let tls = listener.tls else { continue }
            for (files, text) in zip(tls.files, tls.settings.certificates) {
                let name = "[listen.\(listener.name)] \(files.certificate)"
                do throws(CertificateFault) {
                    let facts = try text.check()
                    examine(facts, name)
                    if let end = facts.statusNotAfter, end <= wallClockMicroseconds() / 1_000_000 {
                        note("\(name): its OCSP response is out of date", "get a new one; it is not stapled")
                    }
                } catch {
                    bad(
                        "\(name): \(error.text(certificate: files.certificate, key: files.key))",
                        "give the right pair")
                }
            }
        }
    }

    private func examine(_ facts: CertificateFacts, _ name: String) {
        let now = wallClockMicroseconds() / 1_000_000
        let days = (facts.notAfter - now) / Self.daySeconds
        if facts.notAfter <= now {
            bad("\(name): has expired", "renew it; usher takes the new file without a restart")
        } else if facts.notBefore > now {
            bad("\(name): does not hold yet", "see whether this machine's clock is right")
        } else if days < Self.fewDays {
            let rest = Supervisor.counted(Int(days), "day")
            note("\(name): expires in \(rest)", "renew it; usher takes the new file without a restart")
        } else {
            let hosts = facts.hosts.isEmpty ? "no host name" : facts.hosts.joined(separator: ", ")
            good("\(name): holds for \(days) days, for \(hosts)")
        }
    }

    // MARK: Keys

    private func examineKeys() {
        let quiet = Logger(label: "usher-doctor") { _ in SwiftLogNoOpLogHandler() }
        guard let keeper = try? KeyKeeper(environment: environment, log: quiet) else { return }
        keeper.configure(configuration.keyIssuers, now: Instant.now())
        let end = Instant.now().advanced(byMilliseconds: DocumentFetch.deadlineMilliseconds + 1000)
        guard (try? keeper.drive(until: end) { !Self.isWaiting(keeper) }) != nil else { return }
        for status in keeper.status(now: Instant.now()) {
            if status.ageSeconds != nil {
                tellKeys(status)
            } else if let fetched = keeper.fetched(status.issuer) {
                tellAbsence(of: fetched, status)
            }
        }
    }

    private static func isWaiting(_ keeper: KeyKeeper) -> Bool {
        keeper.status(now: Instant.now()).contains { $0.ageSeconds == nil && $0.failures == 0 }
    }

    /// The table that an issuer is of: those of sessions have its name.
    private static func table(_ status: KeyStatus) -> String {
        status.issuer.contains(".") ? "[\(status.issuer)]" : "[issuer.\(status.issuer)]"
    }

    private func tellKeys(_ status: KeyStatus) {
        good("keys of \(Self.table(status)): \(Supervisor.counted(status.keys, "usable key"))")
        if let apart = status.secondsAhead { tellClock("key server of \(Self.table(status))", apart: apart) }
    }

    private func tellAbsence(of fetched: FetchedKeys, _ status: KeyStatus) {
        let table = Self.table(status)
        let reason =
            fetched.reasons.isEmpty ? "no answer in time" : fetched.reasons.joined(separator: "; ")
        if !status.isOptional {
            bad(
                "keys of \(table) cannot be fetched: \(reason)",
                "open the URL with curl from here; for a certificate of your own, name its authority in jwks.ca"
            )
        } else if fetched.hasAnswer {
            // Without the jwt plugin there are none, and that is most of them.
            good(
                "keys of \(table): none, and none are needed without jwt({ sessionCookieCache: true }) (\(reason))"
            )
        } else {
            bad(
                "\(table) does not answer: \(reason)",
                "start it, or correct \"url\"; until then, sessions that the cookies do not tell of are 503")
        }
    }
}
