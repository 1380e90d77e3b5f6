internal import COpenSSL

/// The library behind this target.
public enum CryptographyLibrary {
    /// Its name and version, as it says itself: `OpenSSL 3.0.17 1 Jul 2025`.
    public static var version: String {
        // SAFETY: a C string that lives as long as the library; it is copied at once.
        guard let text = unsafe OpenSSL_version(OPENSSL_VERSION) else { return "OpenSSL" }
        return unsafe String(cString: text)
    }
}
