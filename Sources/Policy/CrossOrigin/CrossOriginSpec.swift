/// One `[cors.NAME]`: which pages of other origins may read the answers of a route (Fetch, HTTP-CORS protocol).
public struct CrossOriginSpec: Sendable, Equatable {
    /// The name that routes use.
    public var name: String
    /// Scheme, host and port as browsers write them in `Origin`; or `*` alone, which means every page.
    public var origins: [String]
    /// The methods that a preflight is told of.
    public var methods: [String]
    /// The request fields that a preflight is told of; or `*`.
    public var headers: [String]
    /// The fields of answers that pages may read besides the usual ones.
    public var exposedHeaders: [String]
    /// True: pages may send cookies, and read what comes back. Never with `*`.
    public var allowsCredentials: Bool
    /// How long a browser may remember the answer to a preflight, in seconds; nil leaves it to the browser.
    public var maximumAgeSeconds: Int64?

    /// What all lines for one origin may take, in bytes: an exchange keeps them until its answer comes.
    public static let maximumLineBytes = 1024
    /// What the lines for preflights alone may take, in bytes.
    public static let maximumPreflightBytes = 4096

    /// The rule of that name.
    public init(
        name: String, origins: [String], methods: [String] = [], headers: [String] = [],
        exposedHeaders: [String] = [], allowsCredentials: Bool = false, maximumAgeSeconds: Int64? = nil
    ) {
        self.name = name
        self.origins = origins
        self.methods = methods
        self.headers = headers
        self.exposedHeaders = exposedHeaders
        self.allowsCredentials = allowsCredentials
        self.maximumAgeSeconds = maximumAgeSeconds
    }

    /// True for `origins = ["*"]`.
    public var allowsEveryOrigin: Bool { origins == ["*"] }

    /// The lines of every answer to that origin, each with CRLF.
    func lines(for origin: String) -> String {
        var lines = "Access-Control-Allow-Origin: \(origin)\r\n"
        if allowsCredentials { lines += "Access-Control-Allow-Credentials: true\r\n" }
        if !exposedHeaders.isEmpty {
            lines += "Access-Control-Expose-Headers: \(exposedHeaders.joined(separator: ", "))\r\n"
        }
        return lines
    }

    /// The lines that an answer to a preflight has besides.
    var preflightLines: String {
        var lines = ""
        if !methods.isEmpty {
            lines += "Access-Control-Allow-Methods: \(methods.joined(separator: ", "))\r\n"
        }
        if !headers.isEmpty {
            lines += "Access-Control-Allow-Headers: \(headers.joined(separator: ", "))\r\n"
        }
        if let maximumAgeSeconds { lines += "Access-Control-Max-Age: \(maximumAgeSeconds)\r\n" }
        return lines
    }

    /// False where the rule would be unsafe, or its lines would not be lines.
    var isSound: Bool {
        let isEverybody = origins.contains("*")
        guard !origins.isEmpty, !isEverybody || (origins.count == 1 && !allowsCredentials),
            !(allowsCredentials && headers.contains("*")), maximumAgeSeconds.map({ $0 >= 0 }) ?? true
        else { return false }
        let words = origins + methods + headers + exposedHeaders
        return words.allSatisfy {
            !$0.isEmpty && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x2C }
        }
            && fits
    }

    /// True where the lines are as short as they must be.
    public var fits: Bool {
        origins.allSatisfy { lines(for: $0).utf8.count <= Self.maximumLineBytes }
            && preflightLines.utf8.count <= Self.maximumPreflightBytes
    }
}
