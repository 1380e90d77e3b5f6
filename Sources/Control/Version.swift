/// Which program this is.
public enum Version {
    /// The version, by semver.org.
    public static let usher = "0.1.0"

    /// The version of the language it was compiled with.
    public static var swift: String {
        #if compiler(>=6.4)
            "6.4 or later"
        #elseif compiler(>=6.3.1)
            "6.3.1"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }
}
