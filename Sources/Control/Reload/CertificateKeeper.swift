import Config
import Glibc
import Logging
import Proxy
import Reactor
import TLS

/// Watches the files of certificates, of listeners and of upstreams: what replaces them is used for the next
/// handshakes, and no connection with a request is dropped.
///
/// A pair that does not fit keeps the one before: a key that is written a moment after its certificate is nothing to
/// stumble over, and a mistake in the night takes nothing down.
struct CertificateKeeper {
    /// How often the files are looked at: one system call a file each time.
    static let pollMilliseconds: Int64 = 500
    /// A chain or a key is a few kilobytes; more is a mistaken path.
    private static let largestFileBytes = 4 << 20

    /// What has other certificates now.
    struct Changes {
        var listeners: [String] = []
        var upstreams: [String] = []
    }

    /// What the files of a table were when they were last read, by its title.
    private var stamps: [String: [FileStamp?]] = [:]
    private var nextPoll = Instant.never
    /// Tables whose files have changed, and could not be read since.
    private var unreadable: Set<String> = []

    /// When `poll` is to be called next.
    var deadline: Instant { nextPoll }

    /// Takes over a configuration. The files may have changed since it was loaded: the first poll reads them again.
    mutating func configure(_ configuration: Configuration, now: Instant) {
        stamps = [:]
        unreadable = []
        let hasFiles =
            configuration.listeners.contains { $0.tls != nil }
            || configuration.upstreams.contains { $0.tls.map { !Self.paths($0).isEmpty } ?? false }
        nextPoll = hasFiles ? now : .never
    }

    /// Reads what has changed into the configuration; says what has other certificates now.
    mutating func poll(_ now: Instant, _ configuration: inout Configuration, _ log: Logger) -> Changes {
        guard nextPoll <= now else { return Changes() }
        nextPoll = now.advanced(byMilliseconds: Self.pollMilliseconds)
        var changes = Changes()
        for place in configuration.listeners.indices {
            guard let tls = configuration.listeners[place].tls else { continue }
            let name = configuration.listeners[place].name
            let title = "listen.\(name)"
            guard hasNewFiles(title, Self.paths(tls)) else { continue }
            let trouble: Logger.Metadata = ["listener": "\(name)"]
            guard let new = attempt(title, trouble, log, { () throws(Refusal) in try Self.read(tls) }),
                new != tls.settings
            else { continue }
            configuration.listeners[place].tls?.settings = new
            changes.listeners.append(name)
        }
        for place in configuration.upstreams.indices {
            guard let tls = configuration.upstreams[place].tls else { continue }
            let name = configuration.upstreams[place].name
            let title = "upstream.\(name)"
            guard hasNewFiles(title, Self.paths(tls)) else { continue }
            let trouble: Logger.Metadata = ["upstream": "\(name)"]
            guard let new = attempt(title, trouble, log, { () throws(Refusal) in try Self.read(tls) }),
                new != tls
            else { continue }
            configuration.upstreams[place].tls = new
            changes.upstreams.append(name)
        }
        return changes
    }

    /// True where one of the files is another than when they were last looked at, or they never were.
    private mutating func hasNewFiles(_ title: String, _ paths: [String]) -> Bool {
        guard !paths.isEmpty else { return false }
        let current = paths.map { FileContents.stamp($0) }
        guard stamps[title] != current else { return false }
        stamps[title] = current
        return true
    }

    /// What `read` gives; nil where something is wrong with the files, which is logged. Files that cannot be read now are
    /// tried again at the next look, and logged once: the process may have had no descriptor for them.
    private mutating func attempt<Value>(
        _ title: String, _ metadata: Logger.Metadata, _ log: Logger, _ read: () throws(Refusal) -> Value
    ) -> Value? {
        do throws(Refusal) {
            let value = try read()
            unreadable.remove(title)
            return value
        } catch {
            if error.isUnreadable {
                stamps[title] = nil
                guard unreadable.insert(title).inserted else { return nil }
            } else {
                unreadable.remove(title)
            }
            let reason: Logger.Metadata = ["reason": "\(error.reason)"]
            log.error(
                "certificates not changed: the old ones are used on",
                metadata: metadata.merging(reason) { $1 })
            return nil
        }
    }

