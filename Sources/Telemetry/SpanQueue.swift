internal import Synchronization

/// Encoded spans, one after another as they stand in a `ScopeSpans` message.
public struct SpanBatch: Sendable, Equatable {
    /// The bytes.
    public internal(set) var bytes: [UInt8] = []
    /// How many spans they are.
    public internal(set) var count = 0

    /// No spans.
    public init() {}
}

/// The spans of one worker on their way to the control thread, which sends them to the collector.
///
/// A worker never waits for it: the lock is held for as long as it takes to copy a span, or to take a batch out. What
/// finds no room is lost, and counted.
public final class SpanQueue: Sendable {
    /// A batch is one request to the collector: large enough to be worth it, small enough for anybody's limit.
    static let batchBytes = 131_072

    private struct State {
        var batches: [SpanBatch] = []
        var byteCount = 0
        var recorded: UInt64 = 0
        var lost: UInt64 = 0
    }

    private let limitBytes: Int
    private let state = Mutex(State())

    /// A queue for about that many bytes.
    public init(limitBytes: Int) { self.limitBytes = limitBytes }

    /// Adds an encoded `Span` message, or counts it as lost.
    public func append(_ span: [UInt8]) {
        let count = ProtobufField.size(ofBytes: span.count)
        state.withLock { state in
            state.recorded &+= 1
            guard state.byteCount + count <= limitBytes else { return state.lost &+= 1 }
            state.byteCount += count
            if state.batches.last.map({ $0.bytes.count + count > Self.batchBytes }) ?? true {
                state.batches.append(SpanBatch())
            }
            let last = state.batches.count - 1
            ProtobufField.append(bytes: span[...], as: 2, to: &state.batches[last].bytes)
            state.batches[last].count += 1
        }
    }

    /// Takes the oldest batch out; nil where there is none.
    public func take() -> SpanBatch? {
        state.withLock { state in
            guard !state.batches.isEmpty else { return nil }
            let batch = state.batches.removeFirst()
            state.byteCount -= batch.bytes.count
            return batch
        }
    }

    /// True where nothing waits.
    public var isEmpty: Bool { state.withLock { $0.batches.isEmpty } }

    /// True where there is more than one batch, so that waiting for more would only risk a loss.
    public var isHurried: Bool { state.withLock { $0.batches.count > 1 } }

    /// Spans that were recorded, lost ones included.
    public var recorded: UInt64 { state.withLock { $0.recorded } }

    /// Spans that found no room.
    public var lost: UInt64 { state.withLock { $0.lost } }
}
