import Bytes

/// What the control loop's poller events carry.
enum Token {
    static let signals: UInt64 = 1
    static let inbox: UInt64 = 2
    static let admin: UInt64 = 3
    static let keyRequests: UInt64 = 4
    static let lookups: UInt64 = 5
    static let serverLookups: UInt64 = 6
    /// Health checks have the numbers from here to below `firstFetch`.
    static let firstProbe: UInt64 = 1 << 30
    /// A process that is to come after this one connects, and one says something.
    static let successors: UInt64 = 7
    static let successor: UInt64 = 8
    static let questions: UInt64 = 20
    static let verdictLookups: UInt64 = 21
    static let shared: UInt64 = 22
    static let exportLookups: UInt64 = 23
    /// Fetches of keys have 2^28 numbers from here.
    static let firstFetch: UInt64 = 1 << 31
    /// Connections to servers that judge credentials have 2^28 numbers from here.
    static let firstVerdict: UInt64 = 1 << 31 + 1 << 28

    /// Connections to collectors of spans have 2^28 numbers from here.
    static let firstExport: UInt64 = 1 << 31 + 1 << 29

    /// True for a health check.
    static func isProbe(_ token: UInt64) -> Bool { token >= firstProbe && token < firstFetch }

    /// True for a fetch of keys.
    static func isFetch(_ token: UInt64) -> Bool { token >= firstFetch && token < firstVerdict }

    /// True for a connection to a server that judges credentials.
    static func isVerdict(_ token: UInt64) -> Bool { token >= firstVerdict && token < firstExport }

    /// True for a connection to a collector.
    static func isExport(_ token: UInt64) -> Bool { token >= firstExport && token < 1 << 32 }

    /// A connection of the admin listener: generations start at 1, so it is above the fixed ones.
    static func connection(_ handle: Handle) -> UInt64 {
        UInt64(handle.generation) << 32 | UInt64(handle.index)
    }

    static func handle(_ token: UInt64) -> Handle {
        Handle(index: UInt32(truncatingIfNeeded: token), generation: UInt32(token >> 32))
    }
}
