internal import COpenSSL
internal import CTLS

/// TLS to the servers of an upstream, as plain values.
public struct TLSClientSettings: Sendable, Equatable {
    /// Whom it trusts.
    public var trusted: TrustedAuthorities
    /// One of the trusted certificates may be the server's own, and no authority: whoever shows it has its key.
    public var trustsLeaves = false
    /// The name that every server must prove; nil: the one by which the configuration names each.
    public var serverName: String?
    /// What is shown to servers that ask for a certificate.
    public var certificate: CertifiedKeyText?
    /// What is offered, the preferred one first.
    public var protocols: [ApplicationProtocol] = [.http11]

    /// Trusts the authorities of a PEM text.
    public init(trusting authorities: [UInt8]) {
        self.init(trusting: TrustedAuthorities(authorities))
    }

    /// Trusts these authorities.
    public init(trusting authorities: TrustedAuthorities) { trusted = authorities }

    /// Sees whether a context can be made of it.
    public func check() throws(CertificateFault) {
        _ = try TLSClientContext(self)
    }
}

/// What the TLS sessions with the servers of an upstream have in common, and what is needed to take them up again.
///
/// Not Sendable: each worker makes its own.
@safe public final class TLSClientContext {
    /// What it was made of.
    public let settings: TLSClientSettings
    let context: OpaquePointer
    /// The last session of each server, by its number.
    private var sessions: [Int: OpaquePointer] = unsafe [:]

    /// Compiles the settings.
    public init(_ settings: TLSClientSettings) throws(CertificateFault) {
        ERR_clear_error()
        // SAFETY: owned by this object alone, and freed in `deinit`.
        guard let made = unsafe usher_tls_new_client_context() else { throw .outOfMemory }
        unsafe context = made
        self.settings = settings
        // SAFETY: the context knows this object's address; whoever uses the context keeps the object alive.
        unsafe usher_tls_set_owner(made, Unmanaged.passUnretained(self).toOpaque())
        unsafe usher_tls_keep_sessions(made, TLSClientContext.sessionCallback)
        guard unsafe settings.trusted.use(in: made) else { throw .noAuthorities }
        if settings.trustsLeaves {
            // SAFETY: the parameters are the context's own.
            unsafe X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(made), UInt(X509_V_FLAG_PARTIAL_CHAIN))
        }
        if let text = settings.certificate { try unsafe CertifiedKey(text).use(in: made) }
        guard unsafe usher_tls_set_protocols(made, settings.protocols.mask, 0) == 1 else {
            throw .outOfMemory
        }
    }

    deinit {
        // SAFETY: owned by this object alone.
        while let (_, session) = unsafe sessions.popFirst() { unsafe SSL_SESSION_free(session) }
        unsafe SSL_CTX_free(context)
    }

    /// Lets a connection take up the last session with its server, where there is one.
    func resume(_ connection: OpaquePointer, server: Int) {
        // SAFETY: both are live; the connection takes a reference. The number is only a number.
        unsafe SSL_set_ex_data(connection, 0, UnsafeMutableRawPointer(bitPattern: server + 1))
        if let known = unsafe sessions[server] { unsafe SSL_set_session(connection, known) }
    }

    /// A server has sent what is needed to take the session up again; 1 keeps it.
    private static let sessionCallback: @convention(c) (OpaquePointer?, OpaquePointer?) -> Int32 = {
        connection, session in
        guard let connection = unsafe connection, let session = unsafe session,
            let address = unsafe usher_tls_owner(connection)
        else { return 0 }
        // SAFETY: the context knows the object that made it, which the connection keeps alive.
        let owner = unsafe Unmanaged<TLSClientContext>.fromOpaque(address).takeUnretainedValue()
        let server = unsafe Int(bitPattern: SSL_get_ex_data(connection, 0)) - 1
        guard server >= 0 else { return 0 }
        if let before = unsafe owner.sessions.updateValue(session, forKey: server) {
            unsafe SSL_SESSION_free(before)
        }
        return 1
    }
}
