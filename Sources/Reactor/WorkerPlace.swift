/// One of the threads that do the same work side by side, and share what the process may have.
public struct WorkerPlace: Sendable, Equatable {
    /// Which one it is, from 0.
    public let index: Int
    /// How many there are, at least 1.
    public let count: Int

    /// Worker `index` of `count`. One that a smaller count leaves no place, since it is about to end, has the last.
    public init(_ index: Int, of count: Int) {
        precondition(index >= 0 && count > 0)
        self.index = min(index, count - 1)
        self.count = count
    }

    /// This worker's part of a limit of the process: all parts together are the limit, unless it is smaller than
    /// `count`; then each has one, so that none is left without.
    public func share(of limit: Int) -> Int {
        max(1, limit / count + (index < limit % count ? 1 : 0))
    }
}
