internal import Synchronization

/// How many of something the workers have together, where none of them has a part of his own: whoever takes one takes it out
/// of this count.
public final class SharedCount: Sendable {
    private let taken = Atomic<Int>(0)

    /// Nothing is taken.
    public init() {}

    /// Whether `take` would have succeeded a moment ago.
    public func hasRoom(below limit: Int) -> Bool { taken.load(ordering: .relaxed) < limit }

    /// False where others were faster, and there are as many as there may be.
    public func take(below limit: Int) -> Bool {
        var seen = taken.load(ordering: .relaxed)
        while seen < limit {
            let (exchanged, original) = taken.compareExchange(
                expected: seen, desired: seen + 1, ordering: .relaxed)
            if exchanged { return true }
            seen = original
        }
        return false
    }

    /// Takes back what `take` counted.
    public func giveBack() { taken.wrappingSubtract(1, ordering: .relaxed) }
}
