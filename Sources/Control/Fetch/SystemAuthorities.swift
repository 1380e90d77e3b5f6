import Reactor

/// The certificates that the system trusts.
struct SystemAuthorities {
    /// Where distributions keep them as one file.
    private static let usualPaths = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
    ]
    private let paths: [String]

    init(environment: [String: String]) {
        paths = environment["SSL_CERT_FILE"].map { $0.isEmpty ? Self.usualPaths : [$0] } ?? Self.usualPaths
    }

    /// The PEM text as it is now: packages replace the file while the proxy runs.
    func load() -> [UInt8] {
        for path in paths {
            if let text = try? FileContents.read(path, limitBytes: 4 << 20) { return text }
        }
        return []
    }

    /// The authorities that a table names, as PEM text; those of the system where it names none.
    func load(unless named: [UInt8]?) -> [UInt8] { named ?? load() }

    /// Which states the files are in: with equal ones, the text is the same.
    var state: [FileStamp?] { paths.map { FileContents.stamp($0) } }
}
