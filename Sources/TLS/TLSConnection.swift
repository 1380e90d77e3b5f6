public import Bytes
internal import COpenSSL
internal import CTLS

/// What came of reading or writing through TLS.
public enum TLSResult: Equatable, Sendable {
    /// That many bytes of plaintext, at least one.
    case bytes(Int)
    /// Bytes of the peer are needed.
    case needsInput
    /// The socket takes no more for now.
    case needsRoom
    /// The peer has said that it sends nothing more (close_notify, RFC 8446 §6.1).
    case ended
    /// The connection was cut without that word, or the peer breaks the protocol: what came may not be the whole.
    case failed
}

/// What a step of a handshake came to.
public enum TLSHandshake: Equatable, Sendable {
    /// Both sides have agreed, and proven what they had to.
    case done
    /// Bytes of the peer are needed.
    case needsInput
    /// The socket takes no more for now.
    case needsRoom
    /// There will be no session.
    case failed(TLSError)
}

/// A TLS session on a connected socket that does not block.
///
/// OpenSSL reads and writes the descriptor itself: no ciphertext is copied through buffers of ours. The descriptor is
/// the caller's, and must outlive this value.
@safe public struct TLSConnection: ~Copyable {
    private let session: OpaquePointer
    /// The context, whose address OpenSSL's call-backs know.
    private let owner: AnyObject

    /// The server's side; nil where memory is short. `early` was read from the socket before.
    public init?(server context: TLSServerContext, descriptor: Int32, early: Span<UInt8>) {
        let made = unsafe early.withUnsafeBytes { bytes in
            // SAFETY: the context lives during the call, and the session keeps a reference to it; the bytes are copied.
            unsafe usher_tls_accept(context.first, descriptor, bytes.baseAddress, bytes.count)
        }
        guard let made = unsafe made else { return nil }
        // SAFETY: owned by this value.
        unsafe session = made
        owner = context
    }

    /// The client's side, with the server of that host name (RFC 6066 §3, RFC 9525) or textual IP address; `number`
    /// tells servers apart whose sessions are taken up again; below zero none is, nor kept. Nil where the name cannot be one, or memory is short.
    public init?(
        client context: TLSClientContext, descriptor: Int32, server: String, isAddress: Bool, number: Int
    ) {
        guard !server.isEmpty, !server.utf8.contains(0) else { return nil }
        let made = unsafe usher_tls_connect(context.context, descriptor, server, isAddress ? 1 : 0)
        // SAFETY: the context lives during the call, and the session keeps a reference to it; owned by this value.
        guard let made = unsafe made else { return nil }
        unsafe session = made
        owner = context
        unsafe context.resume(made, server: number)
    }

