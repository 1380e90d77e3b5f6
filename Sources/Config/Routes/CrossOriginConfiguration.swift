/// One `[cors.NAME]` table: which pages of other origins may read answers.
public struct CrossOriginConfiguration: Sendable, Equatable {
    /// The table's name.
    public var name: String
    /// Scheme, host and port as browsers write them; or `*` alone.
    public var origins: [String]
    /// The methods that pages may use, besides those that no browser asks for.
    public var methods: [String]
    /// The request fields that pages may set; `*` stands alone.
    public var headers: [String]
    /// The fields of answers that pages may read besides the usual ones; `*` stands alone.
    public var exposedHeaders: [String]
    /// Pages may send cookies; never with `*`.
    public var allowsCredentials: Bool
    /// How long a browser may remember the answer to a preflight, whole seconds; nil leaves it to the browser.
    public var maximumAge: Duration?
}
