internal import Glibc

/// The process's environment variables. One that is not UTF-8 is left out: as a secret it would be mangled. Call it
/// before anything changes the environment.
public func processEnvironment() -> [String: String] {
    var variables: [String: String] = [:]
    // SAFETY: `environ` is a list of texts that ends with a null; nothing else runs this early that changes it.
    var entry = unsafe environ
    // SAFETY: each element up to the null is a text that ends with a zero.
    while let text = unsafe entry.pointee {
        // SAFETY: as above; the text is copied, and the null is not stepped over.
        if let variable = unsafe String(validatingCString: text), let equals = variable.firstIndex(of: "=") {
            variables[String(variable[..<equals])] = String(variable[variable.index(after: equals)...])
        }
        unsafe entry += 1
    }
    return variables
}
