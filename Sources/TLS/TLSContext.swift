internal import Bytes
internal import COpenSSL

/// What sessions with many peers have in common: whom to trust, and which versions to speak.
///
/// Not Sendable: each thread makes its own.
@safe public final class TLSContext {
    let context: OpaquePointer

    /// A client's context that trusts the authorities of a PEM text (RFC 7468 §5), and nobody else.
    ///
    /// TLS 1.2 is the least (RFC 9325 §3.1.1). Throws `noAuthorities` where the text holds no certificate.
    public init(clientTrusting authorities: Span<UInt8>) throws(TLSError) {
        ERR_clear_error()
        // SAFETY: owned by this object alone, and freed in `deinit`.
        guard let made = unsafe usher_tls_client_context() else { throw .outOfMemory }
        unsafe context = made
        guard let count = Int32(exactly: authorities.count), count > 0 else { throw .noAuthorities }
        let added = unsafe authorities.withUnsafeBytes { text in
            // SAFETY: the text is read during the call, and has `count` bytes.
            unsafe usher_tls_trust(made, text.baseAddress, count)
        }
        guard added > 0 else { throw .noAuthorities }
    }

    deinit {
        // SAFETY: owned by this object alone; sessions keep references of their own.
        unsafe SSL_CTX_free(context)
    }
}

/// Why there is no secure connection.
public enum TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The text of trusted authorities holds no certificate.
    case noAuthorities
    /// The name of the server cannot be one.
    case badServerName
    /// OpenSSL has no memory.
    case outOfMemory
    /// The certificate of the peer does not hold; OpenSSL's words, such as `hostname mismatch`.
    case certificate(String)
    /// The peer breaks the protocol, or nothing is common to both; OpenSSL's words.
    case protocolViolation(String)
    /// The peer speaks HTTP without TLS.
    case plainHTTP

    /// One line for a log.
    public var description: String {
        switch self {
        case .noAuthorities: "no certificate among the trusted authorities"
        case .badServerName: "not the name of a server"
        case .outOfMemory: "out of memory"
        case .certificate(let reason): "the server's certificate is refused: \(reason)"
        case .protocolViolation(let reason): "TLS failed: \(reason)"
        case .plainHTTP: "TLS failed: plain HTTP came"
        }
    }

    /// OpenSSL's words for the first error in its queue.
    static func firstReason() -> String {
        // SAFETY: the text is a constant of the library, copied at once.
        guard let text = unsafe ERR_reason_error_string(ERR_peek_error()) else { return "no reason given" }
        return unsafe String(cString: text)
    }
}
