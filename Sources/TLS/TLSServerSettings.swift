/// Versions of HTTP that are offered in the handshake (ALPN, RFC 7301).
public enum ApplicationProtocol: String, Sendable, Equatable, CaseIterable {
    /// HTTP/1.1.
    case http11 = "http/1.1"
    /// HTTP/2.
    case h2
}

/// Whether clients show a certificate.
public enum ClientCertificates: Sendable, Equatable {
    /// They are not asked.
    case ignored
    /// They are asked; what they show must hold.
    case optional(authorities: [UInt8])
    /// Without one that holds there is no connection.
    case required(authorities: [UInt8])

    /// The authorities as PEM text; nil where nobody is asked.
    public var authorities: [UInt8]? {
        switch self {
        case .ignored: nil
        case .optional(let authorities), .required(let authorities): authorities
        }
    }
}

/// TLS on a listener, as plain values.
public struct TLSServerSettings: Sendable, Equatable {
    /// At least one; the first is for clients that name no host, or none that a certificate is for.
    public var certificates: [CertifiedKeyText]
    /// True: TLS 1.2 is refused.
    public var requiresTLS13 = false
    /// Whether clients show a certificate.
    public var clients = ClientCertificates.ignored
    /// What is offered, the preferred one first.
    public var protocols: [ApplicationProtocol] = [.http11]
    /// Whether sessions can be taken up again.
    public var issuesTickets = true
    /// The listener's name: sessions of one listener are not taken up at another.
    public var name: String

    /// TLS with these certificates.
    public init(name: String, certificates: [CertifiedKeyText]) {
        self.name = name
        self.certificates = certificates
    }

    /// Sees whether a context can be made of it, and what its certificates are for.
    public func check() throws(CertificateFault) -> [CertificateFacts] {
        let context = try TLSServerContext(self, tickets: TicketKeys())
        return context.facts
    }
}
