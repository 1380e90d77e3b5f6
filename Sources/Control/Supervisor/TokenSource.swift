/// Numbers for poller events that are never given twice in a while.
struct TokenSource {
    /// So many numbers has each kind of connection: before one is given again, whoever had it is long gone.
    static let count: UInt64 = 1 << 28

    private let first: UInt64
    private var last: UInt64

    /// Numbers from `first` on, of which `count` must be free; the next one comes behind the `last`th.
    init(above first: UInt64 = Token.firstFetch, behind last: UInt64 = 0) {
        self.first = first
        self.last = last
    }

    /// The next one; above the fixed tokens and below those of the admin listener.
    mutating func next() -> UInt64 {
        last = (last + 1) % Self.count
        return first + last
    }
}
