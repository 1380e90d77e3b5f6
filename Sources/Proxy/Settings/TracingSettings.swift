/// What is recorded of which requests.
public struct TracingSettings: Sendable, Equatable {
    /// Whose word on a trace is taken.
    public enum Trust: Sendable, Equatable {
        /// That of every client.
        case anyone
        /// That of trusted proxies alone.
        case trusted
        /// Nobody's.
        case nobody

        /// True where the word of a peer is taken.
        public func includes(_ isTrusted: Bool) -> Bool {
            switch self {
            case .anyone: true
            case .trusted: isTrusted
            case .nobody: false
            }
        }
    }

    /// Which requests are recorded where nobody else's word decides: those whose random number is below this, of 2^32.
    public var threshold: UInt64
    /// Whose traces are gone on with.
    public var continuesFrom = Trust.anyone
    /// Whose mark decides on what is recorded.
    public var sampledBy = Trust.trusted
    /// Spans tell the path, without the query.
    public var tellsPath = false
    /// Spans tell the user that was proven.
    public var tellsUser = false
    /// Spans tell the address of the client.
    public var tellsClient = false

    /// Settings that record a share of all requests, from 0 to 1.
    public init(share: Double) {
        threshold = UInt64((min(max(share, 0), 1) * 4_294_967_296).rounded())
    }

    /// True for so many of all numbers as the share says.
    func takes(_ random: UInt64) -> Bool { random &>> 32 < threshold }
}
