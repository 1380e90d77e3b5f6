public import Bytes
internal import COpenSSL

/// What a step of a session came to.
public enum TLSStep: Equatable, Sendable {
    /// It is done.
    case done
    /// More ciphertext of the peer is needed.
    case needsInput
    /// The peer has said that it sends nothing more (close_notify, RFC 8446 §6.1).
    case ended
    /// The session is over.
    case failed(TLSError)
}

/// One TLS session without I/O: ciphertext goes in and comes out in buffers, and so does plaintext.
///
/// After each step `hasOutput` may be true; what `takeOutput` gives is to be sent whatever the step said, because
/// alerts are output too.
@safe public struct TLSSession: ~Copyable {
    private let session: OpaquePointer
    /// True when both sides have agreed, and the server has proven its name.
    public private(set) var isEstablished = false

    /// A client's session with the server of that host name (RFC 6066 §3, RFC 9525) or textual IP address.
    ///
    /// Throws `badServerName` for what is neither.
    public init(client context: TLSContext, server: String, isAddress: Bool) throws(TLSError) {
        guard !server.isEmpty, !server.utf8.contains(0) else { throw .badServerName }
        ERR_clear_error()
        // SAFETY: the context lives during the call, and the session keeps a reference to it; owned by this value.
        guard let made = unsafe usher_tls_client(context.context, server, isAddress ? 1 : 0) else {
            throw .badServerName
        }
        unsafe session = made
    }

    deinit {
        // SAFETY: owned by this value alone; the two BIOs go with it.
        unsafe SSL_free(session)
    }

    /// Takes in ciphertext; false where memory is short.
    public mutating func receive(_ ciphertext: Span<UInt8>) -> Bool {
        guard ciphertext.count > 0 else { return true }
        guard let count = Int32(exactly: ciphertext.count) else { return false }
        return unsafe ciphertext.withUnsafeBytes { bytes in
            // SAFETY: the session's own memory BIO copies `count` bytes.
            unsafe BIO_write(SSL_get_rbio(session), bytes.baseAddress, count) == count
        }
    }

    /// Goes on with the handshake as far as the input reaches.
    public mutating func handshake() -> TLSStep {
        ERR_clear_error()
        // SAFETY: the session is live; it reads and writes its own memory BIOs alone.
        let result = unsafe SSL_do_handshake(session)
        guard result != 1 else {
            isEstablished = true
            return .done
        }
        return step(result)
    }

    /// Decrypts into the room of `plaintext`: `done` where bytes were added. Call it until it says something else.
    public mutating func read(into plaintext: inout Buffer) -> TLSStep {
        precondition(plaintext.room > 0)
        ERR_clear_error()
        var result: Int32 = 0
        unsafe plaintext.withUnsafeRoom { room in
            // SAFETY: `room` is free memory of the buffer for the length of the call.
            unsafe result = SSL_read(session, room.baseAddress, Int32(clamping: room.count))
            return Int(max(result, 0))
        }
        return result > 0 ? .done : step(result)
    }

    /// Encrypts all of `plaintext`, which holds at least one byte, after the handshake.
    public mutating func write(_ plaintext: Span<UInt8>) -> TLSStep {
        precondition(plaintext.count > 0 && isEstablished)
        var offset = 0
        while offset < plaintext.count {
            let rest = plaintext.extracting(offset..<plaintext.count)
            ERR_clear_error()
            let result = unsafe rest.withUnsafeBytes { bytes in
                // SAFETY: the span is valid for the length of the call.
                unsafe SSL_write(session, bytes.baseAddress, Int32(clamping: bytes.count))
            }
            guard result > 0 else { return step(result) }
            offset += Int(result)
        }
        return .done
    }

    /// True where ciphertext waits to be sent.
    public var hasOutput: Bool {
        // SAFETY: the session's own memory BIO.
        unsafe BIO_ctrl_pending(SSL_get_wbio(session)) > 0
    }

    /// Moves ciphertext that is to be sent into the room of `buffer`, as much as fits.
    public mutating func takeOutput(into buffer: inout Buffer) {
        guard buffer.room > 0, hasOutput else { return }
        unsafe buffer.withUnsafeRoom { room in
            // SAFETY: `room` is free memory of the buffer for the length of the call.
            let count = unsafe BIO_read(
                SSL_get_wbio(session), room.baseAddress, Int32(clamping: room.count))
            return Int(max(count, 0))
        }
    }

    private func step(_ result: Int32) -> TLSStep {
        // SAFETY: the session is live.
        let code = unsafe SSL_get_error(session, result)
        switch code {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .needsInput
        case SSL_ERROR_ZERO_RETURN: return .ended
        default: break
        }
        let failure = reason()
        // Rule J18: what failed here must not be found by the next one on this thread.
        ERR_clear_error()
        return .failed(failure)
    }

    private func reason() -> TLSError {
        // SAFETY: the session is live; the texts are constants of the library, copied at once.
        let verdict = unsafe SSL_get_verify_result(session)
        if verdict != X509_V_OK, let text = unsafe X509_verify_cert_error_string(verdict) {
            return unsafe .certificate(String(cString: text))
        }
        guard let text = unsafe ERR_reason_error_string(ERR_peek_error()) else {
            return .protocolViolation("the connection was cut")
        }
        return unsafe .protocolViolation(String(cString: text))
    }
}
