public import HTTP
internal import Reactor

/// The `[limits]` of the configuration. Times are milliseconds.
public struct LimitSettings: Sendable, Equatable {
    /// Of a message head.
    public var headBytes = 32_768
    /// Field lines of a head.
    public var fieldCount = 100
    /// Of a request target.
    public var targetBytes = 8192
    /// Client connections in all workers together; nil: what the file-descriptor limit allows.
    public var connections: Int?
    /// Memory of buffers in all workers together, in bytes, from which on nothing new is taken on; nil: no bound.
    public var bufferBytes: Int?
    /// Client connections of one address (of IPv6 one /64) in all workers together; nil: no bound. Trusted proxies and
    /// Unix sockets are not counted.
    public var connectionsPerAddress: Int?
    /// From the connection to the end of the TLS handshake.
    public var handshakeTimeoutMilliseconds: Int64 = 10_000
    /// From the first byte of a request to the end of its head.
    public var headerTimeoutMilliseconds: Int64 = 10_000
    /// Between two requests.
    public var idleTimeoutMilliseconds: Int64 = 75_000
    /// Between two reads of a body, and between two writes to a client that does not read.
    public var bodyTimeoutMilliseconds: Int64 = 30_000
    /// From the signal to the end of the process.
    public var drainTimeoutMilliseconds: Int64 = 30_000

    /// The defaults of the configuration.
    public init() {}

    /// The part that the parsers need.
    public var head: HeadLimits {
        HeadLimits(headBytes: headBytes, fieldCount: fieldCount, targetBytes: targetBytes)
    }
}

extension LimitSettings {
    /// Client connections that so many workers take together.
    public func connectionLimit(workers: Int) -> Int {
        min(Worker.connectionLimit(self), workers * Worker.connectionCapacity)
    }
}
