internal import COpenSSL
internal import CTLS

/// Authorities that are trusted, parsed once for all contexts that trust them: to parse some 140 certificates, as systems have
/// them, takes tens of milliseconds, and no worker stands still for that.
@safe public final class TrustedAuthorities: Sendable, Equatable {
    /// The certificates as PEM text (RFC 7468 §5).
    public let text: [UInt8]
    /// Where OpenSSL keeps them; 0 without any. A number, because it is the same for every thread: OpenSSL counts the references
    /// to a store, and locks it where it is searched.
    private let address: UInt

    /// Parses the text; `use` tells whether there is a certificate in it.
    public init(_ text: [UInt8]) {
        self.text = text
        ERR_clear_error()
        guard let count = Int32(exactly: text.count) else {
            address = 0
            return
        }
        // SAFETY: the text is read during the call, and has `count` bytes. The store is this object's own until `deinit`.
        let made = unsafe text.withUnsafeBytes { unsafe usher_tls_new_store($0.baseAddress, count) }
        address = UInt(bitPattern: made)
    }

    deinit {
        // SAFETY: this object's own reference; contexts have theirs. NULL is nothing.
        unsafe X509_STORE_free(OpaquePointer(bitPattern: address))
    }

    /// True where the text is the same.
    public static func == (left: TrustedAuthorities, right: TrustedAuthorities) -> Bool {
        left === right || left.text == right.text
    }

    /// Has a context trust them, and nobody else; false where there are none.
    func use(in context: OpaquePointer) -> Bool {
        // SAFETY: the store lives as long as this object; the context takes a reference of its own, which is counted
        // atomically.
        guard let store = unsafe OpaquePointer(bitPattern: address) else { return false }
        unsafe SSL_CTX_set1_cert_store(context, store)
        return true
    }
}