    private static func paths(_ tls: ListenerTLSConfiguration) -> [String] {
        tls.files.flatMap { [$0.certificate, $0.key] + ($0.status.map { [$0] } ?? []) }
            + (tls.clientAuthorityFile.map { [$0] } ?? [])
    }

    private static func paths(_ tls: UpstreamTLSConfiguration) -> [String] {
        (tls.authorityFile.map { [$0] } ?? [])
            + (tls.certificateFiles.map { [$0.certificate, $0.key] } ?? [])
    }

    /// The settings of a listener with the files as they are now.
    private static func read(_ tls: ListenerTLSConfiguration) throws(Refusal) -> TLSServerSettings {
        var settings = tls.settings
        for place in tls.files.indices {
            settings.certificates[place] = try read(tls.files[place])
            try check(settings.certificates[place], tls.files[place])
        }
        if let file = tls.clientAuthorityFile {
            let authorities = try contents(file)
            if case .required = settings.clients {
                settings.clients = .required(authorities: authorities)
            } else {
                settings.clients = .optional(authorities: authorities)
            }
        }
        try check(settings)
        return settings
    }

    /// TLS to the servers of an upstream with the files as they are now.
    private static func read(_ tls: UpstreamTLSConfiguration) throws(Refusal) -> UpstreamTLSConfiguration {
        var new = tls
        if let file = tls.authorityFile {
            let text = try contents(file)
            guard (try? TLSClientSettings(trusting: text).check()) != nil else {
                throw Refusal(reason: "\"\(file)\" holds no certificate")
            }
            new.authorities = text
        }
        if let files = tls.certificateFiles {
            let text = try read(files)
            try check(text, files)
            new.certificate = text
        }
        return new
    }

    private struct Refusal: Error {
        let reason: String
        /// It is not known what the file holds.
        var isUnreadable = false
    }

    private static func read(_ files: CertificateFiles) throws(Refusal) -> CertifiedKeyText {
        let certificate = try contents(files.certificate)
        let key = try contents(files.key)
        guard let status = files.status else { return CertifiedKeyText(certificate: certificate, key: key) }
        return CertifiedKeyText(certificate: certificate, key: key, status: try contents(status))
    }

    private static func contents(_ path: String) throws(Refusal) -> [UInt8] {
        do throws(Errno) {
            return try FileContents.read(path, limitBytes: largestFileBytes, waits: false)
        } catch {
            throw Refusal(reason: "cannot read \"\(path)\": \(error)", isUnreadable: error != Errno(EFBIG))
        }
    }

    private static func check(_ text: CertifiedKeyText, _ files: CertificateFiles) throws(Refusal) {
        let facts: CertificateFacts
        do throws(CertificateFault) {
            facts = try text.check()
        } catch {
            throw Refusal(reason: error.text(certificate: files.certificate, key: files.key))
        }
        guard facts.notAfter > wallClockMicroseconds() / 1_000_000 else {
            throw Refusal(reason: "\"\(files.certificate)\" has expired")
        }
    }

    private static func check(_ settings: TLSServerSettings) throws(Refusal) {
        do throws(CertificateFault) {
            _ = try settings.check()
        } catch {
            throw Refusal(reason: error.text(certificate: "certificates", key: "key"))
        }
    }
}

extension Supervisor {
    /// Looks after the certificates, and gives the workers those that have changed.
    func runCertificates() {
        let changes = certificates.poll(Instant.now(), &configuration, log)
        if !changes.listeners.isEmpty {
            for (place, listener) in configuration.listeners.enumerated() {
                settings.listeners[place].security = listener.tls?.settings
            }
            crew.secure(settings.listeners)
        }
        if !changes.upstreams.isEmpty { renewUpstreams() }
        for name in changes.listeners {
            log.info("certificates loaded", metadata: ["listener": "\(name)"])
        }
        for name in changes.upstreams {
            log.info("certificates loaded", metadata: ["upstream": "\(name)"])
        }
    }

    /// New connections to servers are made with the certificates that have changed; those with requests finish.
    private func renewUpstreams() {
        do throws(StartFailure) {
            let upstreams = try backends.prepare(configuration)
            backends.commit(configuration, upstreams, now: Instant.now())
            settings.upstreams = upstreams
            crew.send(upstreams)
        } catch {
            log.error(
                "certificates not changed: the old ones are used on", metadata: ["reason": "\(error.reason)"])
        }
    }
}
