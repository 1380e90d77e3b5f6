public import HTTP
internal import Synchronization

/// A request that the proxy answered itself, for eyes: as the access log has it, without the user.
public struct RefusedRequest: Sendable, Equatable {
    /// Milliseconds since 1970.
    public var time: Int64
    /// The status that was sent.
    public var status: Int
    /// Why.
    public var reason: ReasonCode
    /// Which check it was, or empty.
    public var detail: String
    /// The method; empty where it was not kept.
    public var method: String
    /// The path without query, at most 256 bytes; empty where it was not kept.
    public var path: String
    /// The path template of the route, or empty.
    public var route: String
    /// The client's address.
    public var client: String
}

/// The last requests that one worker refused: written by it, read by the admin pages.
///
/// A flood of refusals costs a comparison each: only some of each second are kept.
public final class RecentRefusals: Sendable {
    /// How many are kept, by each worker.
    public static let capacity = 64
    private static let perSecond = 8
    private static let pathBytes = 256

    private struct Ring {
        var entries: [RefusedRequest] = []
        var next = 0
        var second: Int64 = 0
        var keptInSecond = 0
    }

    private let ring = Mutex(Ring())

    /// An empty list.
    public init() {}

    /// The requests, in no order; any thread.
    public var all: [RefusedRequest] { ring.withLock { $0.entries } }

    /// Keeps a request, unless this second has had its share.
    public func note(_ record: borrowing AccessRecord) {
        let second = record.time / 1000
        let isWanted = ring.withLock { ring in
            if ring.second != second { (ring.second, ring.keptInSecond) = (second, 0) }
            ring.keptInSecond += 1
            return ring.keptInSecond <= Self.perSecond
        }
        guard isWanted else { return }
        let entry = RefusedRequest(
            time: record.time, status: record.status, reason: record.reason, detail: Self.text(record.detail),
            method: Self.text(record.method), path: Self.text(record.path.extracting(first: Self.pathBytes)),
            route: Self.text(record.route), client: Self.text(record.client))
        ring.withLock { ring in
            if ring.entries.count < Self.capacity {
                ring.entries.append(entry)
            } else {
                ring.entries[ring.next] = entry
            }
            ring.next = (ring.next + 1) % Self.capacity
        }
    }

    private static func text(_ bytes: Span<UInt8>) -> String {
        var copy: [UInt8] = []
        for index in 0..<bytes.count { copy.append(bytes[index]) }
        return String(decoding: copy, as: UTF8.self)
    }
}
