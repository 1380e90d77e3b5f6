import Bytes

/// What the control loop's poller events carry.
enum Token {
    // Each is of one descriptor.
    static let signals: UInt64 = 1
    static let inbox: UInt64 = 2
    static let admin: UInt64 = 3
    static let keyRequests: UInt64 = 4
    static let lookups: UInt64 = 5
    static let serverLookups: UInt64 = 6
    /// A process that is to come after this one connects.
    static let successors: UInt64 = 7
    /// That process says something.
    static let successor: UInt64 = 8
    /// The process whose listeners this one takes over says something, or has gone.
    static let predecessor: UInt64 = 9
    static let questions: UInt64 = 20
    static let verdictLookups: UInt64 = 21
    static let shared: UInt64 = 22
    static let exportLookups: UInt64 = 23

    // Each kind of connection has `TokenSource.count` numbers, from here on.
    /// Health checks.
    static let firstProbe: UInt64 = 1 << 30
    /// Fetches of keys.
    static let firstFetch: UInt64 = 1 << 31
    /// Connections to servers that judge credentials.
    static let firstVerdict: UInt64 = 1 << 31 + 1 << 28
    /// Connections to collectors of spans.
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
