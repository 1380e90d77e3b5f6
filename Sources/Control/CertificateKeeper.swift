import Config
import Logging
import Proxy
import Reactor
import TLS

/// Watches the files of certificates: what replaces them is used for the next handshakes, and no connection is dropped.
///
/// A pair that does not fit keeps the one before: a key that is written a moment after its certificate is nothing to
/// stumble over, and a mistake in the night takes nothing down.
struct CertificateKeeper {
    /// How often the files are looked at: one system call a file each time.
    static let pollMilliseconds: Int64 = 500
    /// A chain or a key is a few kilobytes; more is a mistaken path.
    private static let largestFileBytes = 4 << 20

    /// What the files of a listener were when they were last read.
    private var stamps: [String: [FileStamp?]] = [:]
    private var nextPoll = Instant.never

    /// When `poll` is to be called next.
    var deadline: Instant { nextPoll }

    /// Takes over the listeners of a configuration. The files may have changed since it was loaded: the first poll reads
    /// them again.
    mutating func configure(_ listeners: [ListenerConfiguration], now: Instant) {
        stamps = [:]
        nextPoll = listeners.contains { $0.tls != nil } ? now : .never
    }

    /// Reads what has changed; true where a listener has other certificates now.
    mutating func poll(_ now: Instant, _ listeners: inout [ListenerConfiguration], _ log: Logger) -> Bool {
        guard nextPoll <= now else { return false }
        nextPoll = now.advanced(byMilliseconds: Self.pollMilliseconds)
        var hasChanged = false
        for place in listeners.indices {
            guard var tls = listeners[place].tls else { continue }
            let name = listeners[place].name
            let current = Self.paths(tls).map { FileContents.stamp($0) }
            guard stamps[name] != current else { continue }
            stamps[name] = current
            guard let settings = Self.read(tls, name, log), settings != tls.settings else { continue }
            tls.settings = settings
            listeners[place].tls = tls
            hasChanged = true
            log.info("certificates loaded", metadata: ["listener": "\(name)"])
        }
        return hasChanged
    }

    private static func paths(_ tls: ListenerTLSConfiguration) -> [String] {
        tls.files.flatMap { [$0.certificate, $0.key] + ($0.status.map { [$0] } ?? []) }
            + (tls.clientAuthorityFile.map { [$0] } ?? [])
    }

    /// The settings with the files as they are now; nil where something is wrong with them, which is logged.
    private static func read(_ tls: ListenerTLSConfiguration, _ name: String, _ log: Logger)
        -> TLSServerSettings?
    {
        var settings = tls.settings
        do throws(Refusal) {
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
        } catch {
            log.error(
                "certificates not changed: the old ones are used on",
                metadata: ["listener": "\(name)", "reason": "\(error.reason)"])
            return nil
        }
    }

    private struct Refusal: Error {
        let reason: String
    }

    private static func read(_ files: CertificateFiles) throws(Refusal) -> CertifiedKeyText {
        let certificate = try contents(files.certificate)
        let key = try contents(files.key)
        guard let status = files.status else { return CertifiedKeyText(certificate: certificate, key: key) }
        return CertifiedKeyText(certificate: certificate, key: key, status: try contents(status))
    }

    private static func contents(_ path: String) throws(Refusal) -> [UInt8] {
        do throws(Errno) {
            return try FileContents.read(path, limitBytes: largestFileBytes)
        } catch {
            throw Refusal(reason: "cannot read \"\(path)\": \(error)")
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
        guard certificates.poll(Instant.now(), &configuration.listeners, log) else { return }
        for (place, listener) in configuration.listeners.enumerated() {
            settings.listeners[place].security = listener.tls?.settings
        }
        crew.secure(settings.listeners)
    }
}