    deinit {
        // SAFETY: owned by this value alone; its BIO goes with it, the descriptor does not. Without the first call OpenSSL
        // would forbid taking up the session of a connection that ended without a goodbye, as most do.
        unsafe SSL_set_shutdown(session, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        unsafe SSL_free(session)
    }

    /// Goes on with the handshake.
    public mutating func shakeHands() -> TLSHandshake {
        // SAFETY: the session is live, and so is the descriptor.
        let result = unsafe usher_tls_handshake(session)
        switch Int(result) {
        case 1: return .done
        case Int(USHER_TLS_WANTS_INPUT): return .needsInput
        case Int(USHER_TLS_WANTS_ROOM): return .needsRoom
        default:
            let failure = failure(wasCut: Int(result) == Int(USHER_TLS_CUT))
            // Rule J18: what failed here must not be found by the next one on this thread.
            ERR_clear_error()
            return .failed(failure)
        }
    }

    /// Decrypts into the free room of `plaintext`, which has some.
    @inline(__always)
    public mutating func read(into plaintext: inout Buffer) -> TLSResult {
        precondition(plaintext.room > 0)
        var result = 0
        unsafe plaintext.withUnsafeRoom { room in
            // SAFETY: `room` is free memory of the buffer for the length of the call.
            unsafe result = usher_tls_read(session, room.baseAddress, room.count)
            return max(result, 0)
        }
        return Self.meaning(of: result)
    }

    /// Encrypts and sends, as much as the socket takes. What was refused must be offered again, in the same order.
    @inline(__always)
    public mutating func write(_ plaintext: Span<UInt8>) -> TLSResult {
        let result = unsafe plaintext.withUnsafeBytes { bytes in
            // SAFETY: the span is valid for the length of the call.
            unsafe usher_tls_write(session, bytes.baseAddress, bytes.count)
        }
        return Self.meaning(of: result)
    }

    /// The descriptor has had an event: what an earlier read has found, that the kernel has nothing more, is no longer so. A
    /// read may be served by what lies here, and looks at the kernel no more.
    public mutating func noteReadable() {
        // SAFETY: the session is live.
        unsafe usher_tls_note_event(session)
    }

    /// True where a read may give something without a further event of the descriptor.
    public var hasMore: Bool {
        // SAFETY: the session is live.
        unsafe usher_tls_has_more(session) == 1
    }

    /// Says that nothing follows, as far as the socket takes it at once.
    public mutating func close() {
        // SAFETY: the session is live.
        unsafe usher_tls_close(session)
    }

    /// True where HTTP/2 was agreed on (ALPN).
    public var isHTTP2: Bool {
        // SAFETY: the session is live.
        unsafe usher_tls_protocol_is_h2(session) == 1
    }

    /// True where an earlier session was taken up again.
    public var isResumed: Bool {
        // SAFETY: the session is live.
        unsafe SSL_session_reused(session) == 1
    }

    /// The certificate that the other side has proven to have.
    public func peerCertificate() -> PeerCertificate {
        // SAFETY: the session is live, and keeps the certificate alive.
        guard let certificate = unsafe SSL_get0_peer_certificate(session) else { return .none }
        guard unsafe SSL_get_verify_result(session) == Int(X509_V_OK) else { return .unfit }
        return unsafe PeerCertificate(certificate, now: Wall.seconds())
    }

    private static func meaning(of result: Int) -> TLSResult {
        if result > 0 { return .bytes(result) }
        switch result {
        case Int(USHER_TLS_WANTS_INPUT): return .needsInput
        case Int(USHER_TLS_WANTS_ROOM): return .needsRoom
        case Int(USHER_TLS_ENDED): return .ended
        default:
            ERR_clear_error()
            return .failed
        }
    }

    private func failure(wasCut: Bool) -> TLSError {
        if usher_tls_failed_on_http() == 1 { return .plainHTTP }
        // SAFETY: the session is live; the text is a constant of the library, copied at once.
        let verdict = unsafe SSL_get_verify_result(session)
        if verdict != Int(X509_V_OK), let text = unsafe X509_verify_cert_error_string(verdict) {
            return unsafe .certificate(String(cString: text))
        }
        return .protocolViolation(wasCut ? "the connection was cut" : TLSError.firstReason())
    }
}

/// The certificate of the other side.
public enum PeerCertificate: Sendable, Equatable {
    /// It has shown none.
    case none
    /// This one, which holds.
    case proven(CertificateIdentity)
    /// One that does not hold, has expired since, or has a name that could be read in two ways (rule F8).
    case unfit

    fileprivate init(_ certificate: OpaquePointer, now: Int64) {
        var fingerprint = InlineArray<32, UInt8>(repeating: 0)
        let isDigested = unsafe withUnsafeMutableBytes(of: &fingerprint) { room in
            // SAFETY: 32 bytes of room for a SHA-256.
            unsafe usher_tls_fingerprint(certificate, room.baseAddress?.assumingMemoryBound(to: UInt8.self))
                == 1
        }
        // A session that is taken up again may outlive the certificate that it began with.
        let expires = unsafe usher_tls_not_after(certificate)
        guard isDigested, expires > now,
            let subject = unsafe TLSText.taking(usher_tls_subject(certificate)),
            let names = unsafe TLSText.taking(usher_tls_alternative_names(certificate, 0)),
            subject.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
        else {
            self = .unfit
            return
        }
        self = .proven(
            CertificateIdentity(
                subject: Array(subject.utf8), alternativeNames: Array(names.utf8), sha256: fingerprint,
                expires: expires))
    }
}

/// Who a certificate says that its owner is.
public struct CertificateIdentity: Sendable, Equatable {
    /// The subject by RFC 4514, e.g. `CN=alice,O=Example`: visible ASCII and spaces; may be empty.
    public let subject: [UInt8]
    /// The alternative names, e.g. `DNS:a.example,URI:spiffe://example/a`: visible ASCII; may be empty.
    public let alternativeNames: [UInt8]
    /// The SHA-256 of the whole certificate.
    public let sha256: InlineArray<32, UInt8>
    /// From this second since 1970 on it proves nothing.
    public let expires: Int64

    /// True where both mean the same certificate.
    public static func == (left: CertificateIdentity, right: CertificateIdentity) -> Bool {
        for index in 0..<32 where left.sha256[index] != right.sha256[index] { return false }
        return left.subject == right.subject && left.alternativeNames == right.alternativeNames
    }
}
