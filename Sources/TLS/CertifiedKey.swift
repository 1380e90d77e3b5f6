internal import COpenSSL
internal import CTLS
internal import Glibc

/// A certificate with the chain behind it, its key and, where there is one, the answer of its OCSP responder, as they
/// stand in files: what crosses from the control thread to the workers.
public struct CertifiedKeyText: Sendable, Equatable {
    /// PEM: the server's certificate first, then those that lead to its authority.
    public var certificate: [UInt8]
    /// PEM without a pass phrase.
    public var key: [UInt8]
    /// DER (RFC 6960 §4.2.1); nil for no stapling.
    public var status: [UInt8]?

    /// A certificate and its key.
    public init(certificate: [UInt8], key: [UInt8], status: [UInt8]? = nil) {
        self.certificate = certificate
        self.key = key
        self.status = status
    }

    /// What the pair is good for; throws where it is good for nothing.
    public func check() throws(CertificateFault) -> CertificateFacts {
        try CertifiedKey(self).facts
    }
}

/// What there is to know about a certificate before it is used.
public struct CertificateFacts: Sendable, Equatable {
    /// The host names that it is for, in lower case; a leading `*.` stands for one label.
    public var hosts: [String]
    /// From when it holds, in seconds since 1970.
    public var notBefore: Int64
    /// Until when it holds, in seconds since 1970.
    public var notAfter: Int64
    /// Until when the answer of the OCSP responder holds, in seconds since 1970; nil without one.
    public var statusNotAfter: Int64?
}

/// Why a certificate and a key cannot be used.
public enum CertificateFault: Error, Equatable, Sendable {
    /// The text holds no certificate.
    case noCertificate
    /// The text holds no private key that can be read without a pass phrase.
    case noKey
    /// The key belongs to another certificate.
    case mismatch
    /// OpenSSL refuses the certificate, in its words, such as `ee key too small`.
    case refused(String)
    /// A name in it has a control character or a comma, and could be read in two ways (rule F8).
    case badName
    /// The answer of the OCSP responder is none, or is about another certificate and not out of date.
    case badStatus
    /// The text of authorities holds no certificate.
    case noAuthorities
    /// OpenSSL has no memory.
    case outOfMemory
}

/// A parsed pair. Not Sendable: each thread makes its own.
@safe final class CertifiedKey {
    /// The kinds of key that stand side by side: a client gets the one that it understands.
    enum Kind: Int32 { case rsa = 1, ecdsa, other }

    let kind: Kind
    let facts: CertificateFacts
    let status: [UInt8]?
    /// When the answer of the OCSP responder ends to hold, in seconds since 1970.
    let statusEnd: Int64
    /// The whole chain; owned.
    private let certificates: OpaquePointer
    private let key: OpaquePointer

    init(_ text: CertifiedKeyText) throws(CertificateFault) {
        guard let certificates = unsafe Self.readCertificates(text.certificate) else { throw .noCertificate }
        guard let key = unsafe Self.readKey(text.key) else {
            // SAFETY: ours, and nobody else has it.
            unsafe usher_tls_free_certificates(certificates)
            throw .noKey
        }
        // SAFETY: from here on owned by this object, which frees both in `deinit`; the stack holds at least one.
        unsafe self.certificates = certificates
        unsafe self.key = key
        let leaf = unsafe usher_tls_certificate(certificates, 0)
        kind = unsafe Kind(rawValue: usher_tls_key_kind(key)) ?? .other
        let hosts = unsafe Self.hosts(leaf)
        status = text.status
        statusEnd = unsafe Self.end(of: text.status, for: leaf)
        facts = unsafe CertificateFacts(
            hosts: hosts ?? [], notBefore: usher_tls_not_before(leaf), notAfter: usher_tls_not_after(leaf),
            statusNotAfter: text.status == nil ? nil : statusEnd)
        ERR_clear_error()
        let fits = unsafe X509_check_private_key(leaf, key) == 1
        ERR_clear_error()
        guard hosts != nil else { throw .badName }
        guard fits else { throw .mismatch }
        // One that is out of date is not shown to clients; it must not keep a certificate that holds out of use.
        guard status == nil || statusEnd >= 0 else { throw .badStatus }
    }

    deinit {
        // SAFETY: owned by this object alone; contexts hold references of their own.
        unsafe usher_tls_free_certificates(certificates)
        unsafe EVP_PKEY_free(key)
    }

    /// Gives the pair to a context, beside those of other kinds.
    func use(in context: OpaquePointer) throws(CertificateFault) {
        ERR_clear_error()
        // SAFETY: all are live; the context takes references.
        let done = unsafe usher_tls_use_certificate(context, certificates, key)
        guard done != 1 else { return }
        let reason = TLSError.firstReason()
        ERR_clear_error()
        throw .refused(reason)
    }

    /// True where that is the certificate.
    func isLeaf(_ certificate: OpaquePointer?) -> Bool {
        // SAFETY: pointers are compared only.
        unsafe certificate == self.leaf
    }

    private var leaf: OpaquePointer? {
        // SAFETY: the stack is live and holds at least one certificate.
        unsafe usher_tls_certificate(certificates, 0)
    }

    private static func readCertificates(_ pem: [UInt8]) -> OpaquePointer? {
        guard let count = Int32(exactly: pem.count) else { return nil }
        // SAFETY: the text is read during the call; the stack is the caller's.
        return unsafe pem.withUnsafeBytes { text in
            guard let read = unsafe usher_tls_read_certificates(text.baseAddress, count) else { return nil }
            if unsafe usher_tls_certificate_count(read) > 0 { return unsafe read }
            unsafe usher_tls_free_certificates(read)
            return nil
        }
    }

    private static func readKey(_ pem: [UInt8]) -> OpaquePointer? {
        guard let count = Int32(exactly: pem.count), count > 0 else { return nil }
        ERR_clear_error()
        defer { ERR_clear_error() }
        // SAFETY: the text is read during the call; the key is the caller's.
        return unsafe pem.withUnsafeBytes { unsafe usher_read_private_key($0.baseAddress, count) }
    }

    private static func hosts(_ leaf: OpaquePointer?) -> [String]? {
        // SAFETY: the certificate is live.
        guard let text = unsafe TLSText.taking(usher_tls_alternative_names(leaf, 1)) else { return nil }
        return text.lowercased().split(separator: ",").map(String.init)
    }

    private static func end(of status: [UInt8]?, for leaf: OpaquePointer?) -> Int64 {
        guard let status else { return 0 }
        // SAFETY: the bytes are read during the call.
        return unsafe status.withUnsafeBytes {
            unsafe usher_tls_status_end($0.baseAddress, $0.count, leaf, Wall.seconds())
        }
    }
}

/// The time of day.
enum Wall {
    /// Seconds since 1970.
    static func seconds() -> Int64 {
        Int64(time(nil))
    }
}

/// Texts that C has allocated.
enum TLSText {
    /// The text, which is freed; nil for none.
    static func taking(_ text: UnsafeMutablePointer<CChar>?) -> String? {
        guard let text = unsafe text else { return nil }
        defer { unsafe usher_tls_free(text) }
        // SAFETY: it ends with a zero, and is copied.
        return unsafe String(cString: text)
    }
}
