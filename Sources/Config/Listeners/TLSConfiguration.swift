public import TLS

/// The `tls` of a `[listen.NAME]`.
public struct ListenerTLSConfiguration: Sendable, Equatable {
    /// What a worker needs: the contents of the files, as they were read.
    public var settings: TLSServerSettings
    /// Where the certificates came from, in the order of `settings.certificates`.
    public var files: [CertificateFiles]
    /// Where the authorities of clients came from, resolved; nil without.
    public var clientAuthorityFile: String?
    /// What answers say of the use of TLS in the future; nil: nothing.
    public var strictTransport: StrictTransportConfiguration?
}

/// The files of one certificate, resolved.
public struct CertificateFiles: Sendable, Equatable {
    /// PEM: the certificate and its chain.
    public var certificate: String
    /// PEM: its key.
    public var key: String
    /// DER: the answer of its OCSP responder; nil without.
    public var status: String?
}

/// `tls.hsts`: `Strict-Transport-Security` (RFC 6797).
public struct StrictTransportConfiguration: Sendable, Equatable {
    /// For how long browsers are to use nothing but TLS.
    public var maximumAge: Duration
    /// For the hosts below this one too.
    public var includesSubdomains = false
    /// The site may be put into the lists that browsers come with.
    public var preloads = false
}

/// The `tls` of an `[upstream.NAME]`.
public struct UpstreamTLSConfiguration: Sendable, Equatable {
    /// PEM text of the authorities that are trusted; nil: those of the system.
    public var authorities: [UInt8]?
    /// The name that every server must prove; nil: the one in `servers`.
    public var serverName: String?
    /// What is shown to servers that ask for a certificate.
    public var certificate: CertifiedKeyText?
    /// Where the authorities came from, resolved; nil for those of the system.
    public var authorityFile: String?
    /// Where the certificate came from; nil without.
    public var certificateFiles: CertificateFiles?
}

extension CertificateFault {
    /// What is wrong with a certificate, its key or its OCSP response, for a person.
    public func text(certificate: String, key: String) -> String {
        switch self {
        case .noCertificate: "\"\(certificate)\" holds no certificate (\"-----BEGIN CERTIFICATE-----\")"
        case .noKey: "\"\(key)\" holds no private key in PEM without a pass phrase"
        case .mismatch: "the key \"\(key)\" does not belong to the certificate \"\(certificate)\""
        case .refused(let reason): "\"\(certificate)\" cannot be used: \(reason)"
        case .badName: "\"\(certificate)\" has a name that could be read in two ways (F8)"
        case .badStatus:
            "the OCSP response is none, or is not a \"good\" for \"\(certificate)\""
        case .noAuthorities: "there is no certificate among the authorities"
        case .outOfMemory: "there is not enough memory"
        }
    }
}
