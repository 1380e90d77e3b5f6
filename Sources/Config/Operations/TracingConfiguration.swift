/// The `[tracing]` table: which requests are recorded, and where their spans go.
public struct TracingConfiguration: Sendable, Equatable {
    /// Whose word on a trace is taken.
    public enum Trust: String, Sendable, CaseIterable {
        case anyone, trusted, nobody
    }

    /// What spans may tell besides what every span does.
    public enum Detail: String, Sendable, CaseIterable {
        case path, user, client
    }

    /// The collector: OTLP over HTTP.
    public var url: RemoteURL
    /// The share of requests that are recorded where nobody else's word decides, 0 to 1.
    public var sample: Double = 1
    /// Whose traces are gone on with.
    public var continueFrom = Trust.anyone
    /// Whose mark decides on what is recorded.
    public var sampledBy = Trust.trusted
    /// What spans tell besides.
    public var include: [Detail] = []
    /// The name of the service (`service.name`).
    public var service = "usher"
    /// Further attributes of the resource, in the order of the file.
    public var resource: [Attribute] = []
    /// Fields of the requests to the collector.
    public var headers: [Header] = []
    /// The certificates that are trusted instead of the system's, as PEM text.
    public var authorities: [UInt8]?
    /// From the connect to the end of the collector's answer.
    public var timeout: Duration = .seconds(10)
    /// How often spans are sent.
    public var interval: Duration = .seconds(1)

    /// An attribute of the resource.
    public struct Attribute: Sendable, Equatable {
        /// Its name, such as `deployment.environment.name`.
        public var name: String
        /// Its value.
        public var text: String
    }

    /// A field of the requests to the collector.
    public struct Header: Sendable, Equatable {
        /// Its name.
        public var name: String
        /// Its value.
        public var value: Secret
    }

    /// Everything goes to that URL.
    public init(url: RemoteURL) { self.url = url }
}
