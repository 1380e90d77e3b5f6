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
/// stumble over, and a mistake in the night takes nothing down. Each pair is judged alone: one that has expired keeps no
/// other one from being renewed.
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

    /// What the files of a pair, or of authorities, were when they were last read, by the table and what they are in it.
    private var stamps: [String: [FileStamp?]] = [:]
    private var nextPoll = Instant.never
    /// Those whose files have changed, and could not be used since, for a reason that may pass without another change; and
    /// that reason.
    private var passing: [String: String] = [:]

    /// When `poll` is to be called next.
    var deadline: Instant { nextPoll }

    /// Takes over a configuration. The files may have changed since it was loaded: the first poll reads them again.
    mutating func configure(_ configuration: Configuration, now: Instant) {
        stamps = [:]
        passing = [:]
        let hasFiles =
            configuration.listeners.contains { $0.tls != nil }
            || configuration.upstreams.contains {
                $0.tls?.authorityFile != nil || $0.tls?.certificateFiles != nil
            }
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
            let reader = Place(title: "listen.\(name)", metadata: ["listener": "\(name)"], log: log)
            guard let new = read(tls, reader), new != tls.settings else { continue }
            configuration.listeners[place].tls?.settings = new
            changes.listeners.append(name)
        }
        for place in configuration.upstreams.indices {
            guard let tls = configuration.upstreams[place].tls else { continue }
            let name = configuration.upstreams[place].name
            let reader = Place(title: "upstream.\(name)", metadata: ["upstream": "\(name)"], log: log)
            let new = read(tls, reader)
            guard new != tls else { continue }
            configuration.upstreams[place].tls = new
            changes.upstreams.append(name)
        }
        return changes
    }

    /// Whose files they are.
    private struct Place {
        let title: String
        let metadata: Logger.Metadata
        let log: Logger
    }

    /// The settings of a listener with the files as they are now; those of a pair, or of the authorities, that do not fit
    /// stay as they were, and keep no others from being used. Nil where all of it does not go together.
    private mutating func read(_ tls: ListenerTLSConfiguration, _ place: Place) -> TLSServerSettings? {
        var settings = tls.settings
        for (number, files) in tls.files.enumerated() {
            let old = settings.certificates[number]
            settings.certificates[number] = read(files, insteadOf: old, place, "pair \(number)") ?? old
        }
        if let file = tls.clientAuthorityFile,
            let authorities = attempt(
                [file], place, "authorities", { () throws(Refusal) in try Self.authorities(file) })
        {
            if case .required = settings.clients {
                settings.clients = .required(authorities: authorities)
            } else {
                settings.clients = .optional(authorities: authorities)
            }
        }
        guard settings != tls.settings else { return nil }
        do throws(CertificateFault) {
            _ = try settings.check()
            return settings
        } catch {
            complain(error.text(certificate: "certificates", key: "key"), place)
            return nil
        }
    }

    /// TLS to the servers of an upstream with the files as they are now, each judged alone.
    private mutating func read(_ tls: UpstreamTLSConfiguration, _ place: Place) -> UpstreamTLSConfiguration {
        var new = tls
        if let file = tls.authorityFile,
            let text = attempt(
                [file], place, "authorities", { () throws(Refusal) in try Self.authorities(file) })
        {
            new.authorities = text
        }
        if let files = tls.certificateFiles, let old = tls.certificate {
            new.certificate = read(files, insteadOf: old, place, "pair") ?? old
        }
        return new
    }

    /// The pair in those files, which has to be better than the old one; nil where nothing has changed, or it is not.
    private mutating func read(
        _ files: CertificateFiles, insteadOf old: CertifiedKeyText, _ place: Place, _ part: String
    ) -> CertifiedKeyText? {
        let paths = [files.certificate, files.key] + (files.status.map { [$0] } ?? [])
        let read = attempt(paths, place, part) {
            () throws(Refusal) -> (CertifiedKeyText, CertificateFacts)? in
            let text = try Self.read(files)
            guard text != old else { return nil }
            return (text, try Self.check(text, files, insteadOf: old))
        }
        guard case (let text, let facts)?? = read else { return nil }
        if let file = files.status, let end = facts.statusNotAfter, end <= Self.seconds {
            place.log.warning(
                "the OCSP response is out of date: it is not stapled",
                metadata: place.metadata.merging(["file": "\(file)"]) { $1 })
        }
        return text
    }

    /// True where one of the files is another than when they were last looked at, or they never were.
    private mutating func hasNewFiles(_ key: String, _ paths: [String]) -> Bool {
        let current = paths.map { FileContents.stamp($0) }
        guard stamps[key] != current else { return false }
        stamps[key] = current
        return true
    }

    /// What `read` gives; nil where the files are as they were, or something is wrong with them, which is logged. What may pass
    /// by itself is tried again at the next look, and logged once: the process may have had no descriptor for the files, and a
    /// response of OCSP about the certificate before is out of date one day.
    private mutating func attempt<Value>(
        _ paths: [String], _ place: Place, _ part: String, _ read: () throws(Refusal) -> Value
    ) -> Value? {
        let key = "\(place.title) \(part)"
        guard hasNewFiles(key, paths) else { return nil }
        do throws(Refusal) {
            let value = try read()
            passing[key] = nil
            return value
        } catch {
            if error.mayPass {
                stamps[key] = nil
                guard passing.updateValue(error.reason, forKey: key) != error.reason else { return nil }
            } else {
                passing[key] = nil
            }
            complain(error.reason, place)
            return nil
        }
    }

    private func complain(_ reason: String, _ place: Place) {
        place.log.error(
            "certificates not changed: the old ones are used on",
            metadata: place.metadata.merging(["reason": "\(reason)"]) { $1 })
    }

    private struct Refusal: Error {
        let reason: String
        /// The same files may do at another time: they could not be read, or wait for a response of OCSP to lapse.
        var mayPass = false
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
            throw Refusal(reason: "cannot read \"\(path)\": \(error)", mayPass: error != Errno(EFBIG))
        }
    }

    private static func authorities(_ file: String) throws(Refusal) -> [UInt8] {
        let text = try contents(file)
        guard (try? TLSClientSettings(trusting: text).check()) != nil else {
            throw Refusal(reason: "\"\(file)\" holds no certificate")
        }
        return text
    }

    /// Throws where a pair is good for nothing, or has expired and the old one holds.
    private static func check(
        _ text: CertifiedKeyText, _ files: CertificateFiles, insteadOf old: CertifiedKeyText
    ) throws(Refusal) -> CertificateFacts {
        let facts: CertificateFacts
        do throws(CertificateFault) {
            guard let first = try TLSServerSettings(name: "", certificates: [text]).check().first else {
                throw CertificateFault.noCertificate
            }
            facts = first
        } catch {
            throw Refusal(
                reason: error.text(certificate: files.certificate, key: files.key),
                mayPass: error == .badStatus)
        }
        let oldHolds = (try? old.check()).map { $0.notAfter > seconds } ?? false
        guard facts.notAfter > seconds || !oldHolds else {
            throw Refusal(reason: "\"\(files.certificate)\" has expired")
        }
        return facts
    }

    /// The time of day, in seconds since 1970.
    private static var seconds: Int64 { wallClockMicroseconds() / 1_000_000 }
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
